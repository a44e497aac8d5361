//! Writing GGUF version 3: for tests, and for exporting heads.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::printable;
use crate::file::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, check_alignment};
use crate::metadata::{Metadata, parse_value};
use crate::tensor::check_shape;
use crate::value::{Value, ValueType};
use crate::{DType, Error, Result};

/// Collects metadata and tensors, then writes them in one go.
///
/// ```
/// use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
///
/// let mut writer = GgufWriter::new();
/// writer.metadata("general.architecture", "qwen2")?;
/// writer.metadata("tokenizer.ggml.tokens", ["a", "b"].as_slice())?;
/// writer.tensor("output_norm.weight", DType::F32, &[2], 1.0_f32.to_le_bytes().repeat(2))?;
/// let file = GgufFile::from_bytes(&writer.to_bytes())?;
/// assert_eq!(file.metadata().str("general.architecture")?, "qwen2");
/// # Ok::<(), nano_reasoning_gguf::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct GgufWriter<'a> {
    /// Keys, and values as they go to the file.
    pairs: Vec<(String, Vec<u8>)>,
    tensors: Vec<PendingTensor<'a>>,
    alignment: Option<u32>,
}

#[derive(Debug)]
struct PendingTensor<'a> {
    name: String,
    dtype: DType,
    /// Outermost first.
    shape: Vec<u64>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> GgufWriter<'a> {
    /// A writer of an empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value: a number, a boolean, a string, a slice of those, or a [`Value`] read elsewhere.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`]; [`Error::WrongType`] and [`Error::BadAlignment`] for a `general.alignment`
    /// that no reader would take.
    pub fn metadata(&mut self, key: &str, value: impl IntoValue) -> Result<&mut Self> {
        if self.pairs.iter().any(|(other, _)| other == key) {
            return Err(Error::DuplicateKey { key: printable(key) });
        }
        let mut bytes = value.value_type().id().to_le_bytes().to_vec();
        value.encode(&mut bytes);
        if key == ALIGNMENT_KEY {
            self.alignment = Some(check_alignment(parse_value(&bytes, key)?)?);
        }
        self.pairs.push((key.to_string(), bytes));
        Ok(self)
    }

    /// Adds all metadata of another file.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub fn copy_metadata(&mut self, from: Metadata<'_>) -> Result<&mut Self> {
        for (key, value) in from.iter() {
            self.metadata(key, value)?;
        }
        Ok(self)
    }

    /// Adds a tensor. `shape` is outermost first, `bytes` are its blocks, row by row.
    ///
    /// # Errors
    /// [`Error::DuplicateTensor`], [`Error::BadDimCount`], [`Error::BadShape`], [`Error::PartialBlock`],
    /// and [`Error::WrongByteCount`] if `bytes` are not as many as type and shape want.
    pub fn tensor(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self> {
        let bytes = bytes.into();
        if self.tensors.iter().any(|other| other.name == name) {
            return Err(Error::DuplicateTensor { tensor: printable(name) });
        }
        let shape: Vec<u64> = shape.iter().map(|&dim| dim as u64).collect();
        let (_, wanted) = check_shape(name, dtype, &shape)?;
        if bytes.len() != wanted {
            return Err(Error::WrongByteCount { tensor: printable(name), found: bytes.len(), wanted });
        }
        self.tensors.push(PendingTensor { name: name.to_string(), dtype, shape, bytes });
        Ok(self)
    }

    /// The file, in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out).expect("memory takes all writes");
        out
    }

    /// Writes the file to `path`: whole or not at all. It is written beside `path` under another name,
    /// flushed to the disk and renamed.
    ///
    /// # Errors
    /// [`Error::Io`]; whatever `path` held before is then untouched.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_atomic(path, |out| self.write_to(out)).map_err(|reason| Error::Io {
            action: "write",
            path: path.into(),
            reason,
        })
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let alignment = self.alignment.unwrap_or(DEFAULT_ALIGNMENT) as usize;
        let mut head = MAGIC.to_vec();
        head.extend(3_u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            key.as_str().encode(&mut head);
            head.extend(value);
        }
        let mut offset = 0_usize;
        for tensor in &self.tensors {
            tensor.name.as_str().encode(&mut head);
            head.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|dim| head.extend(dim.to_le_bytes()));
            head.extend(tensor.dtype.id().to_le_bytes());
            head.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.bytes.len()).next_multiple_of(alignment);
        }
        out.write_all(&head)?;
        let mut pos = head.len();
        for tensor in &self.tensors {
            pos += pad(out, pos, alignment)?;
            out.write_all(&tensor.bytes)?;
            pos += tensor.bytes.len();
        }
        pad(out, pos, alignment)?;
        Ok(())
    }
}

/// Writes zeros up to the next multiple of `alignment`; returns how many.
fn pad(out: &mut impl Write, pos: usize, alignment: usize) -> io::Result<usize> {
    let n_zeros = pos.next_multiple_of(alignment) - pos;
    io::copy(&mut io::Read::take(io::repeat(0), n_zeros as u64), out)?;
    Ok(n_zeros)
}

/// Writes a file beside `path` and gives it that name once it is on the disk: `path` is whole, or as it was.
///
/// # Errors
/// The system's, or `write`'s.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let temp = TempFile::beside(path)?;
    let mut out = BufWriter::new(File::options().write(true).create_new(true).open(&temp.0)?);
    write(&mut out)?;
    out.into_inner()?.sync_all()?;
    fs::rename(&temp.0, path)?;
    std::mem::forget(temp);
    // The rename itself is on the disk once the folder is.
    #[cfg(unix)]
    File::open(parent(path))?.sync_all()?;
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name for a file that is removed unless it was renamed.
struct TempFile(PathBuf);

impl TempFile {
    fn beside(path: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let unique = format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut temp = std::ffi::OsString::from(".");
        temp.push(name);
        temp.push(unique);
        Ok(Self(parent(path).join(temp)))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// What can be written as a metadata value.
pub trait IntoValue {
    /// The value's type.
    fn value_type(&self) -> ValueType;

    /// Appends the value as it stands in a file.
    fn encode(&self, out: &mut Vec<u8>);
}

/// What can be an element of a metadata array.
pub trait Element: IntoValue {
    /// The type of such elements.
    const TYPE: ValueType;
}

macro_rules! into_value {
    ($($type:ty: $value_type:ident, $value:ident => $bytes:expr;)*) => { $(
        impl IntoValue for $type {
            fn value_type(&self) -> ValueType {
                ValueType::$value_type
            }

            fn encode(&self, out: &mut Vec<u8>) {
                let $value = self;
                out.extend($bytes);
            }
        }

        impl Element for $type {
            const TYPE: ValueType = ValueType::$value_type;
        }
    )* };
}

into_value! {
    u8: U8, v => v.to_le_bytes();
    i8: I8, v => v.to_le_bytes();
    u16: U16, v => v.to_le_bytes();
    i16: I16, v => v.to_le_bytes();
    u32: U32, v => v.to_le_bytes();
    i32: I32, v => v.to_le_bytes();
    u64: U64, v => v.to_le_bytes();
    i64: I64, v => v.to_le_bytes();
    f32: F32, v => v.to_le_bytes();
    f64: F64, v => v.to_le_bytes();
    bool: Bool, v => [u8::from(*v)];
    &str: String, v => (v.len() as u64).to_le_bytes().into_iter().chain(v.bytes());
    String: String, v => (v.len() as u64).to_le_bytes().into_iter().chain(v.bytes());
}

impl<T: Element> IntoValue for &[T] {
    fn value_type(&self) -> ValueType {
        ValueType::Array
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(T::TYPE.id().to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        self.iter().for_each(|element| element.encode(out));
    }
}

impl IntoValue for Value<'_> {
    fn value_type(&self) -> ValueType {
        Value::value_type(self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(v) => v.encode(out),
            Self::I8(v) => v.encode(out),
            Self::U16(v) => v.encode(out),
            Self::I16(v) => v.encode(out),
            Self::U32(v) => v.encode(out),
            Self::I32(v) => v.encode(out),
            Self::F32(v) => v.encode(out),
            Self::Bool(v) => v.encode(out),
            Self::String(v) => v.encode(out),
            Self::U64(v) => v.encode(out),
            Self::I64(v) => v.encode(out),
            Self::F64(v) => v.encode(out),
            Self::Array(array) => {
                out.extend(array.element_type().id().to_le_bytes());
                out.extend((array.len() as u64).to_le_bytes());
                out.extend(array.bytes());
            }
        }
    }
}
