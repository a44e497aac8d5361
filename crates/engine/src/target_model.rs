//! The model whose output distribution must be kept, as everything above it sees it.

use crate::{Result, TokenTree};

/// Sizes a caller needs to know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShape {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the hidden states that [`Forward::taps`] holds.
    pub hidden_dim: usize,
    /// Number of decoder layers.
    pub n_layers: usize,
    /// Tokens the KV cache of this sequence holds at most.
    pub context_len: usize,
}

/// For which tokens of a pass logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: the pass only fills the cache.
    None,
    /// The last token's.
    Last,
    /// Every token's, in order.
    All,
}

/// What a pass computed; valid until the next one.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// Target logits, `[n_rows, vocab_size]`, or of the tokens that were selected.
    pub logits: &'a [f32],
    /// Inputs of the tapped layers, `[n_tokens, n_taps, hidden_dim]`.
    pub taps: &'a [f32],
    /// Input of the output matrix (final norm applied), `[n_rows, hidden_dim]`.
    pub hidden: &'a [f32],
}

/// One sequence of a target model: its weights (shared), its KV cache (its own).
///
/// Row results are exact: the logits of a token depend on the tokens on its path alone, bit for bit, not
/// on how many others were scored beside it, nor in how many passes.
pub trait TargetModel: Send {
    /// Sizes of the model and of this sequence's cache.
    fn shape(&self) -> ModelShape;

    /// Layers whose inputs the next passes shall return, ascending; empty for none.
    fn set_taps(&mut self, layers: &[usize]);

    /// Makes the next passes give logits of these tokens alone, in this order, `[n_rows, tokens.len()]`; `None`
    /// for the whole vocabulary again. A model that only drafts need not read the rest of its output matrix.
    ///
    /// # Errors
    /// [`crate::Error::UnknownToken`]; nothing is changed then.
    fn select_outputs(&mut self, tokens: Option<&[u32]>) -> Result<()>;

    /// Takes what was learnt since the last call; no pass changes weights otherwise. Returns whether there was something.
    /// A target learns nothing. A draft model is asked between two drafts, so that one draft is made with one set of weights.
    fn take_learnt(&mut self) -> bool {
        false
    }

    /// Tokens in the cache.
    fn len(&self) -> usize;

    /// Whether the cache is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores `tree` after the cached tokens and appends all its nodes to the cache.
    ///
    /// After a tree that is no chain, [`Self::keep`] must name the path that stays before the next pass.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`] and [`crate::Error::UnknownToken`]; the cache is then unchanged.
    fn forward(&mut self, tree: &TokenTree, rows: LogitRows) -> Result<Forward<'_>>;

    /// Of the last pass, keeps the nodes of `path` (root first, each the child of the one before) and
    /// drops all others.
    ///
    /// # Errors
    /// [`crate::Error::BadRollback`] if `path` is no such path.
    fn keep(&mut self, path: &[usize]) -> Result<()>;

    /// Drops all cached tokens from `len` on.
    ///
    /// # Errors
    /// [`crate::Error::BadRollback`] if fewer are cached.
    fn truncate(&mut self, len: usize) -> Result<()>;
}
