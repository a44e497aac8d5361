//! What a head learns from: tokens with the hidden states that the target had for them.

use half::f16;

/// A stretch of one sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Position of the first token in its sequence.
    pub position: usize,
    /// `[n]`
    pub tokens: Vec<u32>,
    /// Inputs of the tapped layers, `[n, n_taps, hidden_dim]`, or what the head fuses them to, `[n, hidden_dim]`.
    pub states: Vec<f16>,
    /// Tokens before the first of which `hidden` speaks.
    pub first_hidden: usize,
    /// Inputs of the output matrix, `[n - first_hidden, hidden_dim]`: what the target says of each next token.
    pub hidden: Vec<f16>,
    /// Whether a token is one that drafts should learn to guess, `[n]`: one that the target wrote.
    pub is_answer: Vec<bool>,
}

impl Sample {
    /// Entries from which a draft can be learnt: the token after the next is an answer's, and the target spoke of it.
    pub fn bases(&self) -> impl Iterator<Item = usize> + '_ {
        (self.first_hidden.saturating_sub(1)..self.tokens.len().saturating_sub(2))
            .filter(|&entry| self.is_answer[entry + 2])
    }

    /// Tokens that can be learnt.
    pub fn n_bases(&self) -> usize {
        self.bases().count()
    }

    /// Bytes in memory.
    pub fn size_bytes(&self) -> usize {
        2 * (self.states.len() + self.hidden.len()) + 5 * self.tokens.len()
    }

    /// The target's hidden state of token `index`, into `out`, `[hidden_dim]`.
    pub(crate) fn hidden(&self, index: usize, out: &mut [f32]) {
        let row = &self.hidden[(index - self.first_hidden) * out.len()..][..out.len()];
        out.iter_mut().zip(row).for_each(|(out, value)| *out = value.to_f32());
    }
}
