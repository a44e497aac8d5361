//! Layout rules that no compiler checks.

use crate::workspace::{self, packages, text};
use anyhow::{Context, bail};
use std::path::Path;

/// Lines a Rust file may have.
const MAX_LINES: usize = 800;
/// Crates that may use `unsafe`.
const MAY_BE_UNSAFE: [&str; 2] = ["nano-reasoning-kernels", "nano-reasoning-gguf"];
/// What the other crates' roots say.
const FORBID: &str = "#![forbid(unsafe_code)]";

pub(crate) fn run() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let own_folders = own_folders();
    for file in workspace::files()? {
        let bytes = std::fs::read(workspace::root().join(&file))
            .with_context(|| format!("reading {}", file.display()))?;
        if let Ok(content) = str::from_utf8(&bytes) {
            faults.extend(file_faults(&file, content, &own_folders));
        }
    }
    let metadata = workspace::metadata(false)?;
    for package in packages(&metadata) {
        if MAY_BE_UNSAFE.contains(&text(package, "name")) {
            continue;
        }
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_root =
                |kind: &str| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&kind.into()));
            let path = text(target, "src_path");
            if (is_root("lib") || is_root("bin"))
                && !std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?.contains(FORBID)
            {
                let path = Path::new(path).strip_prefix(workspace::root()).unwrap_or(Path::new(path));
                faults.push(format!("{}: lacks {FORBID}", path.display()));
            }
        }
    }
    if !faults.is_empty() {
        bail!("{} faults\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// Folders of this machine that no file may name: the user's, and the one the workspace lies in.
fn own_folders() -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let parent = workspace::root().parent().and_then(Path::to_str).unwrap_or_default();
    let folders = [home.trim_end_matches('/'), parent].into_iter().filter(|folder| folder.len() > 1);
    folders.map(|folder| format!("{folder}/")).collect()
}

fn file_faults(file: &Path, content: &str, own_folders: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let n_lines = content.lines().count();
    if n_lines > MAX_LINES && file.extension().is_some_and(|extension| extension == "rs") {
        faults.push(format!("{}: {n_lines} lines, {MAX_LINES} at most", file.display()));
    }
    for (line, number) in content.lines().zip(1..) {
        if let Some(folder) = own_folders.iter().find(|folder| starts_a_path(folder, line)) {
            faults.push(format!("{}:{number}: names {folder}, a folder of this machine", file.display()));
        }
    }
    faults
}

/// Whether a path in `line` begins with `folder`: more than an address or a longer path that contains it.
fn starts_a_path(folder: &str, line: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "/._-~$}>*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_paths_below_a_folder() {
        for line in ["let path = \"/some/where/x\";", "/some/where/", "at=/some/where/x", "`/some/where/x`"] {
            assert!(starts_a_path("/some/where/", line), "{line}");
        }
    }

    #[test]
    fn leaves_longer_paths_and_addresses_alone() {
        for line in ["example.org/some/where/x", "$PREFIX/some/where/x", "~/some/where/x", "/some/wherever/"]
        {
            assert!(!starts_a_path("/some/where/", line), "{line}");
        }
    }

    #[test]
    fn counts_lines_of_rust_files_only() {
        let long = "\n".repeat(MAX_LINES + 1);
        assert_eq!(file_faults(Path::new("a.rs"), &long, &[]), ["a.rs: 801 lines, 800 at most"]);
        assert!(file_faults(Path::new("a.json"), &long, &[]).is_empty());
    }
}
