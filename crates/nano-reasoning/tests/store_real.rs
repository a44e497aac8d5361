//! A real model from real sources. Downloads some 93 MB, so only where `NANO_REASONING_TEST_PULL=1` asks
//! for it.

#[path = "../../text/tests/stored/mod.rs"]
mod stored;

use nano_reasoning::store::{Phase, Store, Update};

#[test]
fn smollm2_comes_from_whatever_source_there_is() {
    if std::env::var("NANO_REASONING_TEST_PULL").as_deref() != Ok("1") {
        stored::say_skipped("set NANO_REASONING_TEST_PULL=1 to download a model");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path());
    let mut last = None;
    let mut show = |update: &Update<'_>| last = Some((update.phase, update.done_bytes, update.source));
    let pulled = store.pull("smollm2-135m", &mut show).unwrap();
    assert_eq!(std::fs::metadata(&pulled.path).unwrap().len(), 98_362_432);
    let (phase, done_bytes, source) = last.unwrap();
    assert_eq!((phase, done_bytes), (Phase::Done, 98_362_432));
    eprintln!("from {}", source.unwrap());
    // Again: only its sha256 is looked at.
    assert_eq!(store.pull("smollm2-135m", &mut ()).unwrap(), pulled);
    assert_eq!(store.resolve("smollm2-135m").unwrap(), pulled);
}
