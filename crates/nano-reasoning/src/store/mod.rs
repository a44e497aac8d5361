//! Where models come from and where they lie.
//!
//! A store is one folder, by default `~/.cache/nano-reasoning/models`:
//!
//! ```text
//! qwen2.5-coder-0.5b-instruct-q4_k_m.gguf   a model of the catalogue
//! qwen2.5-7b-instruct-4bit/                 one that is a folder
//! owner--name/                              one that was asked for by its id of the Hub
//! .partial/                                 downloads under way, and their locks
//! ```
//!
//! A file or folder outside `.partial` is complete: it was downloaded beside, checked against its sha256
//! and then renamed. What `.partial` holds is continued by the next [`Store::pull`], from whatever source.

mod catalogue;
mod disk;
mod hub;
mod list;
mod lock;
mod name;
mod part_file;
mod pip;
mod progress;
mod pull;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use catalogue::{Catalogue, Content, Entry, FileSpec, FolderSpec, PipPart, Role};
pub use list::{ModelInfo, State};
pub use progress::{DownloadSource, Phase, Progress, Update};

use crate::{Error, Result};
use hub::Hub;
use lock::Lock;
use name::Named;
use part_file::io_error;

/// Folder of unfinished downloads within a store.
const PARTIAL: &str = ".partial";

/// Models on this machine, and how to get more.
pub struct Store {
    root: PathBuf,
    catalogue: Catalogue,
    options: StoreOptions,
}

/// What a store does differently than usual; mostly for tests.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Address of the Hub; by default the real one, or what `HF_ENDPOINT` says.
    pub hub_endpoint: Option<String>,
    /// The Hub's own cache, in which other programs' downloads are found; by default the user's.
    pub hub_cache: Option<PathBuf>,
    /// Where pip is looked for, written as PATH is; by default PATH.
    pub search_path: Option<OsString>,
    /// Whether the network is left alone: a model that is not there is not fetched.
    pub is_offline: bool,
}

/// A model that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// The catalogue's name of it, also where its file was asked for by a path; else what it was asked for as.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
    /// What lies there.
    pub format: Format,
}

/// How a model is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One GGUF file.
    Gguf,
    /// A Hugging Face folder: `config.json`, `tokenizer.json`, `*.safetensors`.
    Folder,
}

/// Why a source did not give a file.
#[derive(Debug)]
enum Failure {
    /// The source's fault, in a few words: another may do better.
    Source(String),
    /// No source would do better.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Store {
    /// The store in `root`, with the built-in catalogue. The folder is made when something is put into it.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        let is_offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(&*value, "" | "0"));
        let options = StoreOptions { is_offline, ..StoreOptions::default() };
        Self::with(root, Catalogue::builtin().clone(), options)
    }

    /// A store with another catalogue or other sources.
    pub fn with(root: impl Into<PathBuf>, catalogue: Catalogue, options: StoreOptions) -> Self {
        Self { root: root.into(), catalogue, options }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The models it knows by name.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Finds a model on this machine: by its name in the catalogue, the path of a `.gguf` file or of a
    /// folder, or its id on the Hub (`owner/name`, `owner/name/file.gguf`).
    ///
    /// # Errors
    /// [`Error::NotDownloaded`] if it is known but not here; [`Error::UnknownModel`],
    /// [`Error::NoSuchPath`], [`Error::NotAModel`] or [`Error::Io`] otherwise.
    pub fn resolve(&self, name: &str) -> Result<Resolved> {
        match name::interpret(name, &self.root, &self.catalogue)? {
            Named::Path(path) => self.at_path(name, path),
            Named::Entry(entry) => self.resolve_entry(entry),
            Named::Hub(id) => {
                let folder = self.root.join(id.folder());
                let path = id.file.as_ref().map_or(folder.clone(), |file| folder.join(file));
                match path.exists() {
                    true => self.at_path(name, path),
                    false => Err(Error::NotDownloaded { name: name.to_owned() }),
                }
            }
        }
    }

    /// The name of a model that may be yet to be downloaded: the catalogue's, where that knows it, else `name`.
    pub fn known_name(&self, name: &str) -> String {
        let known = || self.catalogue.find(name).map(|entry| entry.name.clone());
        self.resolve(name).ok().map(|found| found.name).or_else(known).unwrap_or_else(|| name.to_owned())
    }

    /// Finds a model, and downloads it if it is not here.
    ///
    /// # Errors
    /// Those of [`Self::resolve`] and [`Self::pull`].
    pub fn ensure(&self, name: &str, progress: &mut dyn Progress) -> Result<Resolved> {
        match self.resolve(name) {
            Err(Error::NotDownloaded { .. }) => self.pull(name, progress),
            found => found,
        }
    }

    /// The model at a path.
    fn at_path(&self, name: &str, path: PathBuf) -> Result<Resolved> {
        name::at_path(name, path).map(|found| self.named_by_catalogue(found))
    }

    /// The same model, under the catalogue's name if the file is one of its files: what is made for that model, as a
    /// head is, then serves the file wherever it lies. Name and length are enough: with another file's head, drafts would
    /// be wrong more often and answers the same.
    fn named_by_catalogue(&self, found: Resolved) -> Resolved {
        let file_name = found.path.file_name().and_then(|name| name.to_str());
        let bytes = fs::metadata(&found.path).map(|metadata| metadata.len());
        let entry = match (file_name, bytes, found.format) {
            (Some(file_name), Ok(bytes), Format::Gguf) => self.catalogue.find_file(file_name, bytes),
            _ => None,
        };
        let name = entry.map_or(found.name, |entry| entry.name.clone());
        Resolved { name, ..found }
    }

    fn resolve_entry(&self, entry: &Entry) -> Result<Resolved> {
        let name = entry.name.clone();
        let path = self.root.join(entry.path());
        let Content::File(file) = &entry.content else {
            return match path.is_dir() {
                true => Ok(Resolved { name, path, format: Format::Folder }),
                false => Err(Error::NotDownloaded { name }),
            };
        };
        let is_whole = |path: &Path| {
            fs::metadata(path).is_ok_and(|metadata| file.bytes.is_none_or(|bytes| metadata.len() == bytes))
        };
        if is_whole(&path) {
            return Ok(Resolved { name, path, format: Format::Gguf });
        }
        if path.exists() {
            tracing::warn!(path = %path.display(), "the file has not the length that the catalogue says");
        }
        let elsewhere = self.hub().ok().and_then(|hub| hub.cached(&entry.hub_repo, &file.hub_file));
        match elsewhere.filter(|path| is_whole(path)) {
            Some(path) => Ok(Resolved { name, path, format: Format::Gguf }),
            None => Err(Error::NotDownloaded { name }),
        }
    }

    /// Removes a model from the store, downloads under way included, and returns the bytes that it took.
    ///
    /// # Errors
    /// [`Error::NotInStore`] for a path elsewhere, [`Error::NotDownloaded`] if there is nothing to remove,
    /// [`Error::Busy`] while it is being downloaded, those of [`Self::resolve`] for names that are none.
    pub fn remove(&self, name: &str) -> Result<u64> {
        let relative = match name::interpret(name, &self.root, &self.catalogue)? {
            Named::Entry(entry) => PathBuf::from(entry.path()),
            Named::Hub(id) => {
                id.file.as_ref().map_or_else(|| id.folder().into(), |file| Path::new(&id.folder()).join(file))
            }
            Named::Path(path) => match path.strip_prefix(&self.root) {
                Ok(relative) if is_inside(relative) => relative.to_owned(),
                _ => return Err(Error::NotInStore { path, root: self.root.clone() }),
            },
        };
        let partial = self.partial(&relative);
        let _lock = if partial.folder.exists() {
            Some(Lock::try_take(&partial.lock)?.ok_or_else(|| Error::Busy { name: name.to_owned() })?)
        } else {
            None
        };
        let mut freed = 0;
        for path in [self.root.join(&relative), partial.part, partial.pip] {
            freed += list::bytes_at(&path);
            remove_any(&path)?;
        }
        if freed == 0 {
            // What another program downloaded can be used, and is not ours to remove.
            let found = self.resolve(name)?;
            return Err(Error::NotInStore { path: found.path, root: self.root.clone() });
        }
        // The folder of a repository whose last file went.
        if let Some(folder) = relative.parent().filter(|folder| is_inside(folder)) {
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(freed)
    }

    fn hub(&self) -> Result<Hub, Failure> {
        Hub::new(self.options.hub_endpoint.clone(), self.options.hub_cache.clone())
    }

    /// Where the download of what shall lie at `relative` is kept.
    fn partial(&self, relative: &Path) -> Partial {
        let folder = self.root.join(PARTIAL);
        let key = relative.to_string_lossy().replace(['/', '\\'], "--");
        Partial {
            part: folder.join(format!("{key}.part")),
            pip: folder.join(format!("{key}.pip")),
            lock: folder.join(format!("{key}.lock")),
            folder,
        }
    }
}

/// Paths of one unfinished download.
struct Partial {
    folder: PathBuf,
    /// The file, or the folder of files.
    part: PathBuf,
    /// pip's own folder.
    pip: PathBuf,
    lock: PathBuf,
}

/// Whether a relative path leads to something below where it starts.
fn is_inside(relative: &Path) -> bool {
    let mut parts = relative.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Removes a file or folder, and says whether there was one.
fn remove_any(path: &Path) -> Result<bool> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_of_the_catalogue_has_its_name_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("models"));
        let entry = store.catalogue().find("smollm2-135m").unwrap();
        let Content::File(spec) = &entry.content else { panic!("it is a file") };
        let name_of = |file_name: &str, bytes: u64| {
            let path = folder.path().join(file_name);
            fs::write(&path, b"GGUF").unwrap();
            // As long as the real one, and no longer on the disk than what was written.
            File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
            let asked = path.to_str().unwrap();
            let found = store.resolve(asked).unwrap();
            assert_eq!(found.path, path);
            fs::remove_file(&path).unwrap();
            (found.name != asked).then_some(found.name)
        };
        for file_name in [&spec.path, &spec.hub_file, &spec.path.to_uppercase()] {
            assert_eq!(name_of(file_name, entry.bytes()), Some(entry.name.clone()), "{file_name}");
        }
        assert_eq!(name_of("my-model.gguf", entry.bytes()), None);
        // Somebody's own training of it, say.
        assert_eq!(name_of(&spec.path, entry.bytes() - 32), None);
    }
}
