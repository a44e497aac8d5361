//! What drafters learnt, on disk: `checkpoints/PROFILE/MODEL/NUMBER.safetensors`, the latest few of each.

use std::fs;
use std::path::{Path, PathBuf};

use nano_reasoning_train::Checkpoint;

use crate::{Error, Result, atomic_file};

/// Checkpoints kept of a profile and model.
const N_KEPT: usize = 3;
/// The profile where none is named.
pub const DEFAULT_PROFILE: &str = "default";
/// The folder of all profiles in the environment's folder of checkpoints.
const FOLDER: &str = "profiles";
const EXTENSION: &str = "safetensors";

/// The checkpoints of one profile and model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointStore {
    /// What somebody calls a way of using a model.
    pub profile: String,
    /// The model.
    pub model: String,
    folder: PathBuf,
}

impl CheckpointStore {
    /// Those of `profile` and the model called `model`.
    ///
    /// # Errors
    /// [`Error::BadProfile`] if the profile cannot be a folder's name.
    pub fn new(checkpoints_dir: &Path, profile: &str, model: &str) -> Result<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if profile.is_empty() || profile.starts_with('.') || !profile.chars().all(is_plain) {
            return Err(Error::BadProfile { name: profile.to_owned() });
        }
        // A path's last part serves: what a checkpoint belongs to, it knows itself.
        let stem = Path::new(model).file_stem().filter(|_| model.starts_with(['/', '.', '~']));
        let model = stem.map_or(model.into(), |stem| stem.to_string_lossy());
        let model: String = model.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let folder = root(checkpoints_dir).join(profile).join(&model);
        Ok(Self { profile: profile.to_owned(), model, folder })
    }

    /// All there are, in order of profile and model.
    pub fn all(checkpoints_dir: &Path) -> Vec<Self> {
        let mut stores = Vec::new();
        for (profile, folder) in folders(&root(checkpoints_dir)) {
            let models = folders(&folder).into_iter();
            stores.extend(models.map(|(model, folder)| Self { profile: profile.clone(), model, folder }));
        }
        stores.retain(|store| !store.paths().is_empty());
        stores.sort();
        stores
    }

    /// Its files, the oldest first.
    pub fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        let mut numbered: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        numbered.sort();
        numbered.into_iter().map(|(_, path)| path).collect()
    }

    /// When the latest was written.
    pub(crate) fn latest(&self) -> Option<std::time::SystemTime> {
        fs::metadata(self.paths().last()?).ok()?.modified().ok()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if it cannot be read or is no checkpoint.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let bad = |reason: String| Error::BadCheckpoint { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
        Checkpoint::from_bytes(&bytes).map_err(|error| bad(error.to_string()))
    }

    /// Adds one as the latest, whole or not at all; the oldest make room. Returns where it is.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] with the system's reason.
    pub fn add(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let paths = self.paths();
        let next = paths.last().and_then(|path| number(path)).map_or(1, |last| last + 1);
        let path = self.folder.join(format!("{next:06}.{EXTENSION}"));
        let written =
            create_private(&self.folder).and_then(|()| atomic_file::write(&path, &checkpoint.to_bytes()));
        written.map_err(|error| Error::BadCheckpoint { path: path.clone(), reason: error.to_string() })?;
        for old in paths.iter().take((paths.len() + 1).saturating_sub(N_KEPT)) {
            // One too many is no reason to fail.
            let _ = fs::remove_file(old);
        }
        Ok(path)
    }

    /// Removes all of them. Returns how many there were.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] with the system's reason.
    pub fn remove(&self) -> Result<usize> {
        let paths = self.paths();
        for path in &paths {
            let removed = fs::remove_file(path);
            removed
                .map_err(|error| Error::BadCheckpoint { path: path.clone(), reason: error.to_string() })?;
        }
        // The folder may hold what is not ours.
        let _ = fs::remove_dir(&self.folder);
        let _ = self.folder.parent().map(fs::remove_dir);
        Ok(paths.len())
    }
}

fn root(checkpoints_dir: &Path) -> PathBuf {
    checkpoints_dir.join(FOLDER)
}

/// What was learnt from somebody's texts is theirs to read alone.
fn create_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let folders = entries.filter(|path| path.is_dir());
    folders.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path.clone()))).collect()
}

/// The number of a checkpoint's file.
fn number(path: &Path) -> Option<u64> {
    let is_checkpoint = path.extension().is_some_and(|extension| extension == EXTENSION);
    path.file_stem()?.to_str()?.parse().ok().filter(|_| is_checkpoint)
}
