//! A file's bytes without a copy, for loaders of other formats beside GGUF.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::mmap::Map;

/// A whole file, mapped read-only. It must stay as it is while it is open: replace, never overwrite it.
#[derive(Debug)]
pub struct MappedFile(Map);

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The system's, or [`io::ErrorKind::InvalidInput`] if `path` is no regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Asked before opening: to open a pipe would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Map::of_file(&File::open(path)?).map(Self)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Drops the pages that `range` touches from this process's memory; as [`crate::GgufFile::release`].
    pub fn release(&self, range: Range<usize>) {
        self.0.release(range);
    }

    /// Asks the system to read the pages of `range` ahead of their use.
    pub fn will_need(&self, range: Range<usize>) {
        self.0.will_need(range);
    }
}
