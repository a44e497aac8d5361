//! How often what follows now is among what followed before, learnt for each kind of match.
//!
//! This is the escape estimate of prediction by partial matching: the better a context is known, the less often
//! something new follows it. Learning it per kind instead of by a formula is Shkarin's ("PPM: one step to
//! practicality", 2002).

use crate::rate::Rate;

/// The conversation and the history.
pub(super) const N_SOURCES: usize = 2;
const N_LENS: usize = 8;
const N_COUNTS: usize = 5;
const N_SPREADS: usize = 3;
/// Outcomes that the starting estimate counts for.
const PRIOR_WEIGHT: f32 = 12.0;
/// Outcomes after which an old one counts for less than a third.
const MEMORY: f32 = 400.0;

/// A kind of match: its source, its length, how often it occurred, how many tokens followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatchKind {
    source: u8,
    len: u8,
    count: u8,
    spread: u8,
}

impl MatchKind {
    /// Of a match of `len` tokens that occurred `count` times in `source`, with `n_distinct` tokens after it.
    pub(super) fn new(source: u8, len: usize, count: f32, n_distinct: usize) -> Self {
        let len = match len {
            0..=3 => len.saturating_sub(1),
            4 | 5 => 3,
            6..=8 => 4,
            9..=12 => 5,
            13..=19 => 6,
            _ => 7,
        };
        let count = [1.5, 2.5, 5.5, 15.5].iter().filter(|&&bound| count > bound).count();
        let spread = match n_distinct {
            0 | 1 => 0,
            2 => 1,
            _ => 2,
        };
        Self { source, len: len as u8, count: count as u8, spread: spread as u8 }
    }

    fn index(self) -> usize {
        let by_len = usize::from(self.source) * N_LENS + usize::from(self.len);
        (by_len * N_COUNTS + usize::from(self.count)) * N_SPREADS + usize::from(self.spread)
    }
}

/// The learnt rates of all kinds.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    /// How often the next token was among those seen, by source, length, count and spread.
    rates: Vec<Rate>,
}

impl Default for Trust {
    fn default() -> Self {
        let lens = (0..N_SOURCES).flat_map(|_| 0..N_LENS);
        let rates = lens.flat_map(|len| {
            (0..N_COUNTS * N_SPREADS).map(move |i| prior_rate(len, i / N_SPREADS, i % N_SPREADS))
        });
        Self { rates: rates.map(|rate| Rate::new(rate, PRIOR_WEIGHT)).collect() }
    }
}

impl Trust {
    /// Chance that the next token is one that followed a match of this kind.
    pub(super) fn rate(&self, kind: MatchKind) -> f32 {
        self.rates[kind.index()].get()
    }

    /// Learns whether it was.
    pub(super) fn add(&mut self, kind: MatchKind, is_seen: bool) {
        self.rates[kind.index()].add(is_seen, 1.0, MEMORY);
    }
}

/// Where learning starts. A replay of 310 answers gave the same τ to 0.02 with any of these numbers changed by a
/// fifth (2026-11): what is learnt takes over soon.
fn prior_rate(len: usize, count: usize, spread: usize) -> f32 {
    let miss = 0.75 * 0.72f32.powi(len as i32) * 0.8f32.powi(count as i32) * 0.9f32.powi(spread as i32);
    1.0 - miss
}
