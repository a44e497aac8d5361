//! From logits to a token: the exact target distribution, and drawing from it.
//!
//! [`distribution`] is a pure function of logits, history and parameters, and [`TokenDistribution::draw`] one of
//! that and of random numbers that belong to the position ([`Noise`]). So a token does not depend on how
//! its logits came about, and speculation gives the very tokens that plain decoding gives, at any
//! temperature. [`Sampler`] does the same without allocating.
//!
//! # Order of the filters
//! As in llama.cpp's default chain (`common/sampling.cpp`), so that the same settings mean the same here:
//!
//! 1. repetition penalty: each distinct token among the last `repetition_window` of the history has its
//!    logit divided by the penalty if positive, multiplied by it otherwise (CTRL, arXiv 1909.05858, §4.1);
//! 2. top-k: the `k` largest logits;
//! 3. top-p: of those, the fewest most probable ones whose probabilities add up to `p` (arXiv 1904.09751);
//! 4. min-p: of those, the ones at least `min_p` times as probable as the best (arXiv 2407.01082);
//! 5. temperature: what is left is drawn with weight `exp(logit / temperature)`.
//!
//! Temperature comes last: top-p and min-p see the probabilities at temperature 1, so a high temperature
//! evens out the candidates without letting in bad ones. Temperature 0 takes the best token after the
//! penalty. Equal logits rank by token id, the lowest first.

mod distribution;
mod exp;
mod filters;
mod noise;
mod params;
mod sampler;
mod select;

pub use distribution::TokenDistribution;
pub use noise::{Noise, PositionNoise};
pub use params::{InvalidParameter, SamplingParams};
pub use sampler::{Sampler, argmax, distribution, top_log_probs};

#[cfg(test)]
mod tests;
