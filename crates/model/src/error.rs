//! What can be wrong with a model.

use nano_reasoning_gguf::DType;

/// An error of loading a model or opening a sequence of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GGUF file itself is broken.
    #[error(transparent)]
    Gguf(#[from] nano_reasoning_gguf::Error),
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
        found: DType,
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
    /// No memory for a sequence's cache.
    #[error("a KV cache for {context_len} tokens does not fit memory; choose a shorter context")]
    CacheTooLarge {
        /// Tokens asked for.
        context_len: usize,
    },
}
