//! A drafting head, as everything above it sees it.

use crate::Result;

/// A small model that drafts from the target's hidden states (EAGLE-3, arXiv 2503.01840).
///
/// Its sequence has an entry for each committed token but the first: entry `t` fuses the target's taps of
/// token `t` with the embedding of token `t + 1`, and predicts token `t + 2`. In a draft, where the target has
/// not run yet, a node's entry takes the head's own output of the entry before in place of the taps.
///
/// It predicts over a *draft vocabulary*: a list of rows of the target's output matrix, which can grow.
pub trait DraftHead: Send {
    /// Layers of the target whose inputs it reads, ascending.
    fn taps(&self) -> &[usize];

    /// Width of the target's hidden states.
    fn hidden_dim(&self) -> usize;

    /// The token of each logit, in the order of [`HeadForward::logits`].
    fn draft_vocab(&self) -> &[u32];

    /// Adds those of `tokens` to the draft vocabulary that it does not hold, while there is room.
    ///
    /// # Errors
    /// [`crate::Error::UnknownToken`].
    fn add_to_vocab(&mut self, tokens: &[u32]) -> Result<()>;

    /// Entries of committed tokens.
    fn len(&self) -> usize;

    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the nodes of the draft and all entries from `len` on.
    ///
    /// # Errors
    /// [`crate::Error::BadRollback`] if fewer are there.
    fn truncate(&mut self, len: usize) -> Result<()>;

    /// Drops the nodes of the draft and appends an entry for each of `next_tokens`.
    ///
    /// `taps` is `[n, n_taps, hidden_dim]`, of the tokens before each of `next_tokens`, `[n]`. Returns what the last entry
    /// predicts, if `is_scored`; else no logits.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`] and [`crate::Error::UnknownToken`]; nothing is changed then.
    fn extend(&mut self, taps: &[f32], next_tokens: &[u32], is_scored: bool) -> Result<HeadForward<'_>>;

    /// Appends nodes to the draft, each after its parent, and scores them all.
    ///
    /// `tokens` and `parents` are `[n]`. A parent is the index of an earlier node of this draft, or `None` for
    /// the last committed entry. Nodes of one call are no parents of each other.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`], [`crate::Error::UnknownToken`], [`crate::Error::BadTree`] and
    /// [`crate::Error::TreeTooLarge`]; nothing is changed then.
    fn step(&mut self, tokens: &[u32], parents: &[Option<usize>]) -> Result<HeadForward<'_>>;
}

/// What a head computed; valid until the next call.
#[derive(Debug, Clone, Copy)]
pub struct HeadForward<'a> {
    /// `[n_rows, draft_vocab.len()]`
    pub logits: &'a [f32],
}
