//! Room on the disk.

use std::io;
use std::path::Path;

use crate::{Error, Result};

/// Left free beyond what a download needs: a disk filled to the last byte breaks other programs.
const SPARE_BYTES: u64 = 64 << 20;

/// # Errors
/// [`Error::DiskFull`] if `needed_bytes` do not fit beside what lies in `folder`.
pub(super) fn check(folder: &Path, needed_bytes: u64) -> Result<()> {
    match free_bytes(folder) {
        Some(free_bytes) if needed_bytes > 0 && free_bytes < needed_bytes.saturating_add(SPARE_BYTES) => {
            Err(Error::DiskFull { path: folder.to_owned(), needed_bytes, free_bytes })
        }
        // A file system that does not tell is tried.
        _ => Ok(()),
    }
}

/// An error of writing to `path`, of which `missing_bytes` are not written yet.
pub(super) fn write_error(path: &Path, error: io::Error, missing_bytes: u64) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            full(path.parent().unwrap_or(path), missing_bytes)
        }
        _ => Error::Io { action: "write", path: path.to_owned(), source: error },
    }
}

/// There is no room in `folder` for `needed_bytes`.
pub(super) fn full(folder: &Path, needed_bytes: u64) -> Error {
    let free_bytes = free_bytes(folder).unwrap_or(0);
    Error::DiskFull { path: folder.to_owned(), needed_bytes, free_bytes }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_fit() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), 1).is_ok());
        assert!(check(folder.path(), 0).is_ok());
        let error = check(folder.path(), 1 << 60).unwrap_err();
        assert!(matches!(error, Error::DiskFull { needed_bytes, .. } if needed_bytes == 1 << 60), "{error}");
        assert!(check(Path::new("/absent/folder"), 1 << 60).is_ok());
    }
}
