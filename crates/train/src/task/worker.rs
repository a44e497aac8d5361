//! The work of the trainer's thread.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Decision, MayWork, Shared, TaskOptions};
use crate::checkpoint::Progress;
use crate::trainer::{Published, Trainer};
use crate::{Checkpoint, Random, Result, Sample, TrainingBuffer};

/// Of the places where the drafter already guesses right, every so manyth is learnt from.
const ONE_OF_OTHERS: usize = 6;
/// Rejected candidates in a row after which the trainer goes back to what is published.
const MAX_REJECTED: usize = 3;
/// Every so manyth answer is held out.
const HOLD_OUT: u64 = 4;
/// Answers held out at most, the latest; older ones are learnt from in the end.
const N_HELD_OUT: usize = 4;
/// The longest rest before it is asked again whether there is work.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Worker<T: Trainer> {
    shared: Arc<Shared>,
    trainer: T,
    /// What drafts are made with.
    published: Published,
    buffer: TrainingBuffer,
    held_out: VecDeque<Sample>,
    random: Random,
    options: TaskOptions<T::Training>,
    /// Tokens to learn from until the new answers are worked off.
    debt: f64,
    n_rejected: usize,
    /// How what is published does on the held-out answers, once that is known.
    published_length: Option<f64>,
    keep: Box<dyn FnMut(&Checkpoint) + Send>,
    may_work: MayWork,
}

impl<T: Trainer> Worker<T> {
    pub(super) fn new(
        shared: Arc<Shared>,
        trainer: T,
        options: TaskOptions<T::Training>,
        keep: Box<dyn FnMut(&Checkpoint) + Send>,
        may_work: MayWork,
    ) -> Self {
        Self {
            shared,
            published: trainer.unchanged(),
            buffer: TrainingBuffer::new(options.buffer, trainer.seed()),
            held_out: VecDeque::new(),
            random: Random::new(trainer.seed() ^ 0x5eed),
            trainer,
            options,
            debt: 0.0,
            n_rejected: 0,
            published_length: None,
            keep,
            may_work,
        }
    }

    /// Goes on from the first of `checkpoints` that fits; the others are named.
    pub(super) fn go_on_from(&mut self, checkpoints: impl Iterator<Item = (String, Checkpoint)>) {
        for (name, checkpoint) in checkpoints {
            let info = &checkpoint.info;
            match self.trainer.restore(&checkpoint).and_then(|()| self.trainer.publish()) {
                Ok(published) => {
                    self.published = published;
                    self.random = Random::new(info.random);
                    let mut state = self.shared.state();
                    state.status.n_answers = info.n_answers;
                    state.status.n_tokens_trained = info.n_tokens_trained;
                    state.status.n_steps = info.n_steps;
                    drop(state);
                    let snapshot = self.published.snapshot.clone();
                    self.shared.change_published(|state| state.published = snapshot);
                    tracing::info!(name, n_steps = info.n_steps, "drafting goes on as learnt before");
                    return;
                }
                Err(error) => tracing::warn!(name, %error, "checkpoint not used"),
            }
        }
    }

    pub(super) fn run(mut self, received: &Receiver<Sample>) {
        while let Ok(sample) = received.recv() {
            self.shared.state().is_busy = true;
            let outcome = self.work_off(sample, received);
            let mut state = self.shared.state();
            state.is_busy = false;
            if let Err(error) = outcome {
                tracing::warn!(%error, "the trainer stopped; answers go on without it");
                state.status.error = Some(error.to_string());
            }
            let is_over = state.status.error.is_some() || state.is_stopping;
            drop(state);
            self.shared.changed.notify_all();
            if is_over {
                return;
            }
        }
    }

    fn work_off(&mut self, sample: Sample, received: &Receiver<Sample>) -> Result<()> {
        self.take_in(sample)?;
        let mut has_learnt = false;
        let mut worked = Duration::ZERO;
        while self.debt > 0.0 {
            self.rest(worked);
            match received.try_recv() {
                Ok(sample) => self.take_in(sample)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            if self.is_stopping() {
                return Ok(());
            }
            let started = Instant::now();
            self.step()?;
            worked = started.elapsed();
            has_learnt = true;
        }
        if has_learnt { self.gate() } else { Ok(()) }
    }

    fn take_in(&mut self, mut sample: Sample) -> Result<()> {
        let n_answers = {
            let mut state = self.shared.state();
            state.n_taken += 1;
            state.status.n_answers += 1;
            state.status.n_answers
        };
        self.trainer.prepare(&mut sample);
        if n_answers % HOLD_OUT == HOLD_OUT - 1 {
            self.published_length = None;
            self.held_out.push_back(sample);
            if self.held_out.len() <= N_HELD_OUT {
                return Ok(());
            }
            // It has served: what came after it judges from now on.
            let Some(oldest) = self.held_out.pop_front() else { return Ok(()) };
            sample = oldest;
        }
        self.debt += sample.n_bases() as f64 * self.options.n_passes;
        let n_right = guess(&mut self.trainer, &self.shared, &sample)?;
        self.buffer.add(sample, n_right);
        self.shared.state().status.buffer_bytes = self.buffer.size_bytes();
        Ok(())
    }

    /// Rests after having `worked`, so that work keeps to its share of the time; not while somebody waits for it.
    fn rest(&mut self, worked: Duration) {
        loop {
            let allowance = (self.may_work)();
            let is_held = allowance.share <= 0.0;
            let rest =
                if is_held { REST } else { worked.mul_f64(1.0 / allowance.share.min(1.0) - 1.0).min(REST) };
            let mut state = self.shared.state();
            state.status.held_by = if is_held { allowance.reason } else { None };
            let (state, _) = self
                .shared
                .changed
                .wait_timeout_while(state, rest, |state| !state.is_in_haste())
                .unwrap_or_else(PoisonError::into_inner);
            if !is_held || state.is_in_haste() {
                return;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.state().is_stopping
    }

    /// Learns from some rows of some samples.
    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let (step_rows, draft_len) = (self.options.step_rows, self.trainer.draft_len());
        let (mut n_rows, mut loss) = (0, 0.0);
        while n_rows < step_rows && self.debt > 0.0 && !self.is_stopping() {
            let Some(kept) = self.buffer.draw(draft_len) else { break };
            let places = kept.draw(T::CHUNK_ROWS, draft_len, ONE_OF_OTHERS, &mut self.random);
            // What the drafter knows already is looked at, too.
            let share = places.len() as f64 / kept.n_right.len().max(1) as f64;
            self.debt -= (kept.n_right.len() as f64).min(T::CHUNK_ROWS as f64 / share.max(0.01)).max(1.0);
            if places.is_empty() {
                continue;
            }
            let bases: Vec<usize> = kept.sample.bases().collect();
            let bases: Vec<usize> = places.iter().map(|&place| bases[place]).collect();
            let weight = bases.len() as f32 / step_rows as f32;
            let scored = self.trainer.learn(&kept.sample, &bases, weight)?;
            places.iter().zip(&scored.n_right).for_each(|(&place, &n)| kept.n_right[place] = n);
            loss += weight * scored.loss;
            n_rows += bases.len();
        }
        if n_rows > 0 {
            self.trainer.step()?;
        }
        let mut state = self.shared.state();
        state.status.n_steps = self.trainer.n_steps();
        state.status.n_tokens_trained += n_rows as u64;
        state.status.loss = loss;
        state.status.train_s += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Publishes the candidate if it guesses the held-out answers as well as what is published.
    fn gate(&mut self) -> Result<()> {
        if self.held_out.is_empty() {
            return Ok(());
        }
        let Self { trainer, shared, held_out, .. } = self;
        let candidate_length = length(trainer, shared, held_out)?;
        let published_length = match self.published_length {
            Some(length) => length,
            None => trainer.with_published(&self.published, |trainer| length(trainer, shared, held_out))?,
        };
        if self.is_stopping() {
            return Ok(());
        }
        let is_accepted = candidate_length >= published_length;
        self.n_rejected = if is_accepted { 0 } else { self.n_rejected + 1 };
        if self.n_rejected == MAX_REJECTED {
            self.n_rejected = 0;
            self.trainer.go_back(&self.published)?;
        }
        self.published_length = Some(candidate_length.max(published_length));
        if is_accepted {
            self.publish(candidate_length)?;
        }
        let mut state = self.shared.state();
        let n_steps = state.status.n_steps;
        tracing::info!(is_accepted, published_length, candidate_length, n_steps, "trained");
        state.status.decisions.push(Decision { is_accepted, published_length, candidate_length, n_steps });
        Ok(())
    }

    /// Keeps the trainer's state, and lets drafts be made with it.
    fn publish(&mut self, mean_accepted_length: f64) -> Result<()> {
        self.published = self.trainer.publish()?;
        let (n_answers, n_tokens_trained) = {
            let status = &self.shared.state().status;
            (status.n_answers, status.n_tokens_trained)
        };
        let checkpoint = self.trainer.checkpoint(Progress {
            n_answers,
            n_tokens_trained,
            mean_accepted_length,
            buffer: (self.buffer.len(), self.buffer.size_bytes()),
            random: self.random.state(),
        });
        (self.keep)(&checkpoint);
        let snapshot = self.published.snapshot.clone();
        self.shared.change_published(|state| state.published = snapshot);
        Ok(())
    }
}

/// For each place of a sample, how many tokens in a row `trainer` guesses right; of fewer when it is to stop.
fn guess<T: Trainer>(trainer: &mut T, shared: &Shared, sample: &Sample) -> Result<Vec<usize>> {
    let bases: Vec<usize> = sample.bases().collect();
    let mut n_right = Vec::with_capacity(bases.len());
    for bases in bases.chunks(T::CHUNK_ROWS) {
        if shared.state().is_stopping {
            break;
        }
        n_right.extend(trainer.guess(sample, bases)?);
    }
    Ok(n_right)
}

/// Mean length that a draft of the held-out answers brings, the target's own token included.
fn length<T: Trainer>(trainer: &mut T, shared: &Shared, held_out: &VecDeque<Sample>) -> Result<f64> {
    let (mut n_right, mut n_rows) = (0, 0);
    for sample in held_out {
        let guessed = guess(trainer, shared, sample)?;
        n_right += guessed.iter().sum::<usize>();
        n_rows += guessed.len();
    }
    Ok(1.0 + n_right as f64 / n_rows.max(1) as f64)
}
