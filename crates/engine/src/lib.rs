//! The seam between what decides (speculation, chat, server) and what computes (a CPU, a GPU).
//!
//! Everything above [`TargetModel`] speaks of tokens, trees of tokens, logits and hidden states as plain
//! `f32` slices. It knows no tensor, no kernel and no device, so that an engine can be added beside the
//! CPU one without a change above.
#![forbid(unsafe_code)]

mod draft_head;
mod error;
pub mod sampling;
mod target_model;
mod token_tree;

pub use draft_head::{DraftHead, HeadForward};
pub use error::Error;
pub use sampling::{
    InvalidParameter, Noise, PositionNoise, Sampler, SamplingParams, TokenDistribution, argmax, distribution,
    top_log_probs,
};
pub use target_model::{Forward, LogitRows, ModelShape, TargetModel};
pub use token_tree::TokenTree;

/// Result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;
