//! A head's draft vocabulary and the rows that score it.
//!
//! A head either drafts over rows of the target's output matrix or has trained rows of its own for its core list.
//! In both cases tokens that the context brings are scored by the target's rows.

use super::HeadOptions;
use crate::Result;
use crate::error::Error;
use crate::model::CpuModel;
use crate::output_rows::OutputRows;
use nano_reasoning_kernels::{Activations, PackedMatrix, Product};

/// Rows of a target's output matrix that a head drafts over: those of its core list, and of what turns up beside it.
pub struct DraftRows {
    rows: OutputRows,
    is_in_vocab: Vec<bool>,
}

impl DraftRows {
    /// The rows of `tokens`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn new(target: &CpuModel, tokens: &[u32]) -> Result<Self> {
        Self::beside(target, &[], tokens)
    }

    /// The rows of `tokens`; those of `others` are scored elsewhere.
    fn beside(target: &CpuModel, others: &[u32], tokens: &[u32]) -> Result<Self> {
        let rows = OutputRows::new(&target.output, tokens)
            .map_err(|_| Error::DraftVocabTooLarge { n_tokens: others.len() + tokens.len() })?;
        let mut is_in_vocab = vec![false; target.config.vocab_size];
        others.iter().chain(tokens).for_each(|&token| is_in_vocab[token as usize] = true);
        Ok(Self { rows, is_in_vocab })
    }

    /// Adds `token` unless it is there or there is no room. Returns whether it did.
    pub fn add(&mut self, target: &CpuModel, token: u32) -> bool {
        let is_new = !self.is_in_vocab[token as usize] && !self.rows.is_full();
        if is_new {
            self.is_in_vocab[token as usize] = true;
            self.rows.push(&target.output, token);
        }
        is_new
    }

    /// Forgets all tokens but the first `n_tokens`.
    pub fn truncate(&mut self, n_tokens: usize) {
        for &token in self.rows.tokens().iter().skip(n_tokens) {
            self.is_in_vocab[token as usize] = false;
        }
        self.rows.truncate(n_tokens);
    }

    /// The token of each row.
    pub fn tokens(&self) -> &[u32] {
        self.rows.tokens()
    }

    /// `[tokens().len(), hidden_dim]`
    pub fn matrix(&self) -> &PackedMatrix {
        self.rows.matrix()
    }
}

/// The rows, and the token of each.
pub(super) struct HeadOutput {
    /// The core list, then what the context brought.
    tokens: Vec<u32>,
    n_core: usize,
    /// Trained rows of the core list, `[n_core, hidden_dim]`.
    own: Option<PackedMatrix>,
    /// Rows of the target: of all tokens, or of those after the core list where it has rows of its own.
    rows: DraftRows,
    /// Logits by rows of its own and by the target's, before they go beside each other.
    parts: [Vec<f32>; 2],
}

impl HeadOutput {
    /// Over the first tokens of `core`, as many as `options` ask for. `own` is `[core.len(), hidden_dim]`.
    pub(super) fn new(
        target: &CpuModel,
        mut core: Vec<u32>,
        own: Option<PackedMatrix>,
        options: &HeadOptions,
    ) -> Result<Self> {
        core.truncate(options.core_vocab.unwrap_or(usize::MAX).max(1));
        let n_core = core.len();
        let own = match own {
            Some(own) if n_core < own.n_rows() => {
                let mut first =
                    own.empty_like(n_core).map_err(|_| Error::DraftVocabTooLarge { n_tokens: n_core })?;
                (0..n_core).for_each(|row| first.push_row(&own, row));
                Some(first)
            }
            own => own,
        };
        let rows = match own {
            Some(_) => DraftRows::beside(target, &core, &[])?,
            None => DraftRows::new(target, &core)?,
        };
        Ok(Self { tokens: core, n_core, own, rows, parts: Default::default() })
    }

    /// The token of each logit.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens of the head's own list.
    pub(super) fn core(&self) -> &[u32] {
        &self.tokens[..self.n_core]
    }

    /// Its trained rows, if it has some.
    pub(super) fn own(&self) -> Option<&PackedMatrix> {
        self.own.as_ref()
    }

    /// Bytes of the rows.
    pub(super) fn size_bytes(&self) -> usize {
        self.rows.matrix().size_bytes() + self.own.as_ref().map_or(0, PackedMatrix::size_bytes)
    }

    /// Adds `token` unless it is there or there is no room.
    pub(super) fn add(&mut self, target: &CpuModel, token: u32) {
        if self.rows.add(target, token) {
            self.tokens.push(token);
        }
    }

    /// Logits of `normed`, `[n, hidden_dim]`, into `logits`, `[n, tokens().len()]`.
    pub(super) fn score(
        &mut self,
        target: &CpuModel,
        activations: &mut Activations,
        normed: &[f32],
        logits: &mut [f32],
    ) {
        let CpuModel { kernels, pool, .. } = target;
        let rows = self.rows.matrix();
        let hidden_dim = rows.n_cols();
        let Some(own) = &self.own else {
            activations.set(kernels, pool, normed, hidden_dim, [rows.block_type()]);
            kernels.multiply(pool, &mut [Product { weights: rows, out: logits }], activations);
            return;
        };
        if rows.n_rows() == 0 {
            activations.set(kernels, pool, normed, hidden_dim, [own.block_type()]);
            kernels.multiply(pool, &mut [Product { weights: own, out: logits }], activations);
            return;
        }
        let n = normed.len() / hidden_dim;
        let [first, second] = &mut self.parts;
        first.resize(n * own.n_rows(), 0.0);
        second.resize(n * rows.n_rows(), 0.0);
        activations.set(kernels, pool, normed, hidden_dim, [own.block_type(), rows.block_type()]);
        let first_product = Product { weights: own, out: &mut *first };
        let second_product = Product { weights: rows, out: &mut *second };
        kernels.multiply(pool, &mut [first_product, second_product], activations);
        let parts = first.chunks_exact(own.n_rows()).zip(second.chunks_exact(rows.n_rows()));
        for (logits, (first, second)) in logits.chunks_exact_mut(self.tokens.len()).zip(parts) {
            let (of_core, of_context) = logits.split_at_mut(first.len());
            of_core.copy_from_slice(first);
            of_context.copy_from_slice(second);
        }
    }
}
