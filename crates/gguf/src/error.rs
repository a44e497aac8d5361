//! What can be wrong with a GGUF file.

use std::{io, path::PathBuf};

use crate::DType;

/// An error of reading or writing a GGUF file.
///
/// Names taken from a file are shortened and escaped before they get here, so that a message is one
/// printable line whatever the file holds. No variant but [`Error::Io`] and [`Error::NotAFile`] names the
/// file: the caller knows which it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, map or write the file.
    #[error("cannot {action} '{}': {reason}", path.display())]
    Io {
        /// What was tried: `open`, `map`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer, part of the message and so no `source`.
        reason: io::Error,
    },
    /// The path names a folder, a pipe or a device.
    #[error("'{}' is not a regular file, wanted a .gguf file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The first four bytes are not `GGUF`.
    #[error("file starts with '{}', a GGUF file starts with 'GGUF'; is this a model in another format, or an error page saved under its name?", found.escape_ascii())]
    NotGguf {
        /// The first bytes of the file, four at most.
        found: Vec<u8>,
    },
    /// The file was written for big-endian machines.
    #[error("file is big-endian, wanted little-endian; convert it with gguf-py's gguf_convert_endian.py")]
    BigEndian,
    /// A version of the format that is not read.
    #[error("file has GGUF version {found}, wanted 2 or 3; convert the model again with a current llama.cpp")]
    UnsupportedVersion {
        /// The version found.
        found: u32,
    },
    /// The file ends inside its header, metadata or tensor table.
    #[error(
        "{what} needs {needed} bytes at offset {offset}, file has {left} left; is the download complete?"
    )]
    Truncated {
        /// What is cut off.
        what: String,
        /// Bytes it needs.
        needed: u64,
        /// Where in the file it starts.
        offset: usize,
        /// Bytes between there and the end of the file.
        left: usize,
    },
    /// A count that the file is too short for.
    #[error(
        "file claims {found} {what}, at most {max} are possible in a file of its size; is the download complete?"
    )]
    TooMany {
        /// What is counted.
        what: String,
        /// The count found.
        found: u64,
        /// The largest count possible.
        max: u64,
    },
    /// A string that is not UTF-8.
    #[error("{what} at offset {offset} is not valid UTF-8; is the file corrupt?")]
    NotUtf8 {
        /// Which string.
        what: String,
        /// Where in the file it starts.
        offset: usize,
    },
    /// A metadata value of a type that GGUF does not define.
    #[error("metadata '{key}' has value type {found}, known are 0 to 12; is the file corrupt?")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type found.
        found: u32,
    },
    /// A metadata array whose elements are arrays.
    #[error(
        "metadata '{key}' is an array of arrays, wanted an array of plain values; remove the key or convert the model again"
    )]
    NestedArray {
        /// The key.
        key: String,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("metadata '{key}' holds the boolean {found}, wanted 0 or 1; is the file corrupt?")]
    BadBool {
        /// The key.
        key: String,
        /// The byte found.
        found: u8,
    },
    /// Two metadata values under one key.
    #[error("metadata '{key}' occurs twice, wanted once; convert the model again")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A metadata value that is needed and not there.
    #[error("metadata '{key}' is missing, wanted {wanted}; convert the model again with a current llama.cpp")]
    MissingKey {
        /// The key.
        key: String,
        /// The type wanted.
        wanted: String,
    },
    /// A metadata value of another type than is needed, or out of that type's range.
    #[error("metadata '{key}' is {found}, wanted {wanted}; convert the model again with a current llama.cpp")]
    WrongType {
        /// The key.
        key: String,
        /// Type found, and for numbers the value.
        found: String,
        /// The type wanted.
        wanted: String,
    },
    /// `general.alignment` is unusable.
    #[error(
        "metadata 'general.alignment' is {found}, wanted a power of two from 8 up; convert the model again"
    )]
    BadAlignment {
        /// The alignment found.
        found: u32,
    },
    /// Two tensors with one name.
    #[error("tensor '{tensor}' occurs twice, wanted once; convert the model again")]
    DuplicateTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor that is needed and not there.
    #[error("tensor '{tensor}' is missing; is this a complete model of the architecture it names?")]
    MissingTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor without dimensions, or with more than four.
    #[error("tensor '{tensor}' has {found} dimensions, wanted 1 to 4; is the file corrupt?")]
    BadDimCount {
        /// The tensor's name.
        tensor: String,
        /// Dimensions found.
        found: usize,
    },
    /// A tensor with a dimension of 0, or larger than can be addressed.
    #[error(
        "tensor '{tensor}' has shape {shape:?}, wanted dimensions from 1 up and a size that can be addressed; is the file corrupt?"
    )]
    BadShape {
        /// The tensor's name.
        tensor: String,
        /// The shape found, outermost first.
        shape: Vec<u64>,
    },
    /// A tensor of a type that is not known.
    #[error(
        "tensor '{tensor}' has ggml type {found}, which is unknown or removed; use a file quantized with a current llama.cpp, for example Q4_K_M"
    )]
    UnknownDType {
        /// The tensor's name.
        tensor: String,
        /// The type found.
        found: u32,
    },
    /// A tensor whose rows end inside a block.
    #[error("tensor '{tensor}' has rows of {row_len} elements, wanted a multiple of {dtype}'s block of {}; is the file corrupt?", dtype.block_len())]
    PartialBlock {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: DType,
        /// Elements of a row.
        row_len: u64,
    },
    /// A tensor that does not start on a multiple of the file's alignment.
    #[error(
        "tensor '{tensor}' starts {offset} bytes into the tensor data, wanted a multiple of {alignment}; convert the model again"
    )]
    MisalignedTensor {
        /// The tensor's name.
        tensor: String,
        /// Its offset from the start of the tensor data.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },
    /// A tensor whose bytes reach past the end of the file.
    #[error(
        "tensor '{tensor}' needs {needed} bytes at offset {offset}, file has {left} left; is the download complete?"
    )]
    TensorPastEnd {
        /// The tensor's name.
        tensor: String,
        /// Bytes it needs.
        needed: usize,
        /// Where in the file it starts.
        offset: u64,
        /// Bytes between there and the end of the file.
        left: u64,
    },
    /// Two tensors that share bytes.
    #[error(
        "tensors '{first}' and '{second}' overlap at offset {offset}, wanted them apart; is the file corrupt?"
    )]
    OverlappingTensors {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside it.
        second: String,
        /// Where in the file the second starts.
        offset: usize,
    },
    /// Bytes given to the writer that do not fit the tensor's type and shape.
    #[error("tensor '{tensor}' got {found} bytes, its type and shape want {wanted}")]
    WrongByteCount {
        /// The tensor's name.
        tensor: String,
        /// Bytes found.
        found: usize,
        /// Bytes wanted.
        wanted: usize,
    },
}

/// A name from a file, fit for a message: control characters escaped, cut after 80 characters.
pub(crate) fn printable(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_short_printable_line() {
        assert_eq!(printable("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
        assert_eq!(printable("a\n\u{1b}[31m"), "a\\n\\u{1b}[31m");
        assert_eq!(printable(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
    }
}
