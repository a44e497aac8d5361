//! Where things are in the workspace.

use crate::steps;
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Files that are in the repository or would be with the next commit, relative to [`root`].
pub(crate) fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = steps::output(&mut git)?;
    let files = names.split_terminator('\0').map(PathBuf::from);
    // A file removed but not yet from the index is still listed.
    Ok(files.filter(|file| root().join(file).is_file()).collect())
}

/// What `cargo metadata` says of the workspace's own packages, or of all it depends on as well.
pub(crate) fn metadata(with_dependencies: bool) -> anyhow::Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1"]);
    if !with_dependencies {
        command.arg("--no-deps");
    }
    serde_json::from_str(&steps::output(&mut command)?).context("reading `cargo metadata`")
}

/// Packages in a value from [`metadata`].
pub(crate) fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().map_or(&[], Vec::as_slice)
}

/// A string member of a package, or nothing.
pub(crate) fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}
