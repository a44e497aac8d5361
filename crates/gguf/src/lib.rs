//! GGUF files: header, metadata, tensor table, memory map.
//!
//! [`GgufFile::open`] maps a file, checks every length in it once and keeps views: metadata arrays (the
//! vocabulary, the merges) and tensor bytes stay in the map. This crate hands out dtype, shape and bytes;
//! what they mean is the caller's business. [`GgufWriter`] writes the same format.
//!
//! Source: the GGUF specification in ggml's `docs/gguf.md`, versions 2 and 3, little-endian.
//!
//! ```no_run
//! let file = nano_reasoning_gguf::GgufFile::open("model.gguf")?;
//! let n_layers = file.metadata().u32("qwen2.block_count")?;
//! let norm = file.tensor("output_norm.weight")?;
//! println!("{n_layers} layers, {} bytes", file.tensor_bytes(norm).len());
//! # Ok::<(), nano_reasoning_gguf::Error>(())
//! ```
#![deny(unsafe_code)]

mod cursor;
mod dtype;
mod error;
mod file;
mod mapped_file;
mod metadata;
#[allow(unsafe_code)]
mod mmap;
mod tensor;
mod value;
mod writer;

pub use dtype::DType;
pub use error::Error;
pub use file::GgufFile;
pub use mapped_file::MappedFile;
pub use metadata::Metadata;
pub use tensor::TensorInfo;
pub use value::{Array, FromValue, StrArray, StrIter, Value, ValueIter, ValueType};
pub use writer::{Element, GgufWriter, IntoValue, write_atomic};

/// Result of reading or writing a GGUF file.
pub type Result<T, E = Error> = std::result::Result<T, E>;
