//! Sums over the answers of a session.

use nano_reasoning_speculate::SpeculationStatistics;
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
    /// Tokens of passes after the prompts', end tokens too.
    pub n_decode_tokens: usize,
    /// Time for the prompts.
    pub prefill_s: f64,
    /// Time for the answers.
    pub decode_s: f64,
    /// Decoded tokens a second.
    pub tokens_per_second: f64,
    /// Share of drafted tokens that the target kept; `None` while nothing is drafted.
    pub average_acceptance_rate: Option<f64>,
    /// Tokens a pass, the target's own among them (τ); `None` before the first pass.
    pub mean_accepted_length: Option<f64>,
    /// How many times faster than passes of one token, by their times in this session.
    pub speedup: Option<f64>,
    /// All that speculation did.
    pub speculation: SpeculationStatistics,
}

impl SessionStatistics {
    /// Adds an answer; `speculation` is the sums of all answers.
    pub(super) fn add(&mut self, answer: &Answer, speculation: &SpeculationStatistics) {
        self.n_answers += 1;
        self.n_prompt_tokens += answer.n_prompt_tokens;
        self.n_cached_tokens += answer.n_cached_tokens;
        self.n_tokens += answer.tokens.len();
        self.n_decode_tokens += answer.speculation.n_emitted as usize;
        self.prefill_s += answer.prefill_s;
        self.decode_s += answer.decode_s;
        self.tokens_per_second = rate(self.n_decode_tokens, self.decode_s);
        self.average_acceptance_rate = speculation.acceptance_rate();
        self.mean_accepted_length = speculation.mean_accepted_length();
        self.speedup = speculation.speedup();
        self.speculation.clone_from(speculation);
    }

    /// Prompt tokens a second, cached ones not counted.
    pub fn prefill_tokens_per_second(&self) -> f64 {
        rate(self.n_prompt_tokens - self.n_cached_tokens, self.prefill_s)
    }
}
