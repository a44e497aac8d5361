//! A drafter on duty: what it costs, what it is worth, and when to ask it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use nano_reasoning_engine::Sampler;

use crate::control::{Calibration, Rest, Worth};
use crate::draft::DraftTree;
use crate::{Draft, Drafter, Result};

/// Draft tokens of a pass at most: a row costs ever more of what it can bring.
const MAX_ROWS: usize = 31;
/// Tokens that a step may read beside its own without being much longer.
const FEW_TOKENS: usize = 16;
/// Cycles over which the reading of a prompt is thought to pay.
const READ_FOR_CYCLES: f64 = 40.0;

/// A drafter with all that was learnt of it.
pub struct DrafterActor {
    drafter: Box<dyn Drafter>,
    /// Tokens it was told of.
    n_committed: usize,
    calibration: Calibration,
    /// Seconds that a step takes, and that each token takes which it has to read first.
    step_s: Mean,
    read_s: Mean,
    rest: Rest,
    is_dropped: bool,
}

/// Where a draft begins and how far it may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) max_depth: usize,
    pub(crate) max_width: usize,
    /// Tokens that the cache has room for beside the root.
    pub(crate) room: usize,
    /// One step is computed whatever it is worth.
    pub(crate) is_probe: bool,
    /// All is computed whatever it is worth.
    pub(crate) is_fixed: bool,
    /// What is proposed already, by drafters that cost nothing.
    pub(crate) known: Option<&'a DraftTree>,
}

impl Limits<'_> {
    /// Draft tokens of a pass at most.
    pub(crate) fn max_rows(&self) -> usize {
        (self.max_depth * self.max_width).min(MAX_ROWS).min(self.room)
    }
}

/// A mean that forgets, and that one outlier moves little.
#[derive(Debug, Clone, Copy, Default)]
struct Mean(Option<f64>);

impl Mean {
    fn add(&mut self, value: f64) {
        self.0 = Some(self.0.map_or(value, |mean| mean + 0.1 * (value.min(3.0 * mean) - mean)));
    }
}

impl DrafterActor {
    pub(crate) fn new(drafter: Box<dyn Drafter>) -> Self {
        Self {
            drafter,
            n_committed: 0,
            calibration: Calibration::default(),
            step_s: Mean::default(),
            read_s: Mean::default(),
            rest: Rest::default(),
            is_dropped: false,
        }
    }

    /// The drafter's name.
    pub fn name(&self) -> &str {
        self.drafter.name()
    }

    /// Whether it failed and is asked no more.
    pub fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// What its confidence is worth.
    pub(crate) fn calibration_mut(&mut self) -> &mut Calibration {
        &mut self.calibration
    }

    /// Whether its drafts take no time to speak of.
    pub fn is_free(&self) -> bool {
        self.drafter.is_free()
    }

    /// Tokens that a draft of it is expected to bring beyond what its time costs.
    pub(crate) fn expected_value(&self, worth: &Worth, context_len: usize, max_depth: usize) -> f64 {
        let step_s = self.step_s.0.unwrap_or(0.0);
        // What it has to read serves all drafts from then on.
        let n_pending = self.drafter.n_pending(context_len).saturating_sub(FEW_TOKENS);
        let read_s = n_pending as f64 * self.read_s.0.unwrap_or(0.0) / READ_FOR_CYCLES;
        let mut reaches = Vec::with_capacity(max_depth);
        let (mut reach, mut best) = (1.0, f64::NEG_INFINITY);
        for depth in 0..max_depth {
            reach *= f64::from(self.calibration.mean_hit_probability(depth));
            reaches.push(reach);
            let draft_s = read_s + reaches.len() as f64 * step_s;
            best = best.max(worth.value(reaches.iter().copied(), draft_s));
        }
        best
    }

    /// Whether its turn has come though it is not expected to pay.
    pub(crate) fn is_due(&mut self) -> bool {
        self.rest.is_over()
    }

    /// It paid: rests start small again.
    pub(crate) fn refresh(&mut self) {
        self.rest = Rest::default();
    }

    /// Whether it can draft after `len` tokens: it has been told of them all, and has not failed.
    pub(crate) fn is_ready(&self, len: usize) -> bool {
        !self.is_dropped && self.n_committed == len
    }

    /// Tells it that `tokens` follow the first `len`. Where it missed some of those, it waits for a rollback before them.
    pub(crate) fn commit(&mut self, len: usize, tokens: &[u32], taps: &[f32]) {
        if self.is_ready(len) {
            self.n_committed += tokens.len();
            guard(&mut self.drafter, &mut self.is_dropped, |drafter| drafter.commit(tokens, taps));
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.n_committed {
            self.n_committed = len;
            guard(&mut self.drafter, &mut self.is_dropped, |drafter| drafter.truncate(len));
        }
    }

    pub(crate) fn end_answer(&mut self, answer: &[u32]) {
        guard(&mut self.drafter, &mut self.is_dropped, |drafter| drafter.end_answer(answer));
    }

    /// Lets it add to `tree`, as drafter number `index`, and learns what that takes. Returns the seconds.
    pub(crate) fn draft(
        &mut self,
        index: usize,
        context: &[u32],
        tree: &mut DraftTree,
        worth: &Worth,
        sampler: &Sampler,
        limits: Limits<'_>,
    ) -> f64 {
        let started = Instant::now();
        let mut draft = Draft {
            tree,
            known: limits.known,
            worth,
            calibration: &self.calibration,
            sampler,
            drafter: index,
            position: context.len(),
            max_depth: limits.max_depth,
            max_width: limits.max_width,
            step_s: self.step_s.0.unwrap_or(0.0),
            is_probe: limits.is_probe,
            step_started: started,
            steps: Vec::new(),
        };
        guard(&mut self.drafter, &mut self.is_dropped, |drafter| drafter.draft(context, &mut draft));
        for (n_read, seconds) in draft.steps {
            if n_read <= FEW_TOKENS {
                self.step_s.add(seconds);
            } else {
                self.read_s.add(seconds / n_read as f64);
            }
        }
        started.elapsed().as_secs_f64()
    }
}

/// Runs `work`; one that fails or panics was the drafter's last.
fn guard(
    drafter: &mut Box<dyn Drafter>,
    is_dropped: &mut bool,
    work: impl FnOnce(&mut dyn Drafter) -> Result<()>,
) {
    if *is_dropped {
        return;
    }
    let reason = match catch_unwind(AssertUnwindSafe(|| work(drafter.as_mut()))) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    *is_dropped = true;
    tracing::warn!(drafter = drafter.name(), reason, "drafter dropped; generation goes on without it");
}
