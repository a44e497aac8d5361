//! A draft in the making: a tree of tokens, each with the chance that the target takes it.

use std::time::Instant;

use nano_reasoning_engine::{PositionNoise, Sampler, TokenTree};

use crate::Result;
use crate::actor::DrafterActor;
use crate::control::{Calibration, Worth};
use crate::statistics::DrafterStatistics;

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

/// That a drafter named a token, whether or not that was worth verifying.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Vote {
    pub(crate) drafter: usize,
    /// The node that the token would follow.
    pub(crate) parent: Option<usize>,
    pub(crate) token: u32,
    pub(crate) depth: usize,
    /// As the drafter gave it.
    pub(crate) confidence: f32,
    /// Whether it was the drafter's first choice there.
    pub(crate) is_first: bool,
}

/// The tokens that all drafters of a cycle proposed.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftTree {
    pub(crate) nodes: Vec<DraftNode>,
    pub(crate) votes: Vec<Vote>,
    /// Room for a drafter to rank in.
    candidates: Vec<Candidate>,
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
        votes.push(Vote { drafter, parent, token, depth, confidence, is_first });
        let mut others = 0.0;
        for (node, sibling) in self.tree.nodes.iter().enumerate().filter(|(_, node)| node.parent == parent) {
            if sibling.token == token {
                return Some(node);
            }
            others += sibling.hit_probability;
        }
        let estimate = self.calibration.hit_probability(confidence, depth);
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
        let hit = f64::from(self.calibration.mean_hit_probability(depth));
        let reach = f64::from(self.reach(parent)) * hit;
        depth < self.max_depth
            && (self.is_probe && depth == 0
                || self.worth.is_worth_a_step(self.tree.nodes.len(), reach, self.step_s))
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

impl DraftTree {
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.votes.clear();
    }

    /// Keeps the nodes that `worth` finds best to verify together: the likeliest, as many as pay.
    pub(crate) fn prune(&mut self, worth: &Worth) {
        // A child is no likelier than its parent and comes after it, so a stable order keeps whole paths.
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by(|&a, &b| self.nodes[b].reach_probability.total_cmp(&self.nodes[a].reach_probability));
        let n_best =
            worth.best_count(order.iter().map(|&node| f64::from(self.nodes[node].reach_probability)));
        if n_best == self.nodes.len() {
            return;
        }
        let mut kept = vec![false; self.nodes.len()];
        order[..n_best].iter().for_each(|&node| kept[node] = true);
        let mut renumbered = vec![0; self.nodes.len()];
        let mut n_kept = 0;
        for node in 0..self.nodes.len() {
            renumbered[node] = n_kept;
            n_kept += usize::from(kept[node]);
        }
        let mut node = 0;
        self.nodes.retain(|_| {
            node += 1;
            kept[node - 1]
        });
        for node in &mut self.nodes {
            node.parent = node.parent.map(|parent| renumbered[parent]);
        }
        self.votes.retain(|vote| vote.parent.is_none_or(|parent| kept[parent]));
        for vote in &mut self.votes {
            vote.parent = vote.parent.map(|parent| renumbered[parent]);
        }
    }

    /// Chances of the nodes, the greatest first.
    pub(crate) fn reaches(&self) -> Vec<f64> {
        let mut reaches: Vec<f64> = self.nodes.iter().map(|node| f64::from(node.reach_probability)).collect();
        reaches.sort_by(|a, b| b.total_cmp(a));
        reaches
    }

    /// The tokens of a pass: `root`, then the nodes.
    pub(crate) fn token_tree(&self, root: u32) -> Result<TokenTree> {
        let mut tree = TokenTree::default();
        tree.push(root, None)?;
        for node in &self.nodes {
            tree.push(node.token, Some(node.parent.map_or(0, |parent| parent + 1)))?;
        }
        Ok(tree)
    }

    /// The node of `token` after `parent`.
    pub(crate) fn child(&self, parent: Option<usize>, token: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.parent == parent && node.token == token)
    }

    /// Tokens on the longest path.
    pub(crate) fn longest_path_len(&self) -> usize {
        self.nodes.iter().map(|node| node.depth + 1).max().unwrap_or(0)
    }

    /// Tells drafters what became of their proposals: `emitted[i]` is what followed row `path[i]`.
    pub(crate) fn score(&self, path: &[usize], emitted: &[u32], actors: &mut [DrafterActor]) {
        for vote in &self.votes {
            let row = vote.parent.map_or(0, |parent| parent + 1);
            if let Some(i) = path.iter().position(|&on_path| on_path == row) {
                let calibration = actors[vote.drafter].calibration_mut();
                calibration.add(vote.confidence, vote.depth, vote.token == emitted[i]);
                if vote.is_first {
                    calibration.add_depth(vote.depth, vote.token == emitted[i]);
                }
            }
        }
    }

    /// Adds to `drafters` which of them proposed the verified nodes, of which `accepted` were accepted.
    pub(crate) fn count(&self, accepted: &[usize], drafters: &mut [DrafterStatistics]) {
        for vote in &self.votes {
            if let Some(node) = self.child(vote.parent, vote.token) {
                drafters[vote.drafter].n_proposed += 1;
                drafters[vote.drafter].n_accepted += u64::from(accepted.contains(&node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(token: u32, parent: Option<usize>, depth: usize, reach_probability: f32) -> DraftNode {
        DraftNode { token, parent, depth, hit_probability: 0.5, reach_probability }
    }

    #[test]
    fn pruning_keeps_the_likeliest_with_their_parents() {
        let nodes = vec![
            node(1, None, 0, 0.9),
            node(2, None, 0, 0.05),
            node(3, Some(1), 1, 0.04),
            node(4, Some(0), 1, 0.8),
        ];
        let vote = |parent| Vote { drafter: 0, parent, token: 9, depth: 0, confidence: 0.5, is_first: true };
        let votes = vec![vote(None), vote(Some(3)), vote(Some(1))];
        let mut tree = DraftTree { nodes, votes, ..DraftTree::default() };
        let mut worth = Worth::default();
        worth.set(1.0, 8, |n| 1.0 + 0.2 * n as f64);
        tree.prune(&worth);
        assert_eq!(tree.nodes, [node(1, None, 0, 0.9), node(4, Some(0), 1, 0.8)]);
        assert_eq!(tree.votes, [vote(None), vote(Some(1))]);
        let pass = tree.token_tree(7).unwrap();
        assert_eq!(pass.tokens(), [7, 1, 4]);
        assert!(pass.is_chain());
        assert_eq!((tree.child(Some(0), 4), tree.child(None, 4)), (Some(1), None));
    }
}
