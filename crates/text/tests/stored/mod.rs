//! Models of the user's store, for tests that want a real one; other crates' tests take this file by its path.
#![allow(dead_code)]

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

/// The file of a model of the catalogue, which is called `NAME-instruct-…`; says that the test is skipped, and returns
/// `None`, if it is not there.
pub(crate) fn stored(file: &str) -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cache/nano-reasoning/models"));
    let store = env::var_os("NANO_REASONING_CACHE").map(PathBuf::from).or_else(home);
    let path = store.map(|store| store.join(file)).filter(|path| path.exists());
    if path.is_none() {
        let name = file.split("-instruct").next().unwrap_or(file);
        say_skipped(&format!("{file} is not in the model store; get it with: nano-reasoning pull {name}"));
    }
    path
}

/// Says that the test which runs is skipped, and why: past the harness, which keeps to itself what a test prints that ends
/// well.
pub(crate) fn say_skipped(why: &str) {
    let test = thread::current();
    let name = test.name().unwrap_or("a test");
    // Whoever closed standard error wants to hear nothing.
    let _ = writeln!(io::stderr(), "skipped {name}: {why}");
}
