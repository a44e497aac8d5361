//! What a store holds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalogue::Role;
use super::name::HubId;
use super::{Store, name};

/// A model, on this machine or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// What to call it.
    pub name: String,
    /// What it is, if the catalogue knows.
    pub title: Option<String>,
    /// What it is for, if the catalogue knows.
    pub role: Option<Role>,
    /// The licence of its weights, if the catalogue knows.
    pub license: Option<String>,
    /// Its length; of one that is not here about how long it will be.
    pub bytes: u64,
    /// Whether it is here.
    #[serde(flatten)]
    pub state: State,
}

/// Whether a model is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is.
    Present {
        /// Where.
        path: PathBuf,
    },
    /// A download was begun.
    Partial {
        /// Bytes there.
        done_bytes: u64,
    },
    /// It is not.
    Absent,
}

impl Store {
    /// All models of the catalogue, in its order, then whatever else lies in the store, by name.
    pub fn list(&self) -> Vec<ModelInfo> {
        let known = self.catalogue.entries().iter().map(|entry| {
            let state = match self.resolve_entry(entry) {
                Ok(found) => State::Present { path: found.path },
                Err(_) => match bytes_at(&self.partial(Path::new(entry.path())).part) {
                    0 => State::Absent,
                    done_bytes => State::Partial { done_bytes },
                },
            };
            let bytes = match &state {
                State::Present { path } => bytes_at(path),
                _ => entry.bytes(),
            };
            ModelInfo {
                name: entry.name.clone(),
                title: Some(entry.title.clone()),
                role: Some(entry.role),
                license: Some(entry.license.clone()),
                bytes,
                state,
            }
        });
        known.chain(self.others()).collect()
    }

    /// Models in the store that the catalogue does not know.
    fn others(&self) -> Vec<ModelInfo> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| {
            let is_known = |name: &str| self.catalogue.entries().iter().any(|entry| entry.path() == name);
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| !name.starts_with('.') && !is_known(name))
        });
        let mut others: Vec<ModelInfo> = paths
            .flat_map(|path| if path.is_dir() { models_in(&path) } else { vec![path] })
            .filter(|path| name::at_path("", path.clone()).is_ok())
            .map(|path| ModelInfo {
                name: self.name_of(&path),
                title: None,
                role: None,
                license: None,
                bytes: bytes_at(&path),
                state: State::Present { path },
            })
            .collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        others
    }

    /// What the model at a path of the store is called.
    fn name_of(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let text = relative.to_string_lossy();
        let (folder, file) =
            text.split_once('/').map_or((&*text, None), |(folder, file)| (folder, Some(file)));
        match (HubId::of_folder(folder), file) {
            (Some(id), Some(file)) => format!("{id}/{file}"),
            (Some(id), None) => id,
            (None, _) => text.into_owned(),
        }
    }
}

/// The models of a folder: itself, or each of its GGUF files.
fn models_in(folder: &Path) -> Vec<PathBuf> {
    if folder.join("config.json").is_file() {
        return vec![folder.to_owned()];
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            paths.extend(models_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "gguf") {
            paths.push(path);
        }
    }
    paths
}

/// Bytes of a file, or of all files in a folder; 0 if there is neither.
pub(super) fn bytes_at(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let paths = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    // A link to a folder can lead back here.
    paths.filter(|path| !(path.is_symlink() && path.is_dir())).map(|path| bytes_at(&path)).sum()
}
