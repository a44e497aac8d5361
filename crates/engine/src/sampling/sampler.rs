//! Sampling as functions, and as an object that holds their buffers and random numbers.

use super::distribution::TokenDistribution;
use super::exp::sum_exp;
use super::filters::Filters;
use super::noise::{Noise, PositionNoise};
use super::params::{InvalidParameter, SamplingParams};
use super::select;

/// The exact distribution of the token that follows `history`, given its logits, `[vocab_size]`.
///
/// `history` is all tokens before, prompt included; only the repetition penalty looks at it. A logit that
/// is NaN or −∞ has probability 0; +∞ wins outright; if no logit is a number, token 0 is certain.
///
/// # Panics
/// If `logits` is empty.
pub fn distribution(logits: &[f32], history: &[u32], params: &SamplingParams) -> TokenDistribution {
    let mut out = TokenDistribution::default();
    Filters::default().apply(logits, history, params, &mut out);
    out
}

/// Id of the largest logit, the lowest if several; 0 if none is a number.
pub fn argmax(logits: &[f32]) -> u32 {
    select::argmax(logits) as u32
}

/// The `k` largest of `logits`, `[n]`, into `out`: index and log-probability, the likeliest first.
///
/// # Panics
/// If `logits` is empty.
pub fn top_log_probs(logits: &[f32], k: usize, out: &mut Vec<(usize, f32)>) {
    out.clear();
    let max = select::max(logits);
    if !max.is_finite() {
        return out.push((select::argmax(logits), 0.0));
    }
    let log_sum = max + sum_exp(logits, max).ln() as f32;
    let mut candidates = Vec::with_capacity(k);
    select::Select::default().top_k(logits, k, &mut candidates);
    out.extend(candidates.iter().map(|candidate| (candidate.token as usize, candidate.logit - log_sum)));
}

/// Draws token after token without allocating.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    noise: Noise,
    filters: Filters,
    dist: TokenDistribution,
}

impl Sampler {
    /// A sampler with the random numbers of the parameters' seed.
    ///
    /// # Errors
    /// [`InvalidParameter`] if a parameter is outside its range.
    pub fn new(params: SamplingParams) -> Result<Self, InvalidParameter> {
        params.validate()?;
        let noise = params.seed.map_or_else(Noise::from_system, Noise::seeded);
        Ok(Self { params, noise, filters: Filters::default(), dist: TokenDistribution::default() })
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The random numbers with which the token at `position` is drawn; `None` if the best is taken always.
    pub fn noise_at(&self, position: usize) -> Option<PositionNoise> {
        (!self.params.is_greedy()).then(|| self.noise.at(position))
    }

    /// Draws the token that follows `history`; see [`distribution`].
    ///
    /// The same seed, logits and history give the same token, whatever was drawn before.
    ///
    /// # Panics
    /// If `logits` is empty.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        if self.params.is_greedy() && !self.params.has_penalty() && !logits.is_empty() {
            return argmax(logits);
        }
        self.filters.apply(logits, history, &self.params, &mut self.dist);
        self.dist.draw(self.noise.at(history.len()))
    }

    /// The distribution of the token that follows `history`, in this sampler's buffer; see [`distribution`].
    ///
    /// # Panics
    /// If `logits` is empty.
    pub fn distribution(&mut self, logits: &[f32], history: &[u32]) -> &TokenDistribution {
        self.filters.apply(logits, history, &self.params, &mut self.dist);
        &self.dist
    }
}
