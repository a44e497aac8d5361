//! Models of the user's store.

use std::env;
use std::path::PathBuf;

/// A model's file; says so and returns `None` if it is not there.
pub(crate) fn stored(file: &str) -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cache/nano-reasoning/models"));
    let path = env::var_os("NANO_REASONING_CACHE").map(PathBuf::from).or_else(home)?.join(file);
    if !path.exists() {
        eprintln!("skipped: {} is not there; fetch it with `nano-reasoning pull`", path.display());
        return None;
    }
    Some(path)
}
