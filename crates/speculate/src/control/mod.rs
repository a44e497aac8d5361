//! What to draft, and how far: prices, chances, and the choice they lead to.
//!
//! Each cycle the [`Controller`] sets prices from the times it has measured. Free drafters are asked always;
//! of those that cost, the one that promises most, if it pays at all. It leads, and computes a step only where
//! that brings more than the free ones' proposals, which then follow it: what they say where it says something
//! else is rarely right, and has a calibration of its own. Each row must pay for itself, and last the likeliest
//! rows are kept, as many as pay together. None is a legal answer.

mod calibration;
mod rest;
#[cfg(test)]
mod tests;
mod verify_cost;
mod worth;

pub(crate) use calibration::Calibration;
pub(crate) use rest::Rest;
pub(crate) use worth::Worth;

use nano_reasoning_engine::Sampler;
use serde::Serialize;

use crate::actor::{DrafterActor, Limits};
use crate::draft::DraftTree;
use verify_cost::VerifyCost;

/// Share of a cycle in what is known of the rate.
const RATE_SHARE: f64 = 0.06;

/// Learns what things cost and decides what to draft.
#[derive(Debug, Default)]
pub(crate) struct Controller {
    pub(crate) cost: VerifyCost,
    worth: Worth,
    /// What the drafters proposed that cost nothing.
    free: DraftTree,
    /// Since a row was last verified.
    rest: Rest,
    /// Tokens and seconds of a recent cycle, on average.
    recent: Option<(f64, f64)>,
    /// Of the cycle under way.
    choice: Choice,
}

/// Why a cycle drafted as it did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Choice {
    /// Tokens a second that were to be had: what a second was worth.
    pub rate: f64,
    /// Seconds that a pass of one token would take.
    pub plain_s: f64,
    /// Tokens that the free drafters' proposals were expected to bring beyond what their rows cost.
    pub at_hand: f64,
    /// The same of each drafter that costs, its steps counted.
    pub expected: Vec<Expected>,
    /// The drafters that were asked, in order.
    pub asked: Vec<Asked>,
}

/// What was expected of a drafter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// Its number.
    pub drafter: usize,
    /// Tokens beyond what its time costs.
    pub value: f64,
}

/// A drafter that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Asked {
    /// Its number.
    pub drafter: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// Whether it was asked only to see if it pays again.
    pub is_probe: bool,
}

impl Controller {
    /// Lets drafters fill `tree` with what is worth verifying after `context`.
    pub(crate) fn draft(
        &mut self,
        actors: &mut [DrafterActor],
        context: &[u32],
        sampler: &Sampler,
        limits: Limits<'_>,
        tree: &mut DraftTree,
    ) {
        tree.clear();
        self.choice = Choice::default();
        if limits.max_depth == 0 || !self.price(context.len() - 1, limits) {
            return;
        }
        let Self { worth, choice, free: known, .. } = self;
        let ask = |actors: &mut [DrafterActor], drafter: usize, limits: Limits<'_>, tree: &mut _| {
            let seconds = actors[drafter].draft(drafter, context, tree, worth, sampler, limits);
            Asked { drafter, seconds, is_probe: limits.is_probe }
        };
        let is_on = |actor: &DrafterActor| actor.is_ready(context.len() - 1);
        let free: Vec<usize> =
            (0..actors.len()).filter(|&i| is_on(&actors[i]) && actors[i].is_free()).collect();
        for &drafter in &free {
            choice.asked.push(ask(actors, drafter, limits, tree));
        }
        choice.at_hand = worth.value(tree.reaches().into_iter(), 0.0);

        let costly = (0..actors.len()).filter(|&i| is_on(&actors[i]) && !actors[i].is_free());
        choice.expected = costly
            .map(|drafter| Expected {
                drafter,
                value: actors[drafter].expected_value(worth, context.len() - 1, limits.max_depth),
            })
            .collect();
        let mut chosen = None;
        for &Expected { drafter, value } in &choice.expected {
            if value > 0.0 {
                actors[drafter].refresh();
            } else if chosen.is_none() && actors[drafter].is_due() {
                chosen = Some((drafter, true));
            }
        }
        let best = choice.expected.iter().max_by(|a, b| a.value.total_cmp(&b.value));
        if let Some(best) = best.filter(|best| best.value > 0.0) {
            chosen = Some((best.drafter, false));
        }
        if let Some((drafter, is_probe)) = chosen {
            // The one that knows more speaks first; the free ones add what it leaves.
            std::mem::swap(tree, known);
            tree.clear();
            let asked = ask(actors, drafter, Limits { is_probe, known: Some(known), ..limits }, tree);
            if tree.votes.is_empty() {
                std::mem::swap(tree, known);
            } else {
                choice.asked.push(asked);
                for &drafter in &free {
                    ask(actors, drafter, limits, tree);
                }
            }
        }
        tree.prune(worth);
        let is_probe = chosen.is_some_and(|(_, is_probe)| is_probe);
        if !tree.nodes.is_empty() {
            // The rows of a probe pay for nothing: what was left alone before it stays so.
            if !is_probe {
                self.rest = Rest::default();
            }
        } else if tree.votes.iter().any(|vote| vote.parent.is_none()) && self.rest.is_over() {
            // What rows cost was measured once, perhaps while something else ran.
            tree.take_first();
        }
    }

    /// Sets the prices of a cycle after `context_len` tokens; false if the time of a plain pass is yet to be measured.
    fn price(&mut self, context_len: usize, limits: Limits<'_>) -> bool {
        let max_rows = limits.max_rows();
        if limits.is_fixed {
            self.worth.set(0.0, max_rows, |n| n as f64);
            return true;
        }
        let Self { cost, worth, recent, choice, .. } = self;
        let Some(plain_s) = cost.seconds(1, context_len).filter(|_| cost.knows_plain(context_len)) else {
            return false;
        };
        let recent_rate = recent.map_or(0.0, |(tokens, seconds)| tokens / seconds);
        (choice.rate, choice.plain_s) = (recent_rate.max(1.0 / plain_s), plain_s);
        worth.set(choice.rate, max_rows, |n| cost.seconds(n + 1, context_len).unwrap_or(plain_s));
        true
    }

    /// Why the cycle under way drafts as it does.
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
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
