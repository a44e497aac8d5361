//! A draft in the making: a tree of tokens, each with the chance that the target takes it.

mod known;
mod tree;

use std::time::Instant;

use nano_reasoning_engine::{PositionNoise, Sampler};

use crate::control::{Calibration, Worth};
pub(crate) use tree::{DraftTree, Vote};

/// A proposed token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftNode {
    /// Its id.
    pub token: u32,
    /// The node that it follows; `None` for the context's last token.
    pub parent: Option<usize>,
    /// Proposed tokens before it on its path.
    pub depth: usize,
    /// Chance that the target takes it if it takes the parent.
    pub hit_probability: f32,
    /// Chance that the target takes it and all before it.
    pub reach_probability: f32,
}

/// A token a drafter could propose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub token: u32,
    /// Its log-probability, by the drafter.
    pub log_prob: f32,
    /// Chance that it is the one, by the drafter; [`Draft::rank`] fills it in.
    pub confidence: f32,
}

/// What a drafter adds its proposals to, and asks how far to go.
pub struct Draft<'a> {
    pub(crate) tree: &'a mut DraftTree,
    /// What the drafters propose that cost nothing, for one that does cost.
    pub(crate) known: Option<&'a DraftTree>,
    pub(crate) worth: &'a Worth,
    pub(crate) calibration: &'a Calibration,
    pub(crate) sampler: &'a Sampler,
    /// Number of the drafter.
    pub(crate) drafter: usize,
    /// Position of the first drafted token.
    pub(crate) position: usize,
    pub(crate) max_depth: usize,
    pub(crate) max_width: usize,
    /// Seconds that one step of this drafter takes.
    pub(crate) step_s: f64,
    pub(crate) is_probe: bool,
    pub(crate) step_started: Instant,
    /// Tokens read and seconds of each step.
    pub(crate) steps: Vec<(usize, f64)>,
}

impl Draft<'_> {
    /// Tokens that a path may have at most.
    pub fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// Alternatives that may follow one token.
    pub fn max_width(&self) -> usize {
        self.max_width
    }

    /// Tokens proposed so far, those of earlier drafters too.
    pub fn nodes(&self) -> &[DraftNode] {
        &self.tree.nodes
    }

    /// Offers `token` to follow `parent`, `None` for the context's last token. Returns its node, or `None` if
    /// verifying it costs more than its chance is worth.
    ///
    /// `confidence` is the drafter's own estimate, from 0 to 1, that the target takes `token` there; what it
    /// is worth is learnt from what becomes of it.
    pub fn propose(&mut self, parent: Option<usize>, token: u32, confidence: f32) -> Option<usize> {
        let depth = self.child_depth(parent);
        if depth >= self.max_depth {
            return None;
        }
        let drafter = self.drafter;
        let votes = &mut self.tree.votes;
        let is_first = !votes.iter().any(|vote| vote.drafter == drafter && vote.parent == parent);
        let is_dissent = votes.iter().any(|vote| {
            vote.drafter != drafter && vote.is_first && vote.parent == parent && vote.token != token
        });
        votes.push(Vote { drafter, parent, token, depth, confidence, is_first, is_dissent });
        let mut others = 0.0;
        for (node, sibling) in self.tree.nodes.iter().enumerate().filter(|(_, node)| node.parent == parent) {
            if sibling.token == token {
                return Some(node);
            }
            others += sibling.hit_probability;
        }
        let estimate = if is_dissent {
            self.calibration.dissent_hit_probability(confidence)
        } else {
            self.calibration.hit_probability(confidence, depth)
        };
        let hit_probability = estimate.min((1.0 - others).max(0.0));
        let reach_probability = self.reach(parent) * hit_probability;
        if !self.worth.is_worth_a_row(self.tree.nodes.len(), f64::from(reach_probability)) {
            return None;
        }
        self.tree.nodes.push(DraftNode { token, parent, depth, hit_probability, reach_probability });
        Some(self.tree.nodes.len() - 1)
    }

    /// Whether computing what follows `parent` is likely to pay.
    pub fn is_worth_a_step(&self, parent: Option<usize>) -> bool {
        let depth = self.child_depth(parent);
        if depth >= self.max_depth {
            return false;
        }
        if self.is_probe && depth == 0 {
            return true;
        }
        let known = self.known_after(parent);
        let hit = known.first().map_or_else(
            || self.calibration.mean_hit_probability(depth),
            |known| self.calibration.lead_hit_probability(known.confidence),
        );
        let (n_rows, reach) = (self.tree.nodes.len(), f64::from(self.reach(parent)));
        self.worth.is_worth_a_step(n_rows, reach * f64::from(hit), self.step_s)
            && (known.is_empty() || self.adds_to(&known, depth, reach, f64::from(hit)))
    }

    /// Says that a step was computed since the last one, so that its time can be learnt; `n_read` tokens were read for it.
    pub fn count_step(&mut self, n_read: usize) {
        let now = Instant::now();
        self.steps.push((n_read, (now - self.step_started).as_secs_f64()));
        self.step_started = now;
    }

    /// Sorts candidates for the token after `parent`, the likeliest first, and fills in their confidence.
    ///
    /// At a temperature it adds the random numbers that the target's draw will use: a drafter that is nearly
    /// right then guesses the very token.
    pub fn rank(&self, parent: Option<usize>, candidates: &mut [Candidate]) {
        if let Some(noise) = self.noise(parent) {
            let temperature = self.sampler.params().temperature;
            for candidate in candidates.iter_mut() {
                candidate.confidence =
                    candidate.log_prob / temperature + noise.gumbel(candidate.token) as f32;
            }
            candidates.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence));
            let max = candidates.first().map_or(0.0, |best| best.confidence);
            let weight = |candidate: &Candidate| (candidate.confidence - max).exp();
            let total: f32 = candidates.iter().map(weight).sum();
            candidates.iter_mut().for_each(|candidate| candidate.confidence = weight(candidate) / total);
        } else {
            candidates.sort_unstable_by(|a, b| b.log_prob.total_cmp(&a.log_prob).then(a.token.cmp(&b.token)));
            candidates.iter_mut().for_each(|candidate| candidate.confidence = candidate.log_prob.exp());
        }
    }

    /// Offers the likeliest of `log_probs` to follow `parent`, as many as may: indices into `vocab` with the drafter's
    /// log-probabilities. Each node that comes of it goes to `on_node` with its rank, 0 for the likeliest.
    pub(crate) fn propose_likeliest(
        &mut self,
        parent: Option<usize>,
        vocab: &[u32],
        log_probs: &[(usize, f32)],
        mut on_node: impl FnMut(usize, usize),
    ) {
        let mut candidates = std::mem::take(&mut self.tree.candidates);
        candidates.clear();
        candidates.extend(log_probs.iter().map(|&(index, log_prob)| Candidate {
            token: vocab[index],
            log_prob,
            confidence: 0.0,
        }));
        self.rank(parent, &mut candidates);
        for (rank, candidate) in candidates.iter().take(self.max_width).enumerate() {
            if let Some(node) = self.propose(parent, candidate.token, candidate.confidence) {
                on_node(rank, node);
            }
        }
        self.tree.candidates = candidates;
    }

    fn noise(&self, parent: Option<usize>) -> Option<PositionNoise> {
        self.sampler.noise_at(self.position + self.child_depth(parent))
    }

    fn child_depth(&self, parent: Option<usize>) -> usize {
        parent.map_or(0, |parent| self.tree.nodes[parent].depth + 1)
    }

    fn reach(&self, parent: Option<usize>) -> f32 {
        parent.map_or(1.0, |parent| self.tree.nodes[parent].reach_probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_against_which_a_leader_spoke_is_worth_less() {
        let calibration = Calibration::default();
        let mut worth = Worth::default();
        worth.set(1.0, 8, |n| 1.0 + 0.2 * n as f64);
        let sampler = Sampler::new(nano_reasoning_engine::SamplingParams::greedy()).unwrap();
        let mut tree = DraftTree::default();
        let mut propose = |drafter, token| {
            Draft {
                tree: &mut tree,
                known: None,
                worth: &worth,
                calibration: &calibration,
                sampler: &sampler,
                drafter,
                position: 1,
                max_depth: 4,
                max_width: 2,
                step_s: 0.0,
                is_probe: false,
                step_started: Instant::now(),
                steps: Vec::new(),
            }
            .propose(None, token, 0.5)
        };
        assert_eq!(propose(0, 7), Some(0));
        assert_eq!(propose(1, 8), None, "half as likely as a row costs");
        assert_eq!(propose(1, 7), Some(0), "the leader's own");
        assert!(!tree.votes[0].is_dissent && tree.votes[1].is_dissent && !tree.votes[2].is_dissent);
    }
}
