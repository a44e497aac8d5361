//! What can go wrong while a drafter is trained.

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
    /// Lengths of a sample that do not go together, or not with the head.
    #[error("a sample's tokens, hidden states and rows do not fit each other or the head")]
    BadSample,
}
