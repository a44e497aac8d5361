//! The trainer in the background: answers come in, adapters or a whole layer go out.
//!
//! ```text
//! answer   →  every fourth is held out for a time; the others are learnt from, with some of the buffer
//! learn    →  steps, while nobody waits for an answer
//! gate     →  candidate and what is published guess the held-out answers: the candidate is published if it is
//!             as good; after a few that are not, the trainer goes back to the published ones
//! ```

mod profile;
mod worker;

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nano_reasoning_kernels::{Brake, Pool};
use nano_reasoning_model::{Snapshot, SnapshotSlot};
use serde::Serialize;

use crate::head::TrainableHead;
use crate::recorder::Outlet;
use crate::trainer::Trainer;
use crate::{
    BufferLimits, DraftModel, DraftModelTrainer, DraftModelTraining, HeadTrainer, HeadTraining, Recorder,
    Result,
};
pub use profile::{Checkpoints, Profile};
use worker::Worker;

/// How a background trainer works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskOptions<T = HeadTraining> {
    /// How the drafter is trained.
    pub training: T,
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

impl Default for TaskOptions<DraftModelTraining> {
    /// A step an answer, and each answer three times: a look at one takes as long as dozens of a head's.
    fn default() -> Self {
        Self {
            training: DraftModelTraining::default(),
            buffer: BufferLimits::default(),
            n_threads: 1,
            step_rows: 32,
            n_passes: 3.0,
        }
    }
}

/// What share of the time a trainer may work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// From 0 to 1.
    pub share: f64,
    /// For people: why it is 0.
    pub reason: Option<&'static str>,
}

impl Allowance {
    /// All of it.
    pub const ALL: Self = Self { share: 1.0, reason: None };
}

/// Asked between steps, what share of the time the trainer may work from now on.
pub type MayWork = Box<dyn FnMut() -> Allowance + Send>;

/// Answers that may wait.
const N_WAITING: usize = 16;

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Whether it was published.
    pub is_accepted: bool,
    /// Mean accepted length on the held-out answers, by replay, of what was in use before.
    pub published_length: f64,
    /// The candidate's.
    pub candidate_length: f64,
    /// Steps taken until then.
    pub n_steps: u64,
}

/// How far a background trainer is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainerStatus {
    /// The profile in use.
    pub profile: String,
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
    /// Bytes of what is learnt and of the optimiser's moments.
    pub state_bytes: usize,
    /// Why it waits, if it was asked to.
    pub held_by: Option<&'static str>,
    /// Why it stopped for good.
    pub error: Option<String>,
}

struct Shared {
    brake: Arc<Brake>,
    slot: Arc<SnapshotSlot>,
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
    published: Option<Arc<Snapshot>>,
    is_withholding: bool,
    is_stopping: bool,
    /// Those who wait until all is worked off.
    n_waiting: usize,
}

impl State {
    /// Whether it is no time to rest.
    fn is_in_haste(&self) -> bool {
        self.is_stopping || self.n_waiting > 0
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what drafts shall be made with, and lets them.
    fn change_published(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.slot.publish(state.published.clone().filter(|_| !state.is_withholding));
    }
}

/// A thread that trains a drafter on what its target says.
pub struct TrainerTask {
    shared: Arc<Shared>,
    outlet: Arc<Mutex<Outlet>>,
    thread: Option<JoinHandle<()>>,
}

impl TrainerTask {
    /// Starts a trainer for `head`, which takes what it publishes. It begins with the first of `profiles`, a new one if
    /// there is none, and goes over to another when answers are more like that one's. It works as much as `may_work`
    /// allows, or as it can while somebody [waits](Self::wait) for it.
    ///
    /// # Errors
    /// If memory is short.
    pub fn start(
        head: TrainableHead,
        options: TaskOptions,
        profiles: Vec<Profile>,
        may_work: MayWork,
    ) -> Result<Self> {
        let slot = head.slot.clone();
        let trainer = move |pool| HeadTrainer::of_parts(head, pool, options.training);
        Self::start_with(slot, trainer, options, profiles, may_work)
    }

    /// As [`Self::start`], for a separate draft model.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_draft_model(
        model: DraftModel,
        options: TaskOptions<DraftModelTraining>,
        profiles: Vec<Profile>,
        may_work: MayWork,
    ) -> Result<Self> {
        let slot = model.slot.clone();
        let trainer = move |pool| DraftModelTrainer::new(&model, pool, options.training);
        Self::start_with(slot, trainer, options, profiles, may_work)
    }

    fn start_with<T: Trainer + 'static>(
        slot: Arc<SnapshotSlot>,
        trainer: impl FnOnce(Arc<Pool>) -> Result<T> + Send + 'static,
        options: TaskOptions<T::Training>,
        mut profiles: Vec<Profile>,
        may_work: MayWork,
    ) -> Result<Self> {
        if profiles.is_empty() {
            profiles.push(Profile::default());
        }
        let brake = Arc::new(Brake::default());
        let shared =
            Arc::new(Shared { brake: brake.clone(), slot, state: Mutex::default(), changed: Condvar::new() });
        let (samples, received) = sync_channel(N_WAITING);
        let of_worker = shared.clone();
        let (started, is_started) = sync_channel(1);
        let work = move || {
            lower_priority();
            // Threads of the pool inherit the priority.
            let pool = Arc::new(Pool::with_brake(options.n_threads, brake));
            let worker = trainer(pool).and_then(|trainer| {
                of_worker.state().status.state_bytes = trainer.size_bytes();
                Worker::new(of_worker, trainer, options, profiles, may_work)
            });
            match worker {
                Ok(worker) => {
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
        Ok(Self { shared, outlet: Arc::new(Mutex::new(outlet)), thread: Some(thread) })
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

    /// Whether drafts are made with what was learnt, from now on; if not, with the drafter as it was.
    pub fn set_publishing(&self, publishes: bool) {
        self.shared.change_published(|state| state.is_withholding = !publishes);
    }

    /// How far it is.
    pub fn status(&self) -> TrainerStatus {
        self.shared.state().status.clone()
    }

    /// Waits until all answers that it was sent are worked off.
    pub fn wait(&self) {
        let n_answers = self.outlet().n_sent;
        let mut state = self.shared.state();
        state.n_waiting += 1;
        self.shared.changed.notify_all();
        while (state.n_taken < n_answers || state.is_busy) && state.status.error.is_none() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.n_waiting -= 1;
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
        self.shared.changed.notify_all();
        self.outlet().samples = None;
        self.shared.brake.release();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
