//! Sampling as functions, and as an object that holds their buffers and random numbers.

use super::distribution::TokenDistribution;
use super::filters::Filters;
use super::params::{InvalidParameter, SamplingParams};
use super::rng::Rng;
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

/// Draws a token.
///
/// # Panics
/// If the distribution is empty.
pub fn sample(dist: &TokenDistribution, rng: &mut Rng) -> u32 {
    dist.sample_at(rng.uniform())
}

/// Id of the largest logit, the lowest if several; 0 if none is a number.
pub fn argmax(logits: &[f32]) -> u32 {
    select::argmax(logits) as u32
}

/// Draws token after token without allocating.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    rng: Rng,
    filters: Filters,
    dist: TokenDistribution,
}

impl Sampler {
    /// A sampler at the start of its seed's stream.
    ///
    /// # Errors
    /// [`InvalidParameter`] if a parameter is outside its range.
    pub fn new(params: SamplingParams) -> Result<Self, InvalidParameter> {
        params.validate()?;
        let rng = params.seed.map_or_else(Rng::from_system, Rng::seeded);
        Ok(Self { params, rng, filters: Filters::default(), dist: TokenDistribution::default() })
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The random numbers, for decisions beside sampling (accepting a draft token).
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Draws the token that follows `history`; see [`distribution`].
    ///
    /// # Panics
    /// If `logits` is empty.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        if self.params.is_greedy() && !self.params.has_penalty() && !logits.is_empty() {
            return argmax(logits);
        }
        self.filters.apply(logits, history, &self.params, &mut self.dist);
        if self.dist.len() == 1 {
            // No random number is spent on a token that is certain.
            return self.dist.sample_at(0.0);
        }
        self.dist.sample_at(self.rng.uniform())
    }

    /// The distribution of the token that follows `history`, in this sampler's buffer; see [`distribution`].
    ///
    /// # Panics
    /// If `logits` is empty.
    pub fn distribution(&mut self, logits: &[f32], history: &[u32]) -> &mut TokenDistribution {
        self.filters.apply(logits, history, &self.params, &mut self.dist);
        &mut self.dist
    }

    /// Puts that distribution into `out`, whose buffers are reused: for a whole draft's rows at once.
    ///
    /// # Panics
    /// If `logits` is empty.
    pub fn distribution_into(&mut self, logits: &[f32], history: &[u32], out: &mut TokenDistribution) {
        self.filters.apply(logits, history, &self.params, out);
    }
}
