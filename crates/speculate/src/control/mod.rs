//! What to draft, and how far: prices, chances, and the choice they lead to.
//!
//! Each cycle the [`Controller`] sets prices from the times it has measured. Free drafters are asked always;
//! of those that cost, the one that promises most, and only if that is more than the free ones have already
//! found. Within a draft each step and each row must pay for itself, and last the likeliest rows are kept,
//! as many as pay together. None is a legal answer.

mod calibration;
mod verify_cost;
mod worth;

pub use calibration::Calibration;
pub use verify_cost::VerifyCost;
pub(crate) use worth::Worth;

use nano_reasoning_engine::Sampler;

use crate::actor::{DrafterActor, Limits};
use crate::draft::DraftTree;

/// Share of a cycle in what is known of the rate.
const RATE_SHARE: f64 = 0.06;

/// Learns what things cost and decides what to draft.
#[derive(Debug, Default)]
pub(crate) struct Controller {
    pub(crate) cost: VerifyCost,
    worth: Worth,
    /// Tokens and seconds of a recent cycle, on average.
    recent: Option<(f64, f64)>,
}

/// A drafter that was asked, and its seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) drafter: usize,
    pub(crate) seconds: f64,
}

impl Controller {
    /// Lets drafters fill `tree` with what is worth verifying after `context`. `asked` gets whom it asked.
    pub(crate) fn draft(
        &mut self,
        actors: &mut [DrafterActor],
        context: &[u32],
        sampler: &Sampler,
        limits: Limits,
        tree: &mut DraftTree,
        asked: &mut Vec<Asked>,
    ) {
        tree.clear();
        asked.clear();
        if limits.max_depth == 0 || !self.price(context.len() - 1, limits) {
            return;
        }
        let worth = &self.worth;

        let mut ask = |actors: &mut [DrafterActor], drafter: usize, limits: Limits, tree: &mut DraftTree| {
            let seconds = actors[drafter].draft(drafter, context, tree, worth, sampler, limits);
            asked.push(Asked { drafter, seconds });
        };
        let is_on = |actor: &DrafterActor| !actor.is_dropped();
        let free: Vec<usize> =
            (0..actors.len()).filter(|&i| is_on(&actors[i]) && actors[i].is_free()).collect();
        for &drafter in &free {
            ask(actors, drafter, limits, tree);
        }
        let at_hand = worth.value(tree.reaches().into_iter(), 0.0);

        let costly = (0..actors.len()).filter(|&i| is_on(&actors[i]) && !actors[i].is_free());
        let values: Vec<(usize, f64)> =
            costly.map(|i| (i, actors[i].expected_value(worth, limits.max_depth))).collect();
        let best = values.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut chosen = None;
        for &(drafter, value) in &values {
            if value > 0.0 {
                actors[drafter].refresh();
            } else if chosen.is_none() && actors[drafter].is_due() {
                chosen = Some((drafter, true));
            }
        }
        if let Some((drafter, value)) = best
            && value > at_hand.max(0.0)
        {
            chosen = Some((drafter, false));
        }
        if let Some((drafter, is_probe)) = chosen {
            // The one that knows more speaks first; the free ones add what it leaves.
            tree.clear();
            ask(actors, drafter, Limits { is_probe, ..limits }, tree);
            for &drafter in &free {
                ask(actors, drafter, limits, tree);
            }
        }
        tree.prune(worth);
    }

    /// Sets the prices of a cycle after `context_len` tokens; false if the time of a plain pass is yet to be measured.
    fn price(&mut self, context_len: usize, limits: Limits) -> bool {
        let max_rows = limits.max_rows();
        if limits.is_fixed {
            self.worth.set(0.0, max_rows, |n| n as f64);
            return true;
        }
        let Self { cost, worth, recent } = self;
        let Some(plain_s) = cost.seconds(1, context_len).filter(|_| cost.knows_plain(context_len)) else {
            return false;
        };
        let recent_rate = recent.map_or(0.0, |(tokens, seconds)| tokens / seconds);
        worth.set(recent_rate.max(1.0 / plain_s), max_rows, |n| {
            cost.seconds(n + 1, context_len).unwrap_or(plain_s)
        });
        true
    }

    /// Learns from a cycle: a pass over `n_rows` after `context_len` tokens took `verify_s`, and the whole cycle, which
    /// brought `num_emitted` tokens, `total_s`.
    pub(crate) fn learn(
        &mut self,
        n_rows: usize,
        context_len: usize,
        verify_s: f64,
        num_emitted: usize,
        total_s: f64,
    ) {
        self.cost.add(n_rows, context_len, verify_s);
        let (tokens, seconds) = self.recent.unwrap_or((num_emitted as f64, total_s));
        self.recent = Some((
            tokens + RATE_SHARE * (num_emitted as f64 - tokens),
            seconds + RATE_SHARE * (total_s - seconds),
        ));
    }
}
