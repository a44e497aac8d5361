//! The work of the trainer's thread.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::profile::{self, OpenProfile, Profile};
use super::{Decision, MayWork, Shared, TaskOptions};
use crate::checkpoint::Progress;
use crate::trainer::Trainer;
use crate::{Random, Result, Sample, TrainingBuffer};

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
    profiles: Vec<OpenProfile>,
    /// The profile in use.
    current: usize,
    buffer: TrainingBuffer,
    random: Random,
    options: TaskOptions<T::Training>,
    /// Tokens to learn from until the new answers are worked off.
    debt: f64,
    may_work: MayWork,
}

impl<T: Trainer> Worker<T> {
    /// A worker that starts with the first of `profiles`, of which there is at least one.
    pub(super) fn new(
        shared: Arc<Shared>,
        trainer: T,
        options: TaskOptions<T::Training>,
        profiles: Vec<Profile>,
        may_work: MayWork,
    ) -> Result<Self> {
        let profiles = profiles.into_iter().map(|profile| OpenProfile::new(profile, trainer.unchanged()));
        let mut worker = Self {
            shared,
            profiles: profiles.collect(),
            current: 0,
            buffer: TrainingBuffer::new(options.buffer, trainer.seed()),
            random: Random::new(trainer.seed() ^ 0x5eed),
            trainer,
            options,
            debt: 0.0,
            may_work,
        };
        // The first comes last: it is the one to go on with.
        for i in (0..worker.profiles.len()).rev() {
            worker.take_up(i)?;
        }
        Ok(worker)
    }

    /// Goes on from the first checkpoint of profile `i` that fits, or from what it has published; the checkpoints that do
    /// not fit are named.
    fn take_up(&mut self, i: usize) -> Result<()> {
        self.current = i;
        self.debt = 0.0;
        self.buffer = TrainingBuffer::new(self.options.buffer, self.trainer.seed());
        let mut progress = (0, 0, 0);
        let mut is_found = false;
        for (name, checkpoint) in (self.profiles[i].profile.checkpoints)() {
            let info = &checkpoint.info;
            match self.trainer.restore(&checkpoint).and_then(|()| self.trainer.publish()) {
                Ok(published) => {
                    self.profiles[i].published = published;
                    self.random = Random::new(info.random);
                    progress = (info.n_answers, info.n_tokens_trained, info.n_steps);
                    tracing::info!(name, n_steps = info.n_steps, "drafting goes on as learnt before");
                    is_found = true;
                    break;
                }
                Err(error) => tracing::warn!(name, %error, "checkpoint not used"),
            }
        }
        if !is_found {
            self.trainer.go_back(&self.profiles[i].published)?;
        }
        let OpenProfile { profile, published, .. } = &self.profiles[i];
        let snapshot = published.snapshot.clone();
        self.shared.change_published(|state| {
            state.published = snapshot;
            state.status.profile.clone_from(&profile.name);
            (state.status.n_answers, state.status.n_tokens_trained, state.status.n_steps) = progress;
        });
        Ok(())
    }

    /// Goes over to another profile if the answer that came in shows that texts are of its kind.
    fn choose_profile(&mut self, sample: &Sample) -> Result<()> {
        if self.profiles.len() < 2 {
            return Ok(());
        }
        for profile in &mut self.profiles {
            profile.hear(&mut self.trainer, sample)?;
        }
        let best = profile::best(&self.profiles, self.current);
        if best == self.current {
            return Ok(());
        }
        let [from, to] = [self.current, best].map(|i| &self.profiles[i].profile.name);
        tracing::info!(from, to, "recent answers are better guessed with another profile");
        self.take_up(best)
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
        self.shared.state().n_taken += 1;
        self.trainer.prepare(&mut sample);
        self.choose_profile(&sample)?;
        let n_answers = {
            let mut state = self.shared.state();
            state.status.n_answers += 1;
            state.status.n_answers
        };
        if n_answers % HOLD_OUT == HOLD_OUT - 1 {
            let OpenProfile { held_out, published_length, .. } = &mut self.profiles[self.current];
            *published_length = None;
            held_out.push_back(sample);
            if held_out.len() <= N_HELD_OUT {
                return Ok(());
            }
            // It has served: what came after it judges from now on.
            let Some(oldest) = held_out.pop_front() else { return Ok(()) };
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
        let Self { trainer, shared, profiles, current, .. } = self;
        let OpenProfile { held_out, published, published_length, n_rejected, .. } = &mut profiles[*current];
        if held_out.is_empty() {
            return Ok(());
        }
        let candidate_length = length(trainer, shared, held_out)?;
        let length_before = match *published_length {
            Some(length) => length,
            None => trainer.with_published(published, |trainer| length(trainer, shared, held_out))?,
        };
        if shared.state().is_stopping {
            return Ok(());
        }
        let is_accepted = candidate_length >= length_before;
        *n_rejected = if is_accepted { 0 } else { *n_rejected + 1 };
        if *n_rejected == MAX_REJECTED {
            *n_rejected = 0;
            trainer.go_back(published)?;
        }
        *published_length = Some(candidate_length.max(length_before));
        let published_length = length_before;
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
        let published = self.trainer.publish()?;
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
        let current = &mut self.profiles[self.current];
        (current.profile.keep)(&checkpoint);
        let snapshot = published.snapshot.clone();
        current.published = published;
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
