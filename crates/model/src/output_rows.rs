//! Rows of an output matrix that a draft looks at, gathered: a list that grows with the context.

use nano_reasoning_engine as engine;
use nano_reasoning_kernels::PackedMatrix;

/// Room for more rows than were asked for first: those of tokens that turn up later.
const MORE_ROWS: usize = 8192;

/// Rows of an output matrix, in an order of their own.
pub(crate) struct OutputRows {
    /// The token of each row.
    tokens: Vec<u32>,
    rows: PackedMatrix,
}

impl OutputRows {
    /// The rows of `tokens`, all of which `output` has.
    ///
    /// # Errors
    /// [`engine::Error::Device`] if memory is short.
    pub(crate) fn new(output: &PackedMatrix, tokens: &[u32]) -> engine::Result<Self> {
        let rows = output.empty_like(tokens.len() + MORE_ROWS);
        let rows = rows.map_err(|error| engine::Error::Device(error.to_string()))?;
        let mut this = Self { tokens: Vec::with_capacity(rows.capacity()), rows };
        tokens.iter().for_each(|&token| this.push(output, token));
        Ok(this)
    }

    /// The token of each row.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// `[n_tokens, hidden_dim]`
    pub(crate) fn matrix(&self) -> &PackedMatrix {
        &self.rows
    }

    /// Whether there is no room for another.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.n_rows() == self.rows.capacity()
    }

    /// Adds the row of `token`.
    pub(crate) fn push(&mut self, output: &PackedMatrix, token: u32) {
        self.rows.push_row(output, token as usize);
        self.tokens.push(token);
    }

    /// Keeps the rows of the first `n_tokens` tokens, if there are more.
    pub(crate) fn truncate(&mut self, n_tokens: usize) {
        self.tokens.truncate(n_tokens);
        self.rows.truncate(n_tokens);
    }

    /// Becomes the rows of `tokens` if those begin with the ones here and fit; else false, and nothing is done.
    pub(crate) fn extend_to(&mut self, output: &PackedMatrix, tokens: &[u32]) -> bool {
        let fits = tokens.len() <= self.rows.capacity() && tokens.starts_with(&self.tokens);
        if fits {
            tokens[self.tokens.len()..].iter().for_each(|&token| self.push(output, token));
        }
        fits
    }
}
