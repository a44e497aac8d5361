//! The places where the end of a context occurred before, longest matches first.

use super::suffix_index::{SEPARATOR, SuffixIndex};

/// Numbers of the two indices.
pub(super) const CONVERSATION: u8 = 0;
pub(super) const HISTORY: u8 = 1;
/// Places taken from one range of equally long matches; more are sampled.
const MAX_PER_LEN: usize = 32;
/// Different match lengths that are looked at.
const MAX_LENS: usize = 6;

/// A place like the context's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Occurrence {
    /// Position of the token that followed there.
    pub(super) position: u32,
    /// That token.
    pub(super) next: u32,
    /// [`CONVERSATION`] or [`HISTORY`].
    pub(super) source: u8,
    /// Tokens that match.
    pub(super) len: u16,
    /// Places that it stands for, itself included.
    pub(super) weight: f32,
}

/// Adds to `found` where the end of `context` occurs in `index`, longest matches first.
pub(super) fn find(index: &SuffixIndex, source: u8, context: &[u32], found: &mut Vec<Occurrence>) {
    let n_entries = index.sorted().len();
    let mut low = index.find(context);
    let mut high = low;
    let len_at = |at: usize| index.match_len(at, context);
    for _ in 0..MAX_LENS {
        let left = low.checked_sub(1).map_or(0, len_at);
        let right = if high < n_entries { len_at(high) } else { 0 };
        let len = left.max(right);
        if len == 0 {
            return;
        }
        let new_low = if left < len { low } else { low - gallop(low, |n| len_at(low - n) >= len) };
        let new_high =
            if right < len { high } else { high + gallop(n_entries - high, |n| len_at(high + n - 1) >= len) };
        sample(index, source, len, (new_low, low), (high, new_high), found);
        (low, high) = (new_low, new_high);
    }
}

/// Adds to `longer` the places of `shorter` after which `token` came, one token later.
pub(super) fn follow(
    indices: [&SuffixIndex; 2],
    shorter: &[Occurrence],
    token: u32,
    longer: &mut Vec<Occurrence>,
) {
    for occurrence in shorter.iter().filter(|occurrence| occurrence.next == token) {
        let position = occurrence.position + 1;
        let Some(&next) = indices[usize::from(occurrence.source)].tokens().get(position as usize) else {
            continue;
        };
        if next != SEPARATOR {
            longer.push(Occurrence { position, next, len: occurrence.len + 1, ..*occurrence });
        }
    }
}

fn sample(
    index: &SuffixIndex,
    source: u8,
    len: usize,
    left: (usize, usize),
    right: (usize, usize),
    found: &mut Vec<Occurrence>,
) {
    let n_left = left.1 - left.0;
    let n = n_left + right.1 - right.0;
    let n_taken = n.min(MAX_PER_LEN);
    let weight = n as f32 / n_taken as f32;
    for i in 0..n_taken {
        let nth = i * n / n_taken;
        let entry = if nth < n_left { left.0 + nth } else { right.0 + nth - n_left };
        let position = index.sorted()[entry];
        let next = index.tokens()[position as usize];
        found.push(Occurrence { position, next, source, len: len as u16, weight });
    }
}

/// The largest `n` in `1..=max` for which `holds(n)`, which holds for 1 and for all below one it holds for.
fn gallop(max: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut good, mut step) = (1, 1);
    while good + step <= max && holds(good + step) {
        good += step;
        step *= 2;
    }
    let mut bad = (good + step).min(max + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    good
}
