//! What can go wrong in speculation.

/// An error of a drafter or of the decoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An engine refused a pass.
    #[error(transparent)]
    Engine(#[from] nano_reasoning_engine::Error),
    /// Two drafters read different layers of the target.
    #[error(
        "drafter '{first}' reads the target's layers {first_taps:?}, drafter '{second}' {second_taps:?}; use heads of one kind, or one of the two"
    )]
    DifferentTaps {
        /// A drafter.
        first: String,
        /// Its layers.
        first_taps: Vec<usize>,
        /// Another drafter.
        second: String,
        /// Its layers.
        second_taps: Vec<usize>,
    },
    /// A drafter reads layers that the target does not have.
    #[error("drafter '{drafter}' reads the target's layer {layer}; the target has {n_layers}")]
    NoSuchLayer {
        /// The drafter.
        drafter: String,
        /// The layer.
        layer: usize,
        /// Layers there are.
        n_layers: usize,
    },
    /// A draft model whose token ids mean other tokens than the target's.
    #[error(
        "draft model '{drafter}' cannot draft for this target: token {token} is {found:?} in one and {wanted:?} in the other; use a model of the same family"
    )]
    OtherVocabulary {
        /// The draft model.
        drafter: String,
        /// The first id that differs.
        token: u32,
        /// Its text in the draft model.
        found: String,
        /// Its text in the target.
        wanted: String,
    },
}
