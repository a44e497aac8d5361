//! The largest of many logits without sorting them all.

use std::cmp::Ordering;

/// A token that may be drawn and its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) logit: f32,
    pub(super) token: u32,
}

impl Candidate {
    /// Best first; equal logits by id. Candidates are never NaN.
    fn rank(&self, other: &Self) -> Ordering {
        other.logit.partial_cmp(&self.logit).unwrap_or(Ordering::Equal).then(self.token.cmp(&other.token))
    }
}

/// Logits whose maximum is taken together: 16 cache lines' worth scans fast and skips much.
const BLOCK: usize = 64;

/// The largest value; −∞ if all are NaN or −∞.
pub(super) fn max(logits: &[f32]) -> f32 {
    logits.chunks(BLOCK).fold(f32::NEG_INFINITY, |max, block| {
        let block_max = block_max(block);
        if block_max > max { block_max } else { max }
    })
}

/// Index of the largest value, the lowest if several; 0 if all are NaN or −∞.
pub(super) fn argmax(logits: &[f32]) -> usize {
    let max = max(logits);
    logits.iter().position(|&x| x == max).unwrap_or(0)
}

fn block_max(block: &[f32]) -> f32 {
    // `x > lane` is false for NaN, and is the vector instruction `max` (which `f32::max` is not).
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = block.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

/// Scratch of the selection.
#[derive(Debug, Clone, Default)]
pub(super) struct Select {
    block_maxima: Vec<f32>,
    order: Vec<f32>,
}

impl Select {
    /// Puts the `k` best of `logits` into `out`, best first; NaN and −∞ are never among them.
    ///
    /// The k-th largest block maximum is a lower bound of the k-th largest logit (k blocks hold one
    /// at least as large), so one vectorised pass finds the maxima, and only the few blocks that reach
    /// the bound are looked into.
    pub(super) fn top_k(&mut self, logits: &[f32], k: usize, out: &mut Vec<Candidate>) {
        self.block_maxima.clear();
        self.block_maxima.extend(logits.chunks(BLOCK).map(block_max));
        let bound = if k < self.block_maxima.len() && k > 0 {
            self.order.clone_from(&self.block_maxima);
            *self.order.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
        } else {
            f32::NEG_INFINITY
        };
        self.collect(logits, bound, out);
        if k < out.len() {
            out.select_nth_unstable_by(k, Candidate::rank);
            out.truncate(k);
        }
        out.sort_unstable_by(Candidate::rank);
    }

    /// Puts all of `logits` that are at least `bound` into `out`, best first.
    pub(super) fn at_least(&mut self, logits: &[f32], bound: f32, out: &mut Vec<Candidate>) {
        self.block_maxima.clear();
        self.block_maxima.extend(logits.chunks(BLOCK).map(block_max));
        self.collect(logits, bound, out);
        out.sort_unstable_by(Candidate::rank);
    }

    fn collect(&self, logits: &[f32], bound: f32, out: &mut Vec<Candidate>) {
        out.clear();
        for (i, block) in logits.chunks(BLOCK).enumerate() {
            if self.block_maxima[i] < bound {
                continue;
            }
            for (j, &logit) in block.iter().enumerate() {
                if logit >= bound && logit > f32::NEG_INFINITY {
                    out.push(Candidate { logit, token: (i * BLOCK + j) as u32 });
                }
            }
        }
    }
}
