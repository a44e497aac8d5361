//! Whether a step is worth computing where drafters that cost nothing have proposed already.

use super::Draft;

/// A token that a drafter proposed which costs nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// As that drafter gave it.
    pub(super) confidence: f32,
    /// Chance that the target takes it if it takes those before.
    pub(super) hit_probability: f32,
}

impl Draft<'_> {
    /// Whether steps bring more than `known`, which costs nothing, where this drafter is right with chance `hit` about its
    /// first token: by being right more often there, or by going on where it ends.
    pub(super) fn adds_to(&self, known: &[Known], depth: usize, reach: f64, hit: f64) -> bool {
        let (mut rest, mut follow) = (1.0, 1.0);
        for known in &known[1..] {
            rest *= f64::from(known.hit_probability);
            follow += rest;
        }
        let better = reach * (hit - f64::from(known[0].hit_probability)) * follow;
        let (mut n_rows, mut end) = (self.tree.nodes.len() + known.len(), reach * hit * rest);
        let mut beyond = 0.0;
        for depth in depth + known.len()..self.max_depth {
            end *= f64::from(self.calibration.mean_hit_probability(depth));
            let Some(value) = self.worth.step_value(n_rows, end, self.step_s).filter(|&value| value > 0.0)
            else {
                break;
            };
            (beyond, n_rows) = (beyond + value, n_rows + 1);
        }
        let step = self.worth.price(self.step_s);
        better > step || better + beyond > step * known.len() as f64
    }

    /// The likeliest tokens to follow `parent` by the drafters that cost nothing.
    pub(super) fn known_after(&self, parent: Option<usize>) -> Vec<Known> {
        let Some(known) = self.known else { return Vec::new() };
        let mut path = Vec::new();
        let mut node = parent;
        while let Some(at) = node {
            path.push(self.tree.nodes[at].token);
            node = self.tree.nodes[at].parent;
        }
        let mut at = None;
        while let Some(token) = path.pop() {
            let Some(child) = known.child(at, token) else { return Vec::new() };
            at = Some(child);
        }
        let mut after = Vec::new();
        while let Some(vote) = known.votes.iter().find(|vote| vote.parent == at && vote.is_first)
            && let Some(child) = known.child(at, vote.token)
        {
            let hit_probability = known.nodes[child].hit_probability;
            after.push(Known { confidence: vote.confidence, hit_probability });
            at = Some(child);
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nano_reasoning_engine::{Sampler, SamplingParams};

    use super::*;
    use crate::control::{Calibration, Worth};
    use crate::draft::{DraftNode, DraftTree, Vote};

    /// Whether a drafter computes its first step, at a twentieth of a pass, where others propose for nothing a chain of
    /// tokens with the chances `known`.
    fn steps_at_root(known: &[f32], calibration: &Calibration) -> bool {
        let mut free = DraftTree::default();
        for (depth, &confidence) in known.iter().enumerate() {
            let parent = depth.checked_sub(1);
            let token = depth as u32;
            let reach_probability = known[..=depth].iter().product();
            free.nodes.push(DraftNode {
                token,
                parent,
                depth,
                hit_probability: confidence,
                reach_probability,
            });
            free.votes.push(Vote {
                drafter: 0,
                parent,
                token,
                depth,
                confidence,
                is_first: true,
                is_dissent: false,
            });
        }
        let mut worth = Worth::default();
        worth.set(1.0, 8, |n| 1.0 + 0.2 * n as f64);
        Draft {
            tree: &mut DraftTree::default(),
            known: Some(&free),
            worth: &worth,
            calibration,
            sampler: &Sampler::new(SamplingParams::greedy()).unwrap(),
            drafter: 1,
            position: 1,
            max_depth: 4,
            max_width: 1,
            step_s: 0.05,
            is_probe: false,
            step_started: Instant::now(),
            steps: Vec::new(),
        }
        .is_worth_a_step(None)
    }

    #[test]
    fn a_step_must_bring_more_than_what_costs_nothing() {
        let calibration = Calibration::default();
        assert!(steps_at_root(&[], &calibration), "nothing is known");
        assert!(steps_at_root(&[0.3], &calibration), "what is known is less likely");
        assert!(steps_at_root(&[0.95], &calibration), "it can go on where that ends");
        assert!(!steps_at_root(&[0.98, 0.95, 0.95, 0.95], &calibration), "nothing is left to bring");
        let mut better = Calibration::default();
        (0..300).for_each(|_| better.add_lead(0.7, true));
        assert!(!steps_at_root(&[0.7, 0.9, 0.9, 0.95], &no_better()));
        assert!(steps_at_root(&[0.7, 0.9, 0.9, 0.95], &better), "it is right where the other is not sure");
    }

    /// What was learnt of a drafter that is wrong as often as the free ones are.
    fn no_better() -> Calibration {
        let mut calibration = Calibration::default();
        (0..300).for_each(|i| calibration.add_lead(0.7, i % 10 < 7));
        calibration
    }
}
