//! The probabilities of the tokens that can come next.

/// A distribution over tokens that is exact: what is drawn, asked for and subtracted is the same numbers.
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

    /// A distribution from tokens and their weights, for a drafter that samples.
    ///
    /// Tokens must be distinct; weights that are negative or not finite count as 0.
    pub fn from_weights(weights: impl IntoIterator<Item = (u32, f32)>) -> Self {
        let mut dist = Self::default();
        for (token, weight) in weights {
            dist.tokens.push(token);
            dist.weights.push(if weight > 0.0 && weight.is_finite() { weight } else { 0.0 });
        }
        dist.refresh_total();
        dist
    }

    /// Number of tokens held; a removed one stays, with probability 0.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token can be drawn: nothing was filled in, or all was removed.
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

    /// The token at `uniform` of the cumulative distribution.
    ///
    /// `uniform` is in `[0, 1)`; values outside are taken as the nearest end. A token of probability 0
    /// is never returned.
    ///
    /// # Panics
    /// If the distribution is empty.
    pub fn sample_at(&self, uniform: f64) -> u32 {
        assert!(!self.is_empty(), "sampling from an empty distribution");
        let mut left = uniform.max(0.0) * self.total;
        let mut last = 0;
        for (i, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                last = i;
                left -= f64::from(weight);
                if left < 0.0 {
                    break;
                }
            }
        }
        // Rounding can leave a remainder after the last weight: it belongs to the last token.
        self.tokens[last]
    }

    /// Takes `token` out and gives its probability to the others in proportion.
    ///
    /// Returns whether any token is left; if not, the distribution is empty. After a rejection of a draft
    /// token one always is, because a token that alone has probability is accepted always.
    pub fn remove(&mut self, token: u32) -> bool {
        if let Some(i) = self.find(token) {
            self.weights[i] = 0.0;
            self.refresh_total();
        }
        !self.is_empty()
    }

    /// Turns this distribution `p` into `max(p − q, 0)`, renormalised: what is drawn after a token that was
    /// sampled from `q` got rejected (arXiv 2211.17192, §2.3).
    ///
    /// Returns whether any token is left; if not (`q` covers `p`), the distribution is unchanged.
    pub fn subtract(&mut self, q: &Self) -> bool {
        let scale = self.scale();
        let rest = |token, weight| (f64::from(weight) * scale - q.prob(token)).max(0.0) as f32;
        if self.tokens.iter().zip(&self.weights).all(|(&token, &weight)| rest(token, weight) == 0.0) {
            return false;
        }
        for (&token, weight) in self.tokens.iter().zip(&mut self.weights) {
            *weight = rest(token, *weight);
        }
        self.refresh_total();
        true
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

    /// Summed anew after each change, so that rounding never adds up; the same order as `sample_at`.
    fn refresh_total(&mut self) {
        self.total = self.weights.iter().map(|&weight| f64::from(weight)).sum();
    }
}
