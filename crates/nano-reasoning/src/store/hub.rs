//! The Hugging Face Hub as a source: what a repository holds, and its files, continued where they stopped.
//!
//! `hf-hub` knows the Hub's address, its caches and the user's token; the transfer is ours, as it has no
//! time-outs and resumes only into its own cache.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;

use super::Failure;
use super::part_file::{CHUNK_BYTES, PartFile};
use super::progress::Tracker;

/// An unreachable Hub shall cost no more than these.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The network may be slow, but not silent for so long.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections in a row that break without a byte before the Hub is given up.
const MAX_FRUITLESS: usize = 3;
/// The longest description of a repository that is read.
const MAX_LISTING_BYTES: u64 = 32 << 20;

pub(super) struct Hub {
    api: Api,
    agent: ureq::Agent,
    token: Option<String>,
    cache: Cache,
}

/// What a repository holds at one revision.
#[derive(Debug)]
pub(super) struct Listing {
    revision: String,
    pub(super) files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its path in the repository.
    pub(super) path: String,
    pub(super) bytes: Option<u64>,
    /// Known for large files.
    pub(super) sha256: Option<String>,
}

impl Listing {
    #[cfg(test)]
    pub(super) fn new(revision: &str, files: Vec<RemoteFile>) -> Self {
        Self { revision: revision.to_owned(), files }
    }
}

impl Hub {
    /// `endpoint` and `cache_dir` replace the usual ones.
    pub(super) fn new(endpoint: Option<String>, cache_dir: Option<PathBuf>) -> Result<Self, Failure> {
        // hf-hub panics where there is no home folder to have its cache in.
        let has_home = std::env::var_os("HF_HOME").is_some() || std::env::home_dir().is_some();
        let cache = match cache_dir {
            Some(folder) => Cache::new(folder),
            None if has_home => Cache::from_env(),
            None => Cache::new(std::env::temp_dir().join("huggingface")),
        };
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_progress(false);
        if let Some(endpoint) = endpoint.or_else(|| std::env::var("HF_ENDPOINT").ok()) {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| Failure::Source(error.to_string()))?;
        let agent = ureq::Agent::config_builder()
            .timeout_resolve(Some(RESOLVE_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("nano-reasoning/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let token = cache.token();
        Ok(Self { api, agent, token, cache })
    }

    /// A file that another program has downloaded into the Hub's own cache.
    pub(super) fn cached(&self, repo: &str, file: &str) -> Option<PathBuf> {
        self.cache.model(repo.to_owned()).get(file)
    }

    /// What the repository holds now.
    pub(super) fn list(&self, repo: &str) -> Result<Listing, Failure> {
        let request = self.api.model(repo.to_owned()).info_request().query("blobs", "true");
        let request = request
            .config()
            .timeout_resolve(Some(RESOLVE_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_per_read(Some(RESPONSE_TIMEOUT))
            .build();
        let mut response = request.call().map_err(|error| failure(repo, &error))?;
        let body = response.body_mut().with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        let body = body.map_err(|error| failure(repo, &error))?;
        parse_listing(&body).ok_or_else(|| Failure::Source("its answer is no list of files".to_owned()))
    }

    /// Downloads what `part` lacks of a file.
    pub(super) fn download(
        &self,
        repo: &str,
        listing: &Listing,
        file: &RemoteFile,
        part: &mut PartFile,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        let revision = Repo::with_revision(repo.to_owned(), RepoType::Model, listing.revision.clone());
        let url = self.api.repo(revision).url(&file.path);
        let mut fruitless = 0;
        loop {
            let before = part.len();
            if file.bytes == Some(before) {
                return Ok(());
            }
            let problem = match self.stream(repo, &url, part, tracker) {
                // Without a known length the end of the stream is the end of the file.
                Ok(()) if file.bytes.is_none() || file.bytes == Some(part.len()) => return Ok(()),
                Ok(()) if file.bytes.is_some_and(|bytes| part.len() > bytes) => {
                    return Err(Failure::Source(format!("it sent more than the file's {} bytes", before)));
                }
                Ok(()) => "the connection ended early".to_owned(),
                Err(Failure::Source(problem)) => problem,
                Err(fatal) => return Err(fatal),
            };
            fruitless = if part.len() > before { 0 } else { fruitless + 1 };
            if fruitless >= MAX_FRUITLESS {
                return Err(Failure::Source(problem));
            }
            tracing::debug!(problem, done = part.len(), "continuing a broken download");
            std::thread::sleep(Duration::from_millis(200 << fruitless));
        }
    }

    /// One request, from the end of `part` on.
    fn stream(
        &self,
        repo: &str,
        url: &str,
        part: &mut PartFile,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if part.len() > 0 {
            request = request.header("Range", format!("bytes={}-", part.len()));
        }
        let response = request.call().map_err(|error| failure(repo, &error))?;
        if part.len() > 0 {
            let range = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
            // A server may ignore the range and send everything.
            if response.status() != 206 || !range.is_some_and(|range| starts_at(range, part.len())) {
                part.restart()?;
            }
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            tracker.check()?;
            let n = body.read(&mut buffer).map_err(|error| Failure::Source(error.to_string()))?;
            if n == 0 {
                return Ok(());
            }
            part.append(&buffer[..n])?;
            tracker.advance_to(part.len());
        }
    }
}

/// Whether `bytes 100-199/200` starts at `offset`.
fn starts_at(content_range: &str, offset: u64) -> bool {
    let first = content_range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
    first.and_then(|first| first.trim().parse().ok()) == Some(offset)
}

fn unresolved() -> String {
    "its name does not resolve; is there a network?".to_owned()
}

/// Says in a few words what the Hub's answer, or its lack, means.
fn failure(repo: &str, error: &ureq::Error) -> Failure {
    Failure::Source(match error {
        ureq::Error::StatusCode(404) => format!("it has no {repo}, or not this file of it"),
        ureq::Error::StatusCode(401 | 403) => format!("{repo} needs a token, or its licence accepted there"),
        ureq::Error::StatusCode(429) => "it has had too many requests from here".to_owned(),
        ureq::Error::StatusCode(code) => format!("it answers with status {code}"),
        ureq::Error::HostNotFound => unresolved(),
        // What the system's own resolver says comes as an input error.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => unresolved(),
        ureq::Error::Io(error) => format!("{error}; is there a network?"),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        other => other.to_string(),
    })
}

fn parse_listing(body: &[u8]) -> Option<Listing> {
    #[derive(Deserialize)]
    struct Info {
        sha: String,
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
        size: Option<u64>,
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        sha256: Option<String>,
        size: Option<u64>,
    }
    let info: Info = serde_json::from_slice(body).ok()?;
    let files = info.siblings.into_iter().map(|sibling| {
        let (sha256, lfs_bytes) = sibling.lfs.map_or((None, None), |lfs| (lfs.sha256, lfs.size));
        RemoteFile { path: sibling.rfilename, bytes: lfs_bytes.or(sibling.size), sha256 }
    });
    Some(Listing { revision: info.sha, files: files.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_repository_holds() {
        let body = br#"{"sha":"abc","private":false,"siblings":[{"rfilename":"config.json","size":7,"blobId":"x"},
            {"rfilename":"m.gguf","size":9,"lfs":{"sha256":"ff","size":9,"pointerSize":1}},{"rfilename":"x"}]}"#;
        let listing = parse_listing(body).unwrap();
        assert_eq!(listing.revision, "abc");
        let file = |path: &str, bytes, sha256: Option<&str>| RemoteFile {
            path: path.to_owned(),
            bytes,
            sha256: sha256.map(str::to_owned),
        };
        assert_eq!(
            listing.files,
            [file("config.json", Some(7), None), file("m.gguf", Some(9), Some("ff")), file("x", None, None)]
        );
        assert!(parse_listing(b"<html>").is_none());
    }

    #[test]
    fn a_range_must_start_where_the_file_ends() {
        assert!(starts_at("bytes 100-199/200", 100));
        assert!(!starts_at("bytes 0-199/200", 100));
        assert!(!starts_at("garbage", 0));
    }
}
