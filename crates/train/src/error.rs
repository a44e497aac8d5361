//! What can go wrong while a drafter is trained.

use std::io;
use std::path::PathBuf;

/// Why a drafter is not trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine's.
    #[error(transparent)]
    Model(#[from] nano_reasoning_model::Error),
    /// A file that is no checkpoint, or one of something else.
    #[error("found {found}; wanted {wanted}")]
    BadCheckpoint {
        /// What is there.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// A file that cannot be read.
    #[error("cannot read '{}': {reason}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// A file that is no sample, or one of something else.
    #[error("sample '{}': found {found}; wanted {wanted}; remove the file, and it is collected again", path.display())]
    BadSampleFile {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// Too few answers.
    #[error(
        "there is nothing to learn from: found {found} answers, wanted some to train on and some to hold out; collect more"
    )]
    NoSamples {
        /// Answers there are.
        found: usize,
    },
    /// Numbers that ran away.
    #[error("the loss is {loss} in step {step}, on the answer '{}'; wanted a number: lower the learning rate", path.display())]
    Diverged {
        /// What it is.
        loss: f32,
        /// Where.
        step: u64,
        /// The sample at hand.
        path: PathBuf,
    },
    /// Lengths of a sample that do not go together, or not with the head.
    #[error("a sample's tokens, hidden states and rows do not fit each other or the head")]
    BadSample,
}
