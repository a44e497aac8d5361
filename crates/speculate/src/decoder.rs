//! The cycle: draft, verify, accept, learn.

use std::time::Instant;

use nano_reasoning_engine::{Forward, LogitRows, Sampler, TargetModel, TokenTree};

use crate::actor::{DrafterActor, Limits};
use crate::control::Controller;
use crate::draft::DraftTree;
use crate::statistics::{DrafterStatistics, SpeculationStatistics};
use crate::verification::{CycleTimes, Observer, Verification};
use crate::{Drafter, Error, Result};

/// What a user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeculationOptions {
    /// Draft tokens on one path at most; 0 for no speculation: drafters hear nothing then, and are asked again once
    /// the sequence is cut back to what they know.
    pub draft_count: usize,
    /// Alternatives that may follow one token; 1 for chains.
    pub max_width: usize,
    /// Whether drafts are always as long as they may be, whatever that costs: to measure drafters, not to be fast.
    pub is_fixed: bool,
}

impl Default for SpeculationOptions {
    fn default() -> Self {
        Self { draft_count: 8, max_width: 2, is_fixed: false }
    }
}

/// Decodes with drafters, losslessly: the tokens are those that the target alone would give.
///
/// ```text
/// draft    drafters propose a tree of tokens that may follow the last one
/// verify   one pass of the target over the last token and the tree
/// accept   draw from the target's logits, and go on where the drawn token was proposed
/// learn    drafters, costs and observers hear what became of it
/// ```
/// Each token is drawn from the target's own logits with the random numbers of its position
/// (`nano_reasoning_engine::sampling`), whether or not it was proposed. So it is the same token with any draft,
/// greedily and at any temperature.
pub struct SpeculativeDecoder {
    actors: Vec<DrafterActor>,
    observers: Vec<Box<dyn Observer>>,
    options: SpeculationOptions,
    controller: Controller,
    statistics: SpeculationStatistics,
    draft: DraftTree,
    /// Rows that stay.
    path: Vec<usize>,
    /// Draft nodes that were drawn.
    accepted: Vec<usize>,
    /// Taps of a path that branches, `[n, n_taps, hidden_dim]`.
    path_taps: Vec<f32>,
}

impl SpeculativeDecoder {
    /// A decoder for `target`, whose taps it sets to what the drafters read.
    ///
    /// # Errors
    /// [`Error::DifferentTaps`] and [`Error::NoSuchLayer`].
    pub fn new(
        target: &mut dyn TargetModel,
        drafters: Vec<Box<dyn Drafter>>,
        options: SpeculationOptions,
    ) -> Result<Self> {
        let mut readers = drafters.iter().filter(|drafter| !drafter.taps().is_empty());
        let taps = readers.next().map_or(&[] as &[usize], |first| first.taps());
        if let Some(other) = readers.find(|other| other.taps() != taps) {
            let first = drafters.iter().find(|drafter| drafter.taps() == taps);
            return Err(Error::DifferentTaps {
                first: first.map_or_else(String::new, |first| first.name().to_owned()),
                first_taps: taps.to_vec(),
                second: other.name().to_owned(),
                second_taps: other.taps().to_vec(),
            });
        }
        let n_layers = target.shape().n_layers;
        for drafter in &drafters {
            if let Some(&layer) = drafter.taps().iter().find(|&&layer| layer >= n_layers) {
                return Err(Error::NoSuchLayer { drafter: drafter.name().to_owned(), layer, n_layers });
            }
        }
        target.set_taps(taps);
        let statistics = SpeculationStatistics {
            drafters: drafters
                .iter()
                .map(|drafter| DrafterStatistics { name: drafter.name().to_owned(), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        Ok(Self {
            actors: drafters.into_iter().map(DrafterActor::new).collect(),
            observers: Vec::new(),
            options,
            controller: Controller::default(),
            statistics,
            draft: DraftTree::default(),
            path: Vec::new(),
            accepted: Vec::new(),
            path_taps: Vec::new(),
        })
    }

    /// Adds one who learns from each verification.
    pub fn add_observer(&mut self, observer: Box<dyn Observer>) {
        self.observers.push(observer);
    }

    /// The drafters on duty.
    pub fn actors(&self) -> &[DrafterActor] {
        &self.actors
    }

    /// What a user allows from now on.
    pub fn set_options(&mut self, options: SpeculationOptions) {
        self.options = options;
    }

    /// Sums over all cycles so far.
    pub fn statistics(&self) -> &SpeculationStatistics {
        &self.statistics
    }

    /// Passes a chunk of a prompt.
    ///
    /// # Errors
    /// The engine's.
    pub fn prefill<'a>(
        &mut self,
        target: &'a mut dyn TargetModel,
        chunk: &[u32],
        rows: LogitRows,
    ) -> Result<Forward<'a>> {
        let len = target.len();
        let forward = target.forward(&TokenTree::chain(chunk), rows)?;
        if self.options.draft_count > 0 {
            self.actors.iter_mut().for_each(|actor| actor.commit(len, chunk, forward.taps));
        }
        self.observers.iter_mut().for_each(|observer| observer.prefilled(len, chunk, forward.taps));
        Ok(forward)
    }

    /// Cuts the sequence back to its first `len` tokens.
    ///
    /// # Errors
    /// The engine's.
    pub fn truncate(&mut self, target: &mut dyn TargetModel, len: usize) -> Result<()> {
        target.truncate(len)?;
        self.actors.iter_mut().for_each(|actor| actor.truncate(len));
        self.observers.iter_mut().for_each(|observer| observer.truncated(len));
        Ok(())
    }

    /// Tells the drafters that an answer is whole: `answer` is its tokens and a few before it.
    pub fn end_answer(&mut self, answer: &[u32]) {
        if self.options.draft_count > 0 {
            self.actors.iter_mut().for_each(|actor| actor.end_answer(answer));
        }
        self.observers.iter_mut().for_each(|observer| observer.answered());
    }

    /// Writes the next tokens, at least one and at most `max_tokens`.
    ///
    /// `history` is all tokens, of which the target's cache holds all but the last; that stays so. Each new token goes to
    /// `on_token`, which ends the answer by returning false. Returns whether it goes on.
    ///
    /// # Errors
    /// The engine's; nothing was written then.
    ///
    /// # Panics
    /// If `history` does not hold one token more than the cache, or `max_tokens` is 0.
    pub fn cycle(
        &mut self,
        target: &mut dyn TargetModel,
        sampler: &mut Sampler,
        history: &mut Vec<u32>,
        max_tokens: usize,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) -> Result<bool> {
        assert_eq!(history.len(), target.len() + 1, "the cache lacks the last token and no other");
        assert!(max_tokens > 0, "a cycle writes at least one token");
        let started = Instant::now();
        let context_len = target.len();

        // Draft.
        let room = target.shape().context_len.saturating_sub(context_len + 1);
        let limits = Limits {
            max_depth: self.options.draft_count.min(max_tokens - 1).min(room),
            max_width: self.options.max_width,
            room,
            is_probe: false,
            is_fixed: self.options.is_fixed,
            known: None,
        };
        let Self { actors, controller, draft, .. } = self;
        controller.draft(actors, history, sampler, limits, draft);
        let drafted = Instant::now();

        // Verify.
        let tree = self.draft.token_tree(history[context_len])?;
        let forward = target.forward(&tree, LogitRows::All)?;
        let verified = Instant::now();

        // Accept.
        let vocab_size = forward.logits.len() / tree.len();
        self.path.clear();
        self.path.push(0);
        self.accepted.clear();
        let mut goes_on = true;
        let start = history.len();
        loop {
            let row = *self.path.last().expect("the root is on the path");
            let token = sampler.sample(&forward.logits[row * vocab_size..][..vocab_size], history);
            history.push(token);
            goes_on &= on_token(token);
            let child = self.draft.child(row.checked_sub(1), token);
            self.accepted.extend(child);
            match child.filter(|_| goes_on && history.len() - start < max_tokens) {
                Some(child) => self.path.push(child + 1),
                None => break,
            }
        }
        let (num_emitted, num_accepted) = (history.len() - start, self.accepted.len());
        let sampled = Instant::now();

        // Learn.
        let taps = path_taps(forward.taps, tree.len(), &self.path, &mut self.path_taps);
        let kept: &[u32] = &history[context_len..context_len + self.path.len()];
        if self.options.draft_count > 0 {
            self.actors.iter_mut().for_each(|actor| actor.commit(context_len, kept, taps));
        }
        self.draft.score(&self.path, &history[start..], &mut self.actors);
        let times = CycleTimes {
            draft_s: (drafted - started).as_secs_f64(),
            verify_s: (verified - drafted).as_secs_f64(),
            sample_s: (sampled - verified).as_secs_f64(),
        };
        // Where the answer stopped, the rest of the draft was never judged.
        let draft_len = self.draft.longest_path_len().min(if goes_on { usize::MAX } else { num_emitted });
        let verification = Verification {
            history,
            num_emitted,
            tree: &tree,
            draft: &self.draft.nodes,
            path: &self.path,
            num_accepted,
            draft_len,
            logits: forward.logits,
            taps: forward.taps,
            hidden: forward.hidden,
            times,
            choice: self.controller.choice(),
        };
        self.observers.iter_mut().for_each(|observer| observer.observe(&verification));
        target.keep(&self.path)?;
        let total_s = started.elapsed().as_secs_f64();
        self.controller.learn(tree.len(), context_len, times.verify_s, num_emitted, total_s);
        self.count(num_emitted, draft_len, times, total_s, context_len);
        Ok(goes_on)
    }

    fn count(
        &mut self,
        num_emitted: usize,
        draft_len: usize,
        times: CycleTimes,
        total_s: f64,
        context_len: usize,
    ) {
        let Self { statistics, accepted, .. } = self;
        statistics.add(num_emitted, accepted.len(), draft_len);
        statistics.draft_s += times.draft_s;
        statistics.verify_s += times.verify_s;
        statistics.sample_s += times.sample_s;
        statistics.other_s += total_s - times.draft_s - times.verify_s - times.sample_s;
        let plain_s = self.controller.cost.seconds(1, context_len).unwrap_or(times.verify_s);
        statistics.plain_s += num_emitted as f64 * plain_s + times.sample_s;
        for asked in &self.controller.choice().asked {
            let drafter = &mut statistics.drafters[asked.drafter];
            drafter.n_drafts += 1;
            drafter.draft_s += asked.seconds;
        }
        self.draft.count(accepted, &mut statistics.drafters);
    }
}

/// The rows of `taps`, `[n_rows, n_taps, hidden_dim]`, that lie on `path`.
fn path_taps<'a>(taps: &'a [f32], n_rows: usize, path: &[usize], gathered: &'a mut Vec<f32>) -> &'a [f32] {
    let width = taps.len() / n_rows;
    if path.iter().enumerate().all(|(i, &row)| i == row) {
        return &taps[..path.len() * width];
    }
    gathered.clear();
    path.iter().for_each(|&row| gathered.extend_from_slice(&taps[row * width..][..width]));
    gathered
}
