//! What a model is called by: a name of the catalogue, a path, a file of the store, an id of the Hub.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::catalogue::{Catalogue, Entry, is_plain_name};
use super::part_file::io_error;
use super::{Format, Resolved};
use crate::near_miss::near_miss;
use crate::{Error, Result};

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// Something on the disk, outside of the store's own layout or in it.
    Path(PathBuf),
    /// An entry of the catalogue.
    Entry(&'a Entry),
    /// A repository of the Hub, and a file of it.
    Hub(HubId),
}

/// `owner/name`, or `owner/name/path/to/file.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubId {
    pub(super) repo: String,
    pub(super) file: Option<String>,
}

impl HubId {
    fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() < 2 || !parts.iter().all(|part| is_plain_name(part)) {
            return None;
        }
        let file = (parts.len() > 2).then(|| parts[2..].join("/"));
        if file.as_ref().is_some_and(|file| !file.ends_with(".gguf")) {
            return None;
        }
        Some(Self { repo: parts[..2].join("/"), file })
    }

    /// The folder of the store for the repository. Neither part of an id may hold `--`, so it is unique.
    pub(super) fn folder(&self) -> String {
        self.repo.replace('/', "--")
    }

    /// The id of a folder of the store.
    pub(super) fn of_folder(folder: &str) -> Option<String> {
        let (owner, name) = folder.split_once("--")?;
        (is_plain_name(owner) && is_plain_name(name)).then(|| format!("{owner}/{name}"))
    }
}

/// What `name` stands for.
///
/// # Errors
/// [`Error::NoSuchPath`] for what can only be a path, [`Error::UnknownModel`] for anything else unknown.
pub(super) fn interpret<'a>(name: &str, root: &Path, catalogue: &'a Catalogue) -> Result<Named<'a>> {
    let path = expand_home(name);
    let is_explicit = ["/", "./", "../", "~/"].iter().any(|start| name.starts_with(start));
    // A file that is there is what its path says, even if it is named as something of the catalogue.
    if path.is_file() || (is_explicit && path.exists()) {
        return Ok(Named::Path(path));
    }
    if is_explicit {
        return Err(Error::NoSuchPath { path });
    }
    if let Some(entry) = catalogue.find(name) {
        return Ok(Named::Entry(entry));
    }
    if !name.is_empty() && path.exists() {
        return Ok(Named::Path(path));
    }
    if is_plain_name(name) {
        let candidates = [root.join(name), root.join(format!("{name}.gguf"))];
        if let Some(path) = candidates.into_iter().find(|path| path.exists()) {
            return Ok(Named::Path(path));
        }
    }
    if let Some(id) = HubId::parse(name) {
        return Ok(Named::Hub(id));
    }
    if name.ends_with(".gguf") || name.contains(['/', '\\']) {
        return Err(Error::NoSuchPath { path });
    }
    let names = || catalogue.entries().iter().map(|entry| entry.name.as_str());
    Err(Error::UnknownModel {
        name: name.to_owned(),
        suggestion: near_miss(name, names()).map(str::to_owned),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// The model at a path.
///
/// # Errors
/// [`Error::NotAModel`] if it is none, [`Error::Io`] if it cannot be read.
pub(super) fn at_path(name: &str, path: PathBuf) -> Result<Resolved> {
    let metadata = fs::metadata(&path).map_err(io_error("open", &path))?;
    if metadata.is_dir() {
        return in_folder(name, path);
    }
    let mut magic = Vec::new();
    let file = File::open(&path).map_err(io_error("open", &path))?;
    file.take(4).read_to_end(&mut magic).map_err(io_error("read", &path))?;
    if magic != b"GGUF" {
        return Err(Error::NotAModel {
            path,
            problem: "it does not start as a GGUF file does; is the download complete?",
        });
    }
    Ok(Resolved { name: name.to_owned(), path, format: Format::Gguf })
}

/// The model in a folder: a Hugging Face folder, or one GGUF file.
fn in_folder(name: &str, path: PathBuf) -> Result<Resolved> {
    if path.join("config.json").is_file() {
        return Ok(Resolved { name: name.to_owned(), path, format: Format::Folder });
    }
    let mut ggufs: Vec<PathBuf> = fs::read_dir(&path)
        .map_err(io_error("read", &path))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    match (ggufs.pop(), ggufs.is_empty()) {
        (Some(path), true) => at_path(name, path),
        (Some(_), false) => Err(Error::NotAModel { path, problem: "it has several .gguf files; name one" }),
        (None, _) => {
            Err(Error::NotAModel { path, problem: "the folder has neither a config.json nor a .gguf file" })
        }
    }
}

fn expand_home(name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpret(name: &str) -> Result<Named<'static>> {
        super::interpret(name, Path::new("/absent"), Catalogue::builtin())
    }

    #[test]
    fn hub_ids_are_two_plain_names_and_perhaps_a_file() {
        let id = |name| HubId::parse(name).map(|id| (id.repo, id.file));
        assert_eq!(id("Qwen/Qwen2.5-3B"), Some(("Qwen/Qwen2.5-3B".into(), None)));
        assert_eq!(id("a/b/c/d.gguf"), Some(("a/b".into(), Some("c/d.gguf".into()))));
        for bad in ["a", "a/", "/a", "a/../b.gguf", "a/b/c", "a/b c", "", "a//b.gguf", "../b"] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_the_catalogue_come_before_the_hub() {
        let entry = interpret("mlx-community/Qwen2.5-7B-Instruct-4bit").unwrap();
        assert!(matches!(entry, Named::Entry(entry) if entry.name == "qwen2.5-7b-mlx"));
        assert!(matches!(interpret("someone/else").unwrap(), Named::Hub(_)));
    }

    #[test]
    fn an_unknown_name_says_what_was_meant() {
        let error = interpret("smollm2-135").unwrap_err().to_string();
        assert!(error.starts_with("there is no model 'smollm2-135', did you mean 'smollm2-135m'?; known: "));
        assert!(matches!(interpret("./absent.gguf"), Err(Error::NoSuchPath { .. })));
        assert!(matches!(interpret("absent.gguf"), Err(Error::NoSuchPath { .. })));
        assert!(matches!(interpret(""), Err(Error::UnknownModel { .. })));
    }

    #[test]
    fn what_lies_at_a_path_must_be_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.gguf"), b"GGUF\x03").unwrap();
        assert_eq!(at_path("a", path("a.gguf")).unwrap().format, Format::Gguf);
        // A folder with one GGUF file stands for it.
        assert_eq!(at_path("x", folder.path().into()).unwrap().path, path("a.gguf"));
        fs::write(path("b.gguf"), b"PK").unwrap();
        assert!(matches!(at_path("b", path("b.gguf")), Err(Error::NotAModel { .. })));
        let several = at_path("x", folder.path().into()).unwrap_err().to_string();
        assert!(several.contains("several .gguf"), "{several}");
        fs::write(path("config.json"), b"{}").unwrap();
        assert_eq!(at_path("x", folder.path().into()).unwrap().format, Format::Folder);
    }
}
