//! The trainer in the background: answers come in, adapters go out.
//!
//! ```text
//! answer   →  every fourth is held out; the others are learnt from, with some of the buffer
//! learn    →  steps, while nobody waits for an answer
//! gate     →  candidate and published adapters guess the held-out answers: the candidate is published if it is
//!             as good; after a few that are not, the trainer goes back to the published ones
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nano_reasoning_kernels::{Brake, Pool};
use nano_reasoning_model::{AdapterSlot, Eagle3Head, LayerAdapters};

use crate::head::HeadParts;
use crate::recorder::Outlet;
use crate::{
    BufferLimits, Checkpoint, CheckpointInfo, HeadTrainer, HeadTraining, Random, Recorder, Result, Sample,
    Strategy, TrainingBuffer,
};

/// How a background trainer works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskOptions {
    /// How the head is trained.
    pub training: HeadTraining,
    /// What is kept to learn from.
    pub buffer: BufferLimits,
    /// Threads at most.
    pub n_threads: usize,
    /// Rows of a step: places of a text from which drafts are learnt.
    pub step_rows: usize,
    /// How often each new token is learnt from, those of the buffer drawn meanwhile included.
    pub n_passes: f64,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            training: HeadTraining::default(),
            buffer: BufferLimits::default(),
            n_threads: 1,
            step_rows: 128,
            n_passes: 6.0,
        }
    }
}

/// Of the places where the drafter already guesses right, every so manyth is learnt from.
const ONE_OF_OTHERS: usize = 6;
/// Rejected candidates in a row after which the trainer goes back to what is published.
const MAX_REJECTED: usize = 3;
/// Rows of one sample that go through the head at once: more take more memory.
const CHUNK_ROWS: usize = 64;
/// Every so manyth answer is held out.
const HOLD_OUT: u64 = 4;
/// Answers held out at most, the latest.
const N_HELD_OUT: usize = 8;
/// Answers that may wait.
const N_WAITING: usize = 16;

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Whether it was published.
    pub is_accepted: bool,
    /// Mean accepted length on the held-out answers, by replay: of the published adapters, and of the candidate.
    pub published_length: f64,
    /// The candidate's.
    pub candidate_length: f64,
    /// Steps taken until then.
    pub n_steps: u64,
}

/// How far a background trainer is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainerStatus {
    /// Answers that came in.
    pub n_answers: u64,
    /// Tokens learnt from, repeats counted.
    pub n_tokens_trained: u64,
    /// Steps taken.
    pub n_steps: u64,
    /// Loss of the last step.
    pub loss: f32,
    /// Seconds at work, pauses left out.
    pub train_s: f64,
    /// What became of candidates, in order.
    pub decisions: Vec<Decision>,
    /// Bytes of samples.
    pub buffer_bytes: usize,
    /// Why it stopped for good.
    pub error: Option<String>,
}

struct Shared {
    brake: Arc<Brake>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    status: TrainerStatus,
    /// Answers taken in since the start.
    n_taken: u64,
    /// Answers received and not yet worked off.
    is_busy: bool,
    /// What drafts are made with, unless it is withheld.
    published: Option<Arc<LayerAdapters>>,
    is_withholding: bool,
    is_stopping: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a trainer remembers of earlier runs, and where it leaves what it learns.
pub struct Memory {
    /// Earlier states under names for people, the latest first.
    pub checkpoints: Vec<(String, Checkpoint)>,
    /// Gets each state that is published.
    pub keep: Box<dyn FnMut(&Checkpoint) + Send>,
}

impl Default for Memory {
    /// Nothing, and nowhere.
    fn default() -> Self {
        Self { checkpoints: Vec::new(), keep: Box::new(|_| ()) }
    }
}

/// A thread that trains a head on what its target says.
pub struct TrainerTask {
    shared: Arc<Shared>,
    slot: Arc<AdapterSlot>,
    outlet: Arc<Mutex<Outlet>>,
    thread: Option<JoinHandle<()>>,
}

impl TrainerTask {
    /// Starts a trainer for `head`, which takes the adapters it publishes. It goes on from the first checkpoint of `memory`
    /// that fits, and hands each state it publishes to it.
    ///
    /// # Errors
    /// If memory is short.
    pub fn start(head: &Eagle3Head, options: TaskOptions, memory: Memory) -> Result<Self> {
        let brake = Arc::new(Brake::default());
        let shared =
            Arc::new(Shared { brake: brake.clone(), state: Mutex::default(), changed: Condvar::new() });
        let (samples, received) = sync_channel(N_WAITING);
        let parts = HeadParts::of(head);
        let (of_worker, slot) = (shared.clone(), head.adapter_slot().clone());
        let (started, is_started) = sync_channel(1);
        let work = move || {
            lower_priority();
            // Threads of the pool inherit the priority.
            let pool = Arc::new(Pool::with_brake(options.n_threads, brake));
            match HeadTrainer::of_parts(parts, pool, options.training) {
                Ok(trainer) => {
                    let mut worker = Worker::new(of_worker, slot, trainer, options, memory.keep);
                    worker.go_on_from(memory.checkpoints);
                    let _ = started.send(Ok(()));
                    worker.run(&received);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("trainer".into()).spawn(work);
        let thread = thread.expect("the system can start a thread");
        is_started.recv().expect("the trainer says whether it starts")?;
        let outlet = Outlet { samples: Some(samples), is_open: true, n_sent: 0 };
        Ok(Self {
            shared,
            slot: head.adapter_slot().clone(),
            outlet: Arc::new(Mutex::new(outlet)),
            thread: Some(thread),
        })
    }

    /// One who hands answers on to the trainer.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(Box::new(self.outlet.clone()))
    }

    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether answers are learnt from, from now on.
    pub fn set_listening(&self, listens: bool) {
        self.outlet().is_open = listens;
    }

    /// Holds the trainer back while what it returns lives: somebody waits for an answer.
    pub fn pause(&self) -> Pause {
        self.shared.brake.pull();
        Pause(self.shared.brake.clone())
    }

    /// Whether drafts are made with what was learnt, from now on; if not, with the head as it was.
    pub fn set_publishing(&self, publishes: bool) {
        let mut state = self.shared.state();
        state.is_withholding = !publishes;
        self.slot.publish(state.published.clone().filter(|_| publishes));
    }

    /// How far it is.
    pub fn status(&self) -> TrainerStatus {
        self.shared.state().status.clone()
    }

    /// Waits until all answers that it was sent are worked off.
    pub fn wait(&self) {
        let n_answers = self.outlet().n_sent;
        let mut state = self.shared.state();
        while (state.n_taken < n_answers || state.is_busy) && state.status.error.is_none() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Holds a trainer back for as long as it lives.
pub struct Pause(Arc<Brake>);

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Drop for TrainerTask {
    fn drop(&mut self) {
        self.shared.state().is_stopping = true;
        self.outlet().samples = None;
        self.shared.brake.release();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    slot: Arc<AdapterSlot>,
    trainer: HeadTrainer,
    /// Values of the adapters that drafts are made with.
    published: Vec<Vec<f32>>,
    buffer: TrainingBuffer,
    held_out: VecDeque<Sample>,
    random: Random,
    options: TaskOptions,
    /// Tokens to learn from until the new answers are worked off.
    debt: f64,
    n_rejected: usize,
    keep: Box<dyn FnMut(&Checkpoint) + Send>,
}

impl Worker {
    fn new(
        shared: Arc<Shared>,
        slot: Arc<AdapterSlot>,
        trainer: HeadTrainer,
        options: TaskOptions,
        keep: Box<dyn FnMut(&Checkpoint) + Send>,
    ) -> Self {
        Self {
            shared,
            slot,
            published: trainer.values(),
            trainer,
            buffer: TrainingBuffer::new(options.buffer, options.training.seed),
            held_out: VecDeque::new(),
            random: Random::new(options.training.seed ^ 0x5eed),
            options,
            debt: 0.0,
            n_rejected: 0,
            keep,
        }
    }

    /// Goes on from the first of `checkpoints` that fits; the others are named.
    fn go_on_from(&mut self, checkpoints: Vec<(String, Checkpoint)>) {
        for (name, checkpoint) in checkpoints {
            let info = &checkpoint.info;
            let adapters = self.trainer.restore(&checkpoint).and_then(|()| self.trainer.adapters());
            match adapters {
                Ok(adapters) => {
                    self.published = self.trainer.values();
                    self.random = Random::new(info.random);
                    let mut state = self.shared.state();
                    state.status.n_answers = info.n_answers;
                    state.status.n_tokens_trained = info.n_tokens_trained;
                    state.status.n_steps = info.n_steps;
                    state.published = Some(Arc::new(adapters));
                    self.slot.publish(state.published.clone());
                    tracing::info!(name, n_steps = info.n_steps, "drafting goes on as learnt before");
                    return;
                }
                Err(error) => tracing::warn!(name, %error, "checkpoint not used"),
            }
        }
    }

    /// The published state, to be kept.
    fn checkpoint(&self, mean_accepted_length: f64) -> Checkpoint {
        let status = self.shared.state().status.clone();
        let (rank, alpha) = match self.options.training.strategy {
            Strategy::LowRank { rank, alpha } => (rank, alpha),
            Strategy::All => (0, 0.0),
        };
        let info = CheckpointInfo {
            version: CheckpointInfo::VERSION,
            strategy: if rank > 0 { "lora" } else { "eagle" }.into(),
            rank,
            alpha,
            belongs_to: self.trainer.fingerprints(),
            n_steps: self.trainer.n_steps(),
            n_answers: status.n_answers,
            n_tokens_trained: status.n_tokens_trained,
            mean_accepted_length,
            buffer: (self.buffer.len(), self.buffer.size_bytes()),
            random: self.random.state(),
        };
        Checkpoint { info, tensors: self.trainer.save() }
    }

    fn run(mut self, received: &Receiver<Sample>) {
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
        while self.debt > 0.0 {
            match received.try_recv() {
                Ok(sample) => self.take_in(sample)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            if self.shared.state().is_stopping {
                return Ok(());
            }
            self.step()?;
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
        sample.states = self.trainer.fuse(&sample.states);
        if n_answers % HOLD_OUT == HOLD_OUT - 1 {
            self.held_out.push_back(sample);
            if self.held_out.len() > N_HELD_OUT {
                self.held_out.pop_front();
            }
            return Ok(());
        }
        self.debt += sample.n_bases() as f64 * self.options.n_passes;
        let n_right = self.guess(&sample)?;
        self.buffer.add(sample, n_right);
        self.shared.state().status.buffer_bytes = self.buffer.size_bytes();
        Ok(())
    }

    /// For each place of a sample, how many tokens in a row the candidate guesses right.
    fn guess(&mut self, sample: &Sample) -> Result<Vec<usize>> {
        let bases: Vec<usize> = sample.bases().collect();
        let mut n_right = Vec::with_capacity(bases.len());
        for bases in bases.chunks(CHUNK_ROWS) {
            n_right.extend(self.trainer.score(sample, bases)?.n_right);
        }
        Ok(n_right)
    }

    /// Learns from some rows of some samples.
    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let TaskOptions { training, step_rows, .. } = self.options;
        let (mut n_rows, mut loss) = (0, 0.0);
        while n_rows < step_rows && self.debt > 0.0 {
            let Some(kept) = self.buffer.draw(training.n_steps) else { break };
            let places = kept.draw(CHUNK_ROWS, training.n_steps, ONE_OF_OTHERS, &mut self.random);
            // What the drafter knows already is looked at, too.
            let share = places.len() as f64 / kept.n_right.len().max(1) as f64;
            self.debt -= (kept.n_right.len() as f64).min(CHUNK_ROWS as f64 / share.max(0.01)).max(1.0);
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
            self.trainer.step();
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
        let candidate = self.trainer.values();
        let candidate_length = self.length()?;
        self.trainer.set_values(&self.published);
        let published_length = self.length()?;
        let is_accepted = candidate_length >= published_length;
        self.n_rejected = if is_accepted { 0 } else { self.n_rejected + 1 };
        if is_accepted || self.n_rejected < MAX_REJECTED {
            self.trainer.set_values(&candidate);
        } else {
            self.n_rejected = 0;
        }
        if is_accepted {
            self.published = candidate;
        }
        let adapters = if is_accepted { Some(Arc::new(self.trainer.adapters()?)) } else { None };
        let mut state = self.shared.state();
        if is_accepted {
            drop(state);
            let checkpoint = self.checkpoint(candidate_length);
            (self.keep)(&checkpoint);
            state = self.shared.state();
        }
        if let Some(adapters) = adapters {
            state.published = Some(adapters);
            if !state.is_withholding {
                self.slot.publish(state.published.clone());
            }
        }
        let n_steps = state.status.n_steps;
        tracing::info!(is_accepted, published_length, candidate_length, n_steps, "trained");
        state.status.decisions.push(Decision { is_accepted, published_length, candidate_length, n_steps });
        Ok(())
    }

    /// Mean length that a draft of the held-out answers brings, the target's own token included.
    fn length(&mut self) -> Result<f64> {
        let (mut n_right, mut n_rows) = (0, 0);
        let held_out = std::mem::take(&mut self.held_out);
        for sample in &held_out {
            let guessed = self.guess(sample)?;
            n_right += guessed.iter().sum::<usize>();
            n_rows += guessed.len();
        }
        self.held_out = held_out;
        Ok(1.0 + n_right as f64 / n_rows.max(1) as f64)
    }
}

/// Lets everybody else go first.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        // A thread's priority is its own there, under its id; failing only costs politeness.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
    }
}
