//! A GGUF file, open.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cursor::Cursor;
use crate::metadata::{Metadata, MetadataTable};
use crate::mmap::Map;
use crate::tensor::{TensorInfo, TensorTable};
use crate::value::Value;
use crate::{Error, Result};

/// What a file starts with.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";

/// Alignment of tensors where the file names none.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;

/// The key under which a file names another alignment.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";

/// An open GGUF file: checked metadata and tensor table over a memory map.
pub struct GgufFile {
    map: Map,
    version: u32,
    alignment: u32,
    metadata: MetadataTable,
    tensors: TensorTable,
}

impl GgufFile {
    /// Maps a file and checks its header, metadata and tensor table. Tensor bytes are not touched.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NotAFile`] if it cannot be mapped; the other variants say what in it is
    /// wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |action| move |reason| Error::Io { action, path: PathBuf::from(path), reason };
        // Asked before opening: to open a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(failed("open"))?.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(failed("open"))?;
        Self::parse(Map::of_file(&file).map_err(failed("map"))?)
    }

    /// Reads a file that is in memory, by a copy: for tests and small files.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let failed = |reason| Error::Io { action: "map", path: "memory".into(), reason };
        Self::parse(Map::of_bytes(bytes).map_err(failed)?)
    }

    /// Reads a file that is a part of the program (`include_bytes!`), where it is.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_program(bytes: &'static [u8]) -> Result<Self> {
        Self::parse(Map::Program(bytes))
    }

    fn parse(map: Map) -> Result<Self> {
        let bytes = map.bytes();
        let mut cursor = Cursor::new(bytes);
        if !bytes.starts_with(&MAGIC) {
            return Err(Error::NotGguf { found: bytes[..bytes.len().min(4)].to_vec() });
        }
        cursor.array::<4>(&"the magic")?;
        let version = match cursor.u32(&"the version")? {
            version @ (2 | 3) => version,
            found if matches!(found.swap_bytes(), 2 | 3) => return Err(Error::BigEndian),
            found => return Err(Error::UnsupportedVersion { found }),
        };
        let n_tensors = cursor.u64(&"the number of tensors")?;
        let n_pairs = cursor.u64(&"the number of metadata pairs")?;
        let metadata = MetadataTable::parse(&mut cursor, n_pairs)?;
        let alignment = match metadata.view(bytes).value(ALIGNMENT_KEY) {
            Some(value) => check_alignment(value)?,
            None => DEFAULT_ALIGNMENT,
        };
        let tensors = TensorTable::parse(&mut cursor, n_tensors, alignment)?;
        Ok(Self { map, version, alignment, metadata, tensors })
    }

    /// Version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the offset of every tensor in the file is a multiple of, in bytes. So is its address, up to
    /// the size of a page.
    pub fn alignment(&self) -> usize {
        self.alignment as usize
    }

    /// Length of the file in bytes.
    pub fn n_bytes(&self) -> usize {
        self.map.bytes().len()
    }

    /// The metadata, borrowed.
    pub fn metadata(&self) -> Metadata<'_> {
        self.metadata.view(self.map.bytes())
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors.tensors
    }

    /// The tensor `name`, if there is one.
    pub fn find_tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.find(name)
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] if there is none.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.find_tensor(name).ok_or_else(|| Error::MissingTensor { tensor: crate::error::printable(name) })
    }

    /// The bytes of a tensor, in the map.
    ///
    /// # Panics
    /// If `tensor` is of another, longer file.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> &[u8] {
        &self.map.bytes()[tensor.range()]
    }

    /// Drops the pages that `range` (of file offsets, see [`TensorInfo::range`]) touches from this
    /// process's memory. A later read, of a neighbour on the same page too, gets them from the file again.
    ///
    /// For weights that were repacked elsewhere, so that resident memory holds them once. On Linux the
    /// pages leave at once; macOS takes it as a hint; elsewhere nothing happens.
    pub fn release(&self, range: Range<usize>) {
        self.map.release(range);
    }

    /// Asks the system to read the pages of `range` (of file offsets) ahead of their use.
    pub fn will_need(&self, range: Range<usize>) {
        self.map.will_need(range);
    }

    /// Tells the system that `range` (of file offsets) will be read once, front to back.
    pub fn sequential(&self, range: Range<usize>) {
        self.map.sequential(range);
    }
}

impl fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GgufFile")
            .field("version", &self.version)
            .field("n_bytes", &self.n_bytes())
            .field("n_tensors", &self.tensors().len())
            .field("metadata", &self.metadata())
            .finish()
    }
}

/// A `u32`, as the specification and llama.cpp want it; a power of two; and at least the specification's
/// 8 bytes, so that plain numbers are aligned.
pub(crate) fn check_alignment(value: Value<'_>) -> Result<u32> {
    match value {
        Value::U32(found) if found.is_power_of_two() && found >= 8 => Ok(found),
        Value::U32(found) => Err(Error::BadAlignment { found }),
        _ => Err(Error::WrongType {
            key: ALIGNMENT_KEY.to_string(),
            found: value.describe(),
            wanted: "u32".to_string(),
        }),
    }
}
