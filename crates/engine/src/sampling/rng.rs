//! Seeded random numbers whose stream never changes: xoshiro256++ 1.0 by Blackman and Vigna, seeded by
//! SplitMix64 (prng.di.unimi.it). Own code because a seed must give the same tokens in every version.

use std::hash::{BuildHasher, RandomState};

/// A small random number generator; not for cryptography.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream that belongs to `seed`.
    pub fn seeded(seed: u64) -> Self {
        let mut counter = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut counter)) }
    }

    /// A stream seeded by the system.
    pub fn from_system() -> Self {
        // The standard library keys each `RandomState` with the system's random numbers.
        Self::seeded(RandomState::new().hash_one(0u64))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// The next number, uniform in `[0, 1)` in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

fn splitmix64(counter: &mut u64) -> u64 {
    *counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_follows_its_reference() {
        let mut counter = 1_234_567;
        let got: Vec<u64> = (0..3).map(|_| splitmix64(&mut counter)).collect();
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn xoshiro_follows_its_reference() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
        assert_eq!(got, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn uniform_stays_below_one_and_fills_the_interval() {
        let mut rng = Rng::seeded(7);
        let mut histogram = [0u32; 10];
        for _ in 0..100_000 {
            let u = rng.uniform();
            assert!((0.0..1.0).contains(&u));
            histogram[(u * 10.0) as usize] += 1;
        }
        assert!(histogram.iter().all(|&n| (9_500..10_500).contains(&n)), "{histogram:?}");
    }

    #[test]
    fn system_seeds_differ() {
        assert_ne!(Rng::from_system(), Rng::from_system());
    }
}
