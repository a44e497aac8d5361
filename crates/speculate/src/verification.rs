//! What the target said to a draft, for whoever wants to learn from it.

use nano_reasoning_engine::TokenTree;

use crate::DraftNode;
use crate::control::Choice;

/// A verified draft.
///
/// Row 0 of the pass is the *root*, the token before the draft; row `i + 1` is draft node `i`.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// All tokens up to and with those emitted.
    pub history: &'a [u32],
    /// How many of them this cycle emitted, `1..`.
    pub num_emitted: usize,
    /// The tokens of the pass, `[n_rows]`.
    pub tree: &'a TokenTree,
    /// The draft, `[n_rows - 1]`.
    pub draft: &'a [DraftNode],
    /// Rows that the cache keeps, root first.
    pub path: &'a [usize],
    /// Draft tokens among those emitted.
    pub num_accepted: usize,
    /// Draft tokens that could have been accepted: the length of the longest drafted path, cut where the
    /// answer stopped.
    pub draft_len: usize,
    /// Target logits, `[n_rows, vocab_size]`.
    pub logits: &'a [f32],
    /// Inputs of the tapped layers, `[n_rows, n_taps, hidden_dim]`.
    pub taps: &'a [f32],
    /// Input of the output matrix, `[n_rows, hidden_dim]`.
    pub hidden: &'a [f32],
    /// What it took.
    pub times: CycleTimes,
    /// Why the draft was as it was.
    pub choice: &'a Choice,
}

/// Seconds of one cycle.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct CycleTimes {
    /// Drafting.
    pub draft_s: f64,
    /// The target's pass.
    pub verify_s: f64,
    /// Drawing tokens and showing them.
    pub sample_s: f64,
}

/// Learns from each verification.
pub trait Observer: Send {
    /// A chunk of a prompt, `[n]`, passed from `position` on, with taps `[n, n_taps, hidden_dim]`.
    fn prefilled(&mut self, _position: usize, _tokens: &[u32], _taps: &[f32]) {}

    /// The sequence is cut back to its first `len` tokens.
    fn truncated(&mut self, _len: usize) {}

    /// An answer is whole.
    fn answered(&mut self) {}

    /// Called between cycles, while nothing else runs: take what is needed, and return soon.
    fn observe(&mut self, verification: &Verification<'_>);
}
