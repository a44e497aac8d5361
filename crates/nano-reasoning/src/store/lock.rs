//! One download of a model at a time, over all processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::part_file::io_error;
use super::progress::{Phase, Tracker};
use crate::Result;

/// Held while a model's files change; the system releases it when the process ends, however it ends.
pub(super) struct Lock {
    _file: File,
}

/// How often a waiting process looks again.
const POLL: Duration = Duration::from_millis(100);

impl Lock {
    /// The lock, once no other process holds it.
    pub(super) fn wait(path: &Path, tracker: &mut Tracker<'_>) -> Result<Self> {
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            tracker.enter(Phase::Waiting, None);
            tracker.check()?;
            std::thread::sleep(POLL);
        }
    }

    /// The lock, or `None` if another process holds it. The lock file stays: removing it would let two
    /// processes lock two files of one name.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(io_error("create", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let first = Lock::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
