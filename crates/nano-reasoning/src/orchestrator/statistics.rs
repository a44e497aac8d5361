//! Sums over the answers of a session.

use serde::Serialize;

use super::answer::{Answer, rate};

/// What the answers of a session took.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SessionStatistics {
    /// Answers given.
    pub n_answers: usize,
    /// Tokens of all prompts.
    pub n_prompt_tokens: usize,
    /// Of those, tokens that were in the cache already.
    pub n_cached_tokens: usize,
    /// Tokens of all answers.
    pub n_tokens: usize,
    /// Passes that computed them, the prompts' not counted.
    pub n_decode_passes: usize,
    /// Time for the prompts.
    pub prefill_s: f64,
    /// Time for the answers.
    pub decode_s: f64,
    /// Decoded tokens a second.
    pub tokens_per_second: f64,
    /// Share of drafted tokens that the target kept; `None` while nothing is drafted.
    pub average_acceptance_rate: Option<f64>,
}

impl SessionStatistics {
    pub(super) fn add(&mut self, answer: &Answer) {
        self.n_answers += 1;
        self.n_prompt_tokens += answer.n_prompt_tokens;
        self.n_cached_tokens += answer.n_cached_tokens;
        self.n_tokens += answer.tokens.len();
        self.n_decode_passes += answer.n_decode_passes;
        self.prefill_s += answer.prefill_s;
        self.decode_s += answer.decode_s;
        self.tokens_per_second = rate(self.n_decode_passes, self.decode_s);
    }

    /// Prompt tokens a second, cached ones not counted.
    pub fn prefill_tokens_per_second(&self) -> f64 {
        rate(self.n_prompt_tokens - self.n_cached_tokens, self.prefill_s)
    }
}
