//! A file that is being downloaded: it can be left at any byte and continued, by any source, and knows the
//! sha256 of what it holds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk;
use super::progress::Tracker;
use crate::{Error, Result};

/// Bytes read or written at once.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    len: u64,
    /// Bytes it shall have in the end, if known.
    total: Option<u64>,
}

impl PartFile {
    /// Opens `path`, or creates it, and reads what an earlier run left. Longer than `total` means that it
    /// is something else: it starts again.
    pub(super) fn open(path: &Path, total: Option<u64>, tracker: &mut Tracker<'_>) -> Result<Self> {
        let failed = io_error("open", path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        let len = file.metadata().map_err(io_error("open", path))?.len();
        let mut part = Self { file, path: path.to_owned(), hasher: Sha256::new(), len: 0, total };
        if len == 0 {
            return Ok(part);
        }
        if total.is_some_and(|total| len > total) {
            part.len = len;
            part.restart()?;
            return Ok(part);
        }
        let (hasher, read) = hash(&mut (&part.file).take(len), tracker).map_err(|failure| match failure {
            HashFailure::Read(error) => io_error("read", path)(error),
            HashFailure::Cancelled(error) => error,
        })?;
        part.hasher = hasher;
        part.len = read;
        Ok(part)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether every byte is there, as far as the length is known.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.len)
    }

    /// Lower-case hexadecimal sha256 of the bytes there.
    pub(super) fn sha256(&self) -> String {
        hex(self.hasher.clone())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            return Err(self.write_error(error));
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.hasher = Sha256::new();
        if self.len > 0 {
            let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
            emptied.map_err(io_error("empty", &self.path))?;
            self.len = 0;
        }
        Ok(())
    }

    /// A state to come back to.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { hasher: self.hasher.clone(), len: self.len }
    }

    /// Forgets all bytes after `checkpoint`.
    pub(super) fn roll_back(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let cut = self.file.set_len(checkpoint.len);
        let cut = cut.and_then(|()| self.file.seek(SeekFrom::Start(checkpoint.len)));
        cut.map_err(io_error("cut", &self.path))?;
        (self.hasher, self.len) = (checkpoint.hasher, checkpoint.len);
        Ok(())
    }

    /// Makes the bytes survive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> Error {
        let missing = self.total.map_or(0, |total| total.saturating_sub(self.len));
        disk::write_error(&self.path, error, missing)
    }
}

pub(super) struct Checkpoint {
    hasher: Sha256,
    len: u64,
}

pub(super) enum HashFailure {
    Read(io::Error),
    Cancelled(Error),
}

/// The sha256 of all that `reader` gives, and its length.
pub(super) fn hash(reader: &mut impl Read, tracker: &mut Tracker<'_>) -> Result<(Sha256, u64), HashFailure> {
    let mut hasher = Sha256::new();
    let mut len = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        tracker.check().map_err(HashFailure::Cancelled)?;
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher, len)),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(HashFailure::Read(error)),
        };
        hasher.update(&buffer[..n]);
        len += n as u64;
        tracker.advance_to(len);
    }
}

/// A hash in lower-case hexadecimal.
pub(super) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an [`Error::Io`] of an error.
pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, total: u64) -> Result<PartFile> {
        PartFile::open(path, Some(total), &mut Tracker::new("test", &mut ()))
    }

    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn continues_where_an_earlier_run_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        open(&path, 3).unwrap().append(b"ab").unwrap();
        let mut part = open(&path, 3).unwrap();
        assert_eq!((part.len(), part.is_complete()), (2, false));
        part.append(b"c").unwrap();
        assert!(part.is_complete());
        assert_eq!(part.sha256(), ABC_SHA256);
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn rolls_back_and_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        let mut part = open(&path, 3).unwrap();
        part.append(b"a").unwrap();
        let checkpoint = part.checkpoint();
        part.append(b"xx").unwrap();
        part.roll_back(checkpoint).unwrap();
        part.append(b"bc").unwrap();
        assert_eq!(part.sha256(), ABC_SHA256);
        part.restart().unwrap();
        assert_eq!((part.len(), std::fs::metadata(&path).unwrap().len()), (0, 0));
    }

    #[test]
    fn a_file_longer_than_wanted_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        std::fs::write(&path, b"something else").unwrap();
        assert_eq!(open(&path, 3).unwrap().len(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_says_how_much_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        // The device that is always full.
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let error = open(&path, 1000).unwrap().append(b"abc").unwrap_err();
        assert!(matches!(error, Error::DiskFull { needed_bytes: 1000, .. }), "{error}");
    }
}
