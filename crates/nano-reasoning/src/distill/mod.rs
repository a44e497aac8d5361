//! A head for a model, made here: answers of the model are collected with its hidden states, and a head learns from them.
//!
//! ```text
//! FOLDER/answers.json                   the model that they are of
//! FOLDER/samples/NAME.safetensors       one answer each
//! FOLDER/dropped.json                   answers that are not worth learning
//! FOLDER/vocabulary.json                tokens that a new head drafts over, most frequent first
//! FOLDER/checkpoint.safetensors         the whole state of training
//! FOLDER/training.json                  how it went so far
//! FOLDER/head.gguf, FOLDER/head/        the best head so far, for --head and for servers
//! ```
//! Each file is written whole or not at all, and what is there is not made again.

mod collect;
mod openers;
mod train;

pub use collect::{Collector, CollectorStatistics, DistillPrompt};
pub use train::{DistillSettings, DistillSummary, HeadDistiller};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, atomic_file};

/// The model whose answers a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// For people.
    model: String,
    /// What its weights are recognised by.
    target: String,
    /// Layers whose inputs are kept.
    taps: Vec<usize>,
    hidden_dim: usize,
}

/// The format's number.
const VERSION: u32 = 1;

/// Where a head is made.
#[derive(Debug, Clone)]
pub struct DistillFolder {
    root: PathBuf,
}

impl DistillFolder {
    /// The folder `root`, made if it is not there.
    ///
    /// # Errors
    /// [`Error::DistillFile`] with the system's reason.
    pub fn open(root: &Path) -> Result<Self> {
        let folder = Self { root: root.into() };
        let samples = folder.samples();
        fs::create_dir_all(&samples).map_err(|reason| Error::DistillFile {
            action: "make",
            path: samples,
            reason,
        })?;
        Ok(folder)
    }

    /// The head that came out, for `--head`.
    pub fn head(&self) -> PathBuf {
        self.root.join("head.gguf")
    }

    fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    fn sample(&self, name: &str) -> PathBuf {
        self.samples().join(format!("{name}.safetensors"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Files of answers, by name.
    fn sample_paths(&self) -> Result<Vec<PathBuf>> {
        let folder = self.samples();
        let failed = |reason| Error::DistillFile { action: "read", path: folder.clone(), reason };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// That the answers are of the model that `manifest` names; an empty folder becomes one of it.
    fn belong_to(&self, manifest: &Manifest) -> Result<()> {
        match self.read_json::<Manifest>("answers.json")? {
            None => self.write_json("answers.json", manifest),
            // What a model is called may change.
            Some(found) if Manifest { model: manifest.model.clone(), ..found.clone() } == *manifest => Ok(()),
            Some(found) => {
                let of = |manifest: &Manifest| {
                    format!("answers of {} ({}), layers {:?}", manifest.model, manifest.target, manifest.taps)
                };
                let (found, wanted) = (of(&found), of(manifest));
                Err(Error::BadDistillFolder { path: self.root.clone(), found, wanted })
            }
        }
    }

    /// Why answers were dropped, by name.
    fn dropped(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.read_json("dropped.json")?.unwrap_or_default())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let written = atomic_file::write(path, bytes);
        written.map_err(|reason| Error::DistillFile { action: "write", path: path.into(), reason })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).expect("numbers, texts and lists") + "\n";
        self.write(&self.path(name), text.as_bytes())
    }

    /// What is in the file `name`; `None` if it is not there.
    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(Error::DistillFile { action: "read", path, reason }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let (found, wanted) = (error.to_string(), "what this program writes there".into());
                Err(Error::BadDistillFolder { path, found, wanted })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: VERSION,
            model: "tiny".into(),
            target: "12".into(),
            taps: vec![0, 1, 2],
            hidden_dim: 64,
        }
    }

    #[test]
    fn a_folder_belongs_to_one_model() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DistillFolder::open(&temporary.path().join("a/b")).unwrap();
        folder.belong_to(&manifest()).unwrap();
        folder.belong_to(&Manifest { model: "./tiny.gguf".into(), ..manifest() }).unwrap();
        let message = |other: Manifest| folder.belong_to(&other).unwrap_err().to_string();
        let other = message(Manifest { target: "13".into(), ..manifest() });
        assert!(other.contains("a/b': found answers of tiny (12), layers [0, 1, 2]; wanted"), "{other}");
        assert!(message(Manifest { taps: vec![1], ..manifest() }).contains("layers [1]"));
        fs::write(folder.path("answers.json"), "{").unwrap();
        assert!(message(manifest()).contains("answers.json': found EOF"));
    }

    #[test]
    fn a_file_in_the_folders_place_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("x");
        fs::write(&path, "").unwrap();
        let message = DistillFolder::open(&path).unwrap_err().to_string();
        assert!(message.starts_with("cannot make '") && message.contains("x/samples': "), "{message}");
    }
}
