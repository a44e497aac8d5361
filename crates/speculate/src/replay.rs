//! Replays known texts: what a drafter would have been worth, without a target.

use std::time::{Duration, Instant};

use nano_reasoning_engine::{Sampler, SamplingParams};

use crate::control::{Calibration, Worth};
use crate::draft::DraftTree;
use crate::{Draft, Drafter, Result};

/// Rows of a verify pass at most.
const MAX_ROWS: usize = 64;

/// Measures a drafter on texts as if a target that decodes greedily were just writing them.
#[derive(Debug)]
pub struct Replay {
    worth: Worth,
    calibration: Calibration,
    sampler: Sampler,
    max_depth: usize,
    max_width: usize,
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReplayCounts {
    /// Verify passes.
    pub n_verifies: usize,
    /// Tokens that were written.
    pub n_emitted: usize,
    /// Tokens that were drafted.
    pub n_drafted: usize,
    /// Time in the drafter.
    pub draft_time: Duration,
    /// The longest single draft.
    pub longest_draft: Duration,
}

impl Replay {
    /// A replay with drafts up to `max_depth` tokens deep and `max_width` alternatives, in which a drafted row
    /// costs `row_cost` of a pass: a token is drafted if its chance is more.
    ///
    /// # Panics
    /// Never: greedy sampling parameters are valid.
    pub fn new(max_depth: usize, max_width: usize, row_cost: f64) -> Self {
        let mut worth = Worth::default();
        worth.set(1.0, MAX_ROWS, |n| 1.0 + row_cost * n as f64);
        let sampler = Sampler::new(SamplingParams::greedy()).expect("greedy sampling is valid");
        Self { worth, calibration: Calibration::default(), sampler, max_depth, max_width }
    }

    /// Replays `tokens` from `start` on; what is before is the prompt.
    ///
    /// # Errors
    /// Those of the drafter.
    pub fn run(&mut self, drafter: &mut dyn Drafter, tokens: &[u32], start: usize) -> Result<ReplayCounts> {
        drafter.truncate(0)?;
        drafter.commit(&tokens[..start.saturating_sub(1)], &[])?;
        let mut counts = ReplayCounts::default();
        let mut tree = DraftTree::default();
        let mut at = start;
        while at < tokens.len() {
            tree.clear();
            let mut draft = Draft {
                tree: &mut tree,
                known: None,
                worth: &self.worth,
                calibration: &self.calibration,
                sampler: &self.sampler,
                drafter: 0,
                position: at,
                max_depth: self.max_depth,
                max_width: self.max_width,
                step_s: 0.0,
                is_probe: false,
                step_started: Instant::now(),
                steps: Vec::new(),
            };
            let began = Instant::now();
            drafter.draft(&tokens[..at], &mut draft)?;
            let taken = began.elapsed();
            counts.draft_time += taken;
            counts.longest_draft = counts.longest_draft.max(taken);
            counts.n_drafted += tree.nodes.len();
            counts.n_verifies += 1;
            let next = (at + 1 + self.accept(&tree, &tokens[at..])).min(tokens.len());
            drafter.commit(&tokens[at.saturating_sub(1)..next - 1], &[])?;
            counts.n_emitted += next - at;
            at = next;
        }
        Ok(counts)
    }

    /// Tokens of the draft that come true, whose calibration is learnt on the way.
    fn accept(&mut self, tree: &DraftTree, truth: &[u32]) -> usize {
        let (mut parent, mut n_accepted) = (None, 0);
        for (depth, &token) in truth.iter().enumerate() {
            let hit = tree.child(parent, token);
            for vote in tree.votes.iter().filter(|vote| vote.parent == parent) {
                self.calibration.add(vote.confidence, depth, vote.token == token);
            }
            if hit.is_none() {
                break;
            }
            (parent, n_accepted) = (hit, n_accepted + 1);
        }
        n_accepted
    }
}

impl ReplayCounts {
    /// Mean accepted length τ, bonus tokens included.
    pub fn mean_accepted_length(&self) -> f64 {
        self.n_emitted as f64 / self.n_verifies.max(1) as f64
    }
}

impl std::ops::AddAssign for ReplayCounts {
    fn add_assign(&mut self, other: Self) {
        self.n_verifies += other.n_verifies;
        self.n_emitted += other.n_emitted;
        self.n_drafted += other.n_drafted;
        self.draft_time += other.draft_time;
        self.longest_draft = self.longest_draft.max(other.longest_draft);
    }
}
