//! What a drafter is.

use crate::{Draft, Result};

/// Proposes tokens for the target to verify.
///
/// A drafter is told of every token that the target's cache keeps, in order, and is asked for a draft where
/// the decoder finds that one may pay. What it proposes costs speed if it is wrong, never correctness.
///
/// One that fails is dropped for the rest of the session; generation goes on without it.
pub trait Drafter: Send {
    /// Its name in statistics, `--drafter` and messages.
    fn name(&self) -> &str;

    /// Layers of the target whose inputs it wants with each committed token, ascending.
    fn taps(&self) -> &[usize] {
        &[]
    }

    /// Whether its drafts take no time to speak of: it is then asked each cycle.
    fn is_free(&self) -> bool {
        false
    }

    /// Committed tokens that it has to read before it can draft after `context_len` of them.
    fn n_pending(&self, _context_len: usize) -> usize {
        0
    }

    /// The target's cache has kept `tokens`, `[n]`, with taps `[n, n_taps, hidden_dim]`.
    ///
    /// # Errors
    /// Whatever keeps it from drafting on.
    fn commit(&mut self, tokens: &[u32], taps: &[f32]) -> Result<()>;

    /// The sequence is cut back to its first `len` tokens.
    ///
    /// # Errors
    /// Whatever keeps it from drafting on.
    fn truncate(&mut self, len: usize) -> Result<()>;

    /// An answer is whole: its tokens, and a few before it that say where an answer begins.
    ///
    /// # Errors
    /// Whatever keeps it from drafting on.
    fn end_answer(&mut self, _answer: &[u32]) -> Result<()> {
        Ok(())
    }

    /// Proposes what follows `context`: all committed tokens and one more, whose pass is to come.
    ///
    /// A drafter that works token by token asks [`Draft::is_worth_a_step`] before each step, and tells
    /// [`Draft::count_step`] after it; one that has a block at hand offers it to [`Draft::propose`] until that refuses.
    ///
    /// # Errors
    /// Whatever keeps it from drafting on.
    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()>;
}
