//! The probabilities of the tokens that can come next.

use super::noise::PositionNoise;

/// A distribution over tokens that is exact: what is drawn and what is asked for is the same numbers.
///
/// Holds a weight for each token that can be drawn; its probability is the weight's share of the total.
/// Tokens are in the order of descending probability (equal ones by id), except where no filter applies:
/// then they are the whole vocabulary in the order of ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenDistribution {
    tokens: Vec<u32>,
    weights: Vec<f32>,
    total: f64,
    /// Whether `tokens[i] == i`.
    is_dense: bool,
}

impl TokenDistribution {
    /// The distribution that draws `token` always.
    pub fn certain(token: u32) -> Self {
        Self { tokens: vec![token], weights: vec![1.0], total: 1.0, is_dense: false }
    }

    /// Number of tokens that can be drawn.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing was filled in.
    pub fn is_empty(&self) -> bool {
        self.total <= 0.0
    }

    /// The tokens and their probabilities; these sum to 1 unless the distribution is empty.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        let scale = self.scale();
        self.tokens.iter().zip(&self.weights).map(move |(&token, &weight)| (token, f64::from(weight) * scale))
    }

    /// Probability of `token`; 0 for one that is not held.
    pub fn prob(&self, token: u32) -> f64 {
        self.find(token).map_or(0.0, |i| f64::from(self.weights[i]) * self.scale())
    }

    /// The most probable token, the lowest id if several; `None` if the distribution is empty.
    pub fn best(&self) -> Option<u32> {
        let mut best: Option<(u32, f32)> = None;
        for (&token, &weight) in self.tokens.iter().zip(&self.weights) {
            let is_better = best.is_none_or(|(id, max)| weight > max || (weight == max && token < id));
            if weight > 0.0 && is_better {
                best = Some((token, weight));
            }
        }
        best.map(|(token, _)| token)
    }

    /// Draws a token with the random numbers of its position.
    ///
    /// # Panics
    /// If the distribution is empty.
    pub fn draw(&self, noise: PositionNoise) -> u32 {
        assert!(!self.is_empty(), "drawing from an empty distribution");
        if self.tokens.len() == 1 {
            return self.tokens[0];
        }
        let mut first: Option<(f64, u32)> = None;
        for (&token, &weight) in self.tokens.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0) {
            let time = noise.waiting_time(token) / f64::from(weight);
            if first.is_none_or(|best| (time, token) < best) {
                first = Some((time, token));
            }
        }
        first.expect("a total above 0 has a weight above 0").1
    }

    /// Becomes `token` alone; keeps its buffers.
    pub(super) fn set_certain(&mut self, token: u32) {
        self.set_sparse([(token, 1.0)].into_iter());
    }

    /// Becomes these tokens with these weights; keeps its buffers.
    pub(super) fn set_sparse(&mut self, weights: impl Iterator<Item = (u32, f32)>) {
        self.tokens.clear();
        self.weights.clear();
        for (token, weight) in weights {
            self.tokens.push(token);
            self.weights.push(weight);
        }
        self.is_dense = false;
        self.refresh_total();
    }

    /// Becomes the whole vocabulary with these weights; keeps its buffers.
    pub(super) fn set_dense(&mut self, weights: impl Iterator<Item = f32>) {
        self.weights.clear();
        self.weights.extend(weights);
        if !self.is_dense || self.tokens.len() != self.weights.len() {
            self.tokens.clear();
            self.tokens.extend(0..self.weights.len() as u32);
            self.is_dense = true;
        }
        self.refresh_total();
    }

    fn find(&self, token: u32) -> Option<usize> {
        if self.is_dense {
            return Some(token as usize).filter(|&i| i < self.tokens.len());
        }
        self.tokens.iter().position(|&held| held == token)
    }

    fn scale(&self) -> f64 {
        if self.is_empty() { 0.0 } else { 1.0 / self.total }
    }

    fn refresh_total(&mut self) {
        self.total = self.weights.iter().map(|&weight| f64::from(weight)).sum();
    }
}
