//! What came of a request.

use nano_reasoning_speculate::SpeculationStatistics;
use serde::Serialize;

/// An answer and what it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens, an end or stop token not among them.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Of those, tokens that were in the cache already.
    pub n_cached_tokens: usize,
    /// Time to compute the rest of the prompt.
    pub prefill_s: f64,
    /// Time from the first token to the last.
    pub decode_s: f64,
    /// Passes after the prompt's, and what speculation made of them.
    pub speculation: SpeculationStatistics,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said so, or a stop token or string came.
    Stop,
    /// It is as long as it may be.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The caller stopped it.
    Cancelled,
}

impl Answer {
    /// Tokens a second after the first one; 0 if there was none.
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.speculation.n_emitted as usize, self.decode_s)
    }

    /// Prompt tokens a second, cached ones not counted.
    pub fn prefill_tokens_per_second(&self) -> f64 {
        rate(self.n_prompt_tokens - self.n_cached_tokens, self.prefill_s)
    }
}

pub(super) fn rate(n: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
}
