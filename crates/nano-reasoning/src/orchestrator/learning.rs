//! Learning beside answering: how a trainer is set up.

use nano_reasoning_train::{
    AdamW, BufferLimits, Checkpoint, Checkpoints, DraftModel, DraftModelTraining, HeadTraining, MayWork,
    Profile, Strategy, TaskOptions, TrainableHead, TrainerTask,
};

use super::{Drafters, Machine};
use crate::checkpoints::CheckpointStore;
use crate::config::{LearningStrategy, Setting, Source};
use crate::hardware::Demand;
use crate::{Error, Result};

/// Step size for adapters on a head where nobody set one: higher than for whole weights, as only a little is learnt.
const LEARNING_RATE: f64 = 5e-4;
/// Step size for a head's whole layer where nobody set one.
const LAYER_LEARNING_RATE: f64 = 5e-5;
/// Step size for adapters on a draft model where nobody set one.
const MODEL_LEARNING_RATE: f64 = 3e-4;
/// Rows of a step for each of the settings' batch.
const ROWS_PER_BATCH: usize = 32;
/// The same for a draft model: at 4, each answer is a step of its own.
const MODEL_ROWS_PER_BATCH: usize = 8;

/// What of a drafter can be trained.
pub(super) enum Trainable {
    /// A head.
    Head(TrainableHead),
    /// A separate draft model.
    DraftModel(DraftModel),
}

/// The step size where nobody set one, for whoever of `drafters` learns; `None` if nobody can.
pub(super) fn usual_rate(drafters: &Drafters, strategy: LearningStrategy) -> Option<Setting<f64>> {
    let (value, what) = match (&drafters.head, &drafters.model) {
        (Some(_), _) if strategy == LearningStrategy::Eagle => (LAYER_LEARNING_RATE, "all of a head's layer"),
        (Some(_), _) => (LEARNING_RATE, "adapters on a head"),
        (None, Some(_)) => (MODEL_LEARNING_RATE, "adapters on a draft model"),
        (None, None) => return None,
    };
    Some(Setting { value, source: Source::DefaultFor(what) })
}

/// Starts a trainer as the settings say, for adapters where they say that nothing is learnt; what it learns goes to `stores`.
///
/// # Errors
/// [`Error::NoLayerToLearn`] if a head's layer is asked for by flag and what drafts is a model; if memory is short.
pub(super) fn start(
    trainable: Trainable,
    machine: &Machine,
    stores: Vec<CheckpointStore>,
) -> Result<TrainerTask> {
    match trainable {
        Trainable::Head(head) => start_head(head, machine, stores),
        Trainable::DraftModel(model) => start_draft_model(model, machine, stores),
    }
}

/// Starts a trainer for `head` as the settings say. Of `stores` all are in use where adapters are learnt, some megabytes each;
/// of whole layers the first alone.
fn start_head(
    head: TrainableHead,
    machine: &Machine,
    mut stores: Vec<CheckpointStore>,
) -> Result<TrainerTask> {
    let strategy = match machine.settings.strategy.value {
        LearningStrategy::Eagle => Strategy::AllInt8,
        LearningStrategy::Frozen | LearningStrategy::Lora => HeadTraining::default().strategy,
    };
    if strategy == Strategy::AllInt8 {
        stores.truncate(1);
    }
    let training = HeadTraining { strategy, adamw: adamw(machine), ..HeadTraining::default() };
    let options = TaskOptions { training, ..TaskOptions::default() };
    Ok(TrainerTask::start(
        head,
        paced(options, machine, ROWS_PER_BATCH),
        profiles(stores),
        may_work(machine),
    )?)
}

/// Starts a trainer of adapters on a separate draft model as the settings say; `eagle` of a tier or file is about heads, and
/// adapters are what there is to learn here. Of `stores` the first is in use: another would take some 100 MB.
///
/// # Errors
/// [`Error::NoLayerToLearn`] if a head's layer is asked for by flag.
fn start_draft_model(
    model: DraftModel,
    machine: &Machine,
    mut stores: Vec<CheckpointStore>,
) -> Result<TrainerTask> {
    stores.truncate(1);
    let strategy = &machine.settings.strategy;
    if strategy.value == LearningStrategy::Eagle && matches!(strategy.source, Source::Flag(_)) {
        return Err(Error::NoLayerToLearn);
    }
    let options = TaskOptions {
        training: DraftModelTraining { adamw: adamw(machine), ..DraftModelTraining::default() },
        ..TaskOptions::default()
    };
    let options = paced(options, machine, MODEL_ROWS_PER_BATCH);
    Ok(TrainerTask::start_draft_model(model, options, profiles(stores), may_work(machine))?)
}

/// Steps of the size that the settings say.
fn adamw(machine: &Machine) -> AdamW {
    AdamW { learning_rate: machine.settings.learning_rate.value as f32, ..AdamW::default() }
}

/// What the settings say of threads, batches and samples.
fn paced<T>(options: TaskOptions<T>, machine: &Machine, rows_per_batch: usize) -> TaskOptions<T> {
    let settings = &machine.settings;
    let n_samples = settings.buffer_capacity.value as usize;
    TaskOptions {
        buffer: BufferLimits { n_samples, ..options.buffer },
        n_threads: machine.n_threads,
        step_rows: rows_per_batch * settings.batch_size.value as usize,
        ..options
    }
}

fn may_work(machine: &Machine) -> MayWork {
    let mut demand = Demand::new(machine.settings.gpu_utilization_target.value);
    Box::new(move || demand.allowance())
}

/// What stores remember, read when it is asked for; each new state goes where it belongs, too.
fn profiles(stores: Vec<CheckpointStore>) -> Vec<Profile> {
    stores.into_iter().map(profile).collect()
}

fn profile(store: CheckpointStore) -> Profile {
    let name = store.profile.clone();
    let to_read = store.clone();
    let checkpoints = move || -> Checkpoints {
        Box::new(to_read.paths().into_iter().rev().filter_map(|path| match CheckpointStore::read(&path) {
            Ok(checkpoint) => Some((path.display().to_string(), checkpoint)),
            Err(error) => {
                tracing::warn!(%error, "checkpoint not used");
                None
            }
        }))
    };
    let keep = move |checkpoint: &Checkpoint| {
        if let Err(error) = store.add(checkpoint) {
            tracing::warn!(%error, "what was learnt is not kept");
        }
    };
    Profile { name, checkpoints: Box::new(checkpoints), keep: Box::new(keep) }
}
