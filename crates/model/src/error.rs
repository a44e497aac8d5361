//! What can be wrong with a model.

use std::{io, path::PathBuf};

/// Types of matrices that there are kernels for, beside MLX's affine quantization.
pub(crate) const MATRIX_TYPES: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0, Q4_K, Q5_K, Q6_K";
/// Types of vectors.
pub(crate) const VECTOR_TYPES: &str = "F32, F16, BF16";

/// An error of loading a model or opening a sequence of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GGUF file itself is broken.
    #[error(transparent)]
    Gguf(#[from] nano_reasoning_gguf::Error),
    /// A file of a folder that cannot be read.
    #[error("cannot read '{}': {reason}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// A JSON file that is none, or lacks a key.
    #[error("'{}': {reason}", path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: serde_json::Error,
    },
    /// A safetensors file that is broken.
    #[error("'{}' is no whole safetensors file ({}); is the download complete?", path.display(), one_line(reason))]
    BadSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: safetensors::SafeTensorError,
    },
    /// A tensor that is in two files of a folder.
    #[error("tensor '{tensor}' is in two of the folder's files, wanted it in one")]
    DuplicateTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// An architecture that no code here computes.
    #[error("model architecture '{found}' is not supported; supported are {supported}")]
    UnsupportedArchitecture {
        /// The architecture found.
        found: String,
        /// Those there are, with commas.
        supported: String,
    },
    /// A value in the model's configuration that makes no sense.
    #[error("'{key}' is {found}, wanted {wanted}; is the model file damaged?")]
    BadConfig {
        /// The key, as the file spells it.
        key: String,
        /// The value found.
        found: String,
        /// What is possible.
        wanted: String,
    },
    /// A feature of the model that is not computed here, so that its output would be wrong.
    #[error("'{key}' is {found}, which this engine does not compute; wanted {wanted}")]
    UnsupportedFeature {
        /// The key, as the file spells it.
        key: String,
        /// The value found.
        found: String,
        /// What is computed.
        wanted: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("model has no tensor '{tensor}', which {architecture} needs; {nearby}")]
    MissingTensor {
        /// The tensor's name.
        tensor: String,
        /// The architecture.
        architecture: &'static str,
        /// What there is instead.
        nearby: String,
    },
    /// A tensor that the architecture has no use for: the model is not what it says it is.
    #[error("model has a tensor '{tensor}' that {architecture} does not compute; its output would be wrong")]
    UnexpectedTensor {
        /// The tensor's name.
        tensor: String,
        /// The architecture.
        architecture: &'static str,
    },
    /// A tensor of another shape than the configuration says.
    #[error("tensor '{tensor}' has shape {found:?}, wanted {wanted:?}")]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// The shape found, outermost first.
        found: Vec<usize>,
        /// The shape wanted.
        wanted: Vec<usize>,
    },
    /// A tensor stored in a way that no kernel multiplies.
    #[error("tensor '{tensor}' is stored as {found}, wanted one of {supported}; choose another file")]
    UnsupportedQuantization {
        /// The tensor's name.
        tensor: String,
        /// The type found.
        found: String,
        /// The types there are kernels for.
        supported: &'static str,
    },
    /// A tensor that could not be packed.
    #[error("tensor '{tensor}': {reason}")]
    Pack {
        /// The tensor's name.
        tensor: String,
        /// Why.
        reason: nano_reasoning_kernels::Error,
    },
    /// An instruction set that this machine has no kernels for.
    #[error("no kernels for '{found}' on this machine; available are {available}")]
    UnknownIsa {
        /// The name asked for.
        found: String,
        /// Names of the tables there are, weakest first.
        available: String,
    },
    /// A head that drafts for another model.
    #[error(
        "'{key}' of the head is {found}, of the target {wanted}; was the head trained for another model?"
    )]
    HeadMismatch {
        /// The key, as the head's file spells it.
        key: String,
        /// Its value.
        found: usize,
        /// What the target has.
        wanted: usize,
    },
    /// A head that another program would not compute.
    #[error("a head with {what} {found} cannot be exported to such a file; wanted {wanted}")]
    NotExportable {
        /// Part of the head.
        what: &'static str,
        /// What the head has.
        found: String,
        /// What can be written.
        wanted: &'static str,
    },
    /// A file that cannot be written.
    #[error("cannot write '{}': {reason}", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// No memory for the rows that a head drafts over.
    #[error(
        "the rows of {n_tokens} tokens to draft over do not fit memory; choose a smaller core vocabulary"
    )]
    DraftVocabTooLarge {
        /// Tokens of the list.
        n_tokens: usize,
    },
    /// No memory for a sequence's cache.
    #[error("a KV cache for {context_len} tokens does not fit memory; choose a shorter context")]
    CacheTooLarge {
        /// Tokens asked for.
        context_len: usize,
    },
}

/// What a library says of a file, whose bytes it may quote, fit for a message: control characters escaped, cut after 400.
pub fn one_line(reason: impl std::fmt::Display) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    reason.to_string().chars().take(400).map(escaped).collect()
}

/// A name from a file, fit for a message: control characters escaped, cut after 80 characters.
pub(crate) fn printable(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}
