//! The tokens that drafters proposed, and what became of them.

use nano_reasoning_engine::TokenTree;

use super::{Candidate, DraftNode};
use crate::Result;
use crate::actor::DrafterActor;
use crate::control::Worth;
use crate::statistics::DrafterStatistics;

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
    /// Whether a drafter that was asked before had another first choice there.
    pub(crate) is_dissent: bool,
}

/// The tokens that all drafters of a cycle proposed.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftTree {
    pub(crate) nodes: Vec<DraftNode>,
    pub(crate) votes: Vec<Vote>,
    /// Room for a drafter to rank in.
    pub(super) candidates: Vec<Candidate>,
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

    /// Makes a node of the first token that was named to follow the context, whether or not that is worth it.
    pub(crate) fn take_first(&mut self) {
        let first = self.votes.iter().find(|vote| vote.parent.is_none());
        self.nodes.extend(first.map(|vote| DraftNode {
            token: vote.token,
            parent: None,
            depth: 0,
            hit_probability: vote.confidence,
            reach_probability: vote.confidence,
        }));
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
            let Some(i) = path.iter().position(|&on_path| on_path == row) else { continue };
            let is_hit = vote.token == emitted[i];
            // What leads is told how sure the free drafters were; those do not lead.
            let is_leader = vote.is_first && !actors[vote.drafter].is_free();
            let free = self.votes.iter().find(|other| {
                is_leader && other.is_first && other.parent == vote.parent && actors[other.drafter].is_free()
            });
            let calibration = actors[vote.drafter].calibration_mut();
            calibration.add(vote.confidence, vote.depth, is_hit);
            if vote.is_dissent {
                calibration.add_dissent(vote.confidence, is_hit);
            }
            if vote.is_first {
                calibration.add_depth(vote.depth, is_hit);
            }
            if let Some(free) = free {
                calibration.add_lead(free.confidence, is_hit);
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
        let vote = |parent| Vote {
            drafter: 0,
            parent,
            token: 9,
            depth: 0,
            confidence: 0.5,
            is_first: true,
            is_dissent: false,
        };
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

    #[test]
    fn a_token_that_was_not_worth_a_row_can_be_taken_all_the_same() {
        let vote = |token, parent, is_first| {
            let (depth, is_dissent) = (0, false);
            Vote { drafter: 0, parent, token, depth, confidence: 0.4, is_first, is_dissent }
        };
        let mut tree =
            DraftTree { votes: vec![vote(5, None, true), vote(6, None, false)], ..DraftTree::default() };
        tree.take_first();
        assert_eq!(tree.token_tree(7).unwrap().tokens(), [7, 5]);
        tree.clear();
        tree.take_first();
        assert!(tree.nodes.is_empty(), "nobody named one");
    }
}
