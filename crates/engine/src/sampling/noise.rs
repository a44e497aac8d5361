//! Random numbers that belong to places: each position and token of a seed has its own.
//!
//! A token is drawn by the exponential race: each candidate waits for a time that is exponential with mean 1,
//! divided by its weight, and the first wins. The winner has exactly the weights' distribution, and it is the
//! Gumbel-max draw, since −ln of the waiting time is Gumbel noise (Maddison et al., arXiv 1411.0030).
//!
//! Because the numbers hang on the *position* and not on how many were drawn before, a token is the same
//! however its logits came about: one pass a token, or a verified draft. A drafter that adds the same noise
//! to its own logits guesses the same token more often than one that draws by itself (Daliri, Musco and
//! Suresh, arXiv 2408.07978).
//!
//! Own code, because a seed must give the same tokens in every version and on every platform. The bits are
//! SplitMix64's (prng.di.unimi.it), the logarithm a series.

use std::f64::consts::{LN_2, SQRT_2};
use std::hash::{BuildHasher, RandomState};

/// The random numbers of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    seed: u64,
}

/// The random numbers of one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionNoise {
    key: u64,
}

impl Noise {
    /// The numbers that belong to `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { seed: splitmix64(seed) }
    }

    /// Numbers of a seed that the system picks.
    pub fn from_system() -> Self {
        // The standard library keys each `RandomState` with the system's random numbers.
        Self::seeded(RandomState::new().hash_one(0u64))
    }

    /// The numbers of the token at `position`, counted from the start of the prompt.
    pub fn at(&self, position: usize) -> PositionNoise {
        PositionNoise { key: splitmix64(self.seed ^ splitmix64(position as u64)) }
    }
}

impl PositionNoise {
    /// Uniform in `(0, 1]`, in steps of 2⁻⁵³.
    pub fn uniform(&self, token: u32) -> f64 {
        let bits = splitmix64(self.key.wrapping_add(u64::from(token).wrapping_mul(0xd134_2543_de82_ef95)));
        ((bits >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// How long `token` waits in the race, exponential with mean 1.
    pub fn waiting_time(&self, token: u32) -> f64 {
        -ln(self.uniform(token))
    }

    /// What a drafter adds to the logit of `token`, divided by the temperature, before it takes the largest.
    pub fn gumbel(&self, token: u32) -> f64 {
        -ln(self.waiting_time(token).max(f64::MIN_POSITIVE))
    }
}

fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Natural logarithm of a positive, normal number, the same bits on every platform.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh s with |s| ≤ 0.172; the series ends where its terms are below 2⁻⁵³.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..11).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    exponent as f64 * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_follows_its_reference() {
        let step = 0x9e37_79b9_7f4a_7c15u64;
        let got: Vec<u64> =
            (0..3).map(|i| splitmix64(step.wrapping_mul(i).wrapping_add(1_234_567))).collect();
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn ln_agrees_with_the_standard_library() {
        for i in 1..200_000u32 {
            for x in [f64::from(i) / 200_000.0, f64::from(i) * 37.0, 1.0 / (f64::from(i) * 1e9)] {
                assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs().max(0.1), "ln {x}");
            }
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn places_are_independent_and_fill_the_interval() {
        let noise = Noise::seeded(7);
        let mut histogram = [0u32; 10];
        let mut products = 0.0;
        for position in 0..400 {
            for token in 0..250 {
                let u = noise.at(position).uniform(token);
                histogram[((u * 10.0) as usize).min(9)] += 1;
                let (next, below) =
                    (noise.at(position + 1).uniform(token), noise.at(position).uniform(token + 1));
                products += (u - 0.5) * (next - 0.5) + (u - 0.5) * (below - 0.5);
            }
        }
        assert!(histogram.iter().all(|&n| (9_500..10_500).contains(&n)), "{histogram:?}");
        // The standard deviation of the mean of 200,000 products of independent uniforms is 1.9e-4.
        assert!((products / 200_000.0).abs() < 1e-3, "correlation {products}");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(Noise::from_system(), Noise::from_system());
        assert_ne!(Noise::seeded(1).at(0), Noise::seeded(2).at(0));
    }
}
