//! Rotary positions: which angle each pair of dimensions turns by at each position.
//!
//! `angle(position, i) = position · θ^(−2i / n_rot)`, with the frequencies of some pairs lowered to stretch
//! the context. Sources: RoFormer (Su et al. 2021); YaRN (Peng et al. 2023), equations 17–23; Llama 3.1's
//! scaling and all details as in `modeling_rope_utils.py` of transformers. Angles are computed in f64, so
//! that position 100,000 is as exact as position 1.

use crate::{Error, Result};
use std::f64::consts::TAU;

/// Rotary positions of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Dimensions of a head that turn, the first ones.
    pub n_rot: usize,
    /// Base of the frequencies.
    pub theta: f64,
    /// How frequencies are lowered.
    pub scaling: RopeScaling,
}

/// How a model's context was stretched beyond the one it was first trained with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Each frequency divided by its own factor, `[n_rot / 2]` (a GGUF file's `rope_freqs.weight`).
    Factors(Vec<f32>),
    /// Llama 3.1's: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// The divisor.
        factor: f64,
        /// Turns within the original context below which a frequency is divided.
        low_freq_factor: f64,
        /// Turns above which it is kept.
        high_freq_factor: f64,
        /// Tokens of the original context.
        original_context_len: f64,
    },
    /// YaRN's: the same idea with a linear ramp over the dimensions, and longer queries and keys.
    Yarn {
        /// The divisor.
        factor: f64,
        /// Tokens of the original context.
        original_context_len: f64,
        /// Turns within the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns below which it is divided.
        beta_slow: f64,
        /// What cosines and sines are multiplied with.
        attention_factor: f64,
    },
}

impl RopeScaling {
    /// That all numbers divide and compare as they should.
    fn check(&self) -> Result<()> {
        let bad = |found: f64| {
            let (key, wanted) =
                ("rope scaling".into(), "positive numbers, low frequencies below high".into());
            Err(Error::BadConfig { key, found: found.to_string(), wanted })
        };
        let positive = |x: &f64| x.is_finite() && *x > 0.0;
        let (numbers, ordered) = match *self {
            Self::None => (vec![], true),
            Self::Linear { factor } => (vec![factor], true),
            Self::Factors(ref factors) => (factors.iter().copied().map(f64::from).collect(), true),
            Self::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context_len } => {
                (vec![factor, low, high, original_context_len], low < high)
            }
            Self::Yarn { factor, original_context_len, beta_fast, beta_slow, attention_factor } => {
                (vec![factor, original_context_len, beta_fast, beta_slow, attention_factor], true)
            }
        };
        match numbers.into_iter().find(|x| !positive(x) || !ordered) {
            Some(found) => bad(found),
            None => Ok(()),
        }
    }
}

/// YaRN's usual attention factor: scores grow with the logarithm of the stretch.
pub(crate) fn yarn_attention_factor(factor: f64) -> f64 {
    if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 }
}

/// The frequencies of a model.
pub(crate) struct Rope {
    /// Radians a position, `[n_rot / 2]`.
    frequencies: Vec<f64>,
    attention_factor: f64,
}

impl Rope {
    pub(crate) fn new(config: &RopeConfig) -> Result<Self> {
        let n_rot = config.n_rot as f64;
        let plain = |i: usize| config.theta.powf(-2.0 * i as f64 / n_rot);
        let n_pairs = config.n_rot / 2;
        let mut attention_factor = 1.0;
        config.scaling.check()?;
        let frequencies = match &config.scaling {
            RopeScaling::None => (0..n_pairs).map(plain).collect(),
            RopeScaling::Linear { factor } => (0..n_pairs).map(|i| plain(i) / factor).collect(),
            RopeScaling::Factors(factors) => {
                if factors.len() != n_pairs {
                    return Err(Error::WrongShape {
                        tensor: "rope_freqs.weight".into(),
                        found: vec![factors.len()],
                        wanted: vec![n_pairs],
                    });
                }
                factors.iter().enumerate().map(|(i, &factor)| plain(i) / f64::from(factor)).collect()
            }
            &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context_len } => {
                let scaled = |i| {
                    let turns = original_context_len * plain(i) / TAU;
                    let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    mix(plain(i), factor, kept)
                };
                (0..n_pairs).map(scaled).collect()
            }
            &RopeScaling::Yarn {
                factor,
                original_context_len,
                beta_fast,
                beta_slow,
                attention_factor: given,
            } => {
                attention_factor = given;
                // The dimension whose frequency turns `turns` times within the original context.
                let dim = |turns: f64| {
                    n_rot * (original_context_len / (turns * TAU)).ln() / (2.0 * config.theta.ln())
                };
                let low = dim(beta_fast).floor().max(0.0);
                let high = dim(beta_slow).ceil().min(n_rot - 1.0);
                let ramp = (high - low).max(0.001);
                let scaled = |i| mix(plain(i), factor, 1.0 - (i as f64 - low) / ramp);
                (0..n_pairs).map(scaled).collect()
            }
        };
        Ok(Self { frequencies, attention_factor })
    }

    /// Pairs of dimensions that turn.
    pub(crate) fn n_pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Cosines and sines of one position, `[n_rot / 2]` each.
    pub(crate) fn rotation(&self, position: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = (position as f64 * frequency).sin_cos();
            (*cos, *sin) = ((c * self.attention_factor) as f32, (s * self.attention_factor) as f32);
        }
    }
}

/// A frequency kept by the share `kept`, else divided by `factor`.
fn mix(frequency: f64, factor: f64, kept: f64) -> f64 {
    let kept = kept.clamp(0.0, 1.0);
    frequency * kept + frequency / factor * (1.0 - kept)
}
