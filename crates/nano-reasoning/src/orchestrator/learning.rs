//! Learning beside answering: how a trainer is set up.

use nano_reasoning_model::Eagle3Head;
use nano_reasoning_train::{
    AdamW, BufferLimits, Checkpoint, HeadTraining, Memory, Strategy, TaskOptions, TrainerTask,
};

use super::Machine;
use crate::Result;
use crate::checkpoints::CheckpointStore;
use crate::config::{LearningStrategy, Source};
use crate::hardware::Demand;

/// Step size for adapters where nobody set one: higher than for whole weights, as only a little is learnt.
const LEARNING_RATE: f32 = 5e-4;
/// Step size for a whole layer where nobody set one.
const LAYER_LEARNING_RATE: f32 = 5e-5;
/// Rows of a step for each of the settings' batch.
const ROWS_PER_BATCH: usize = 32;

/// Starts a trainer for `head` as the settings say.
pub(super) fn start(
    head: &Eagle3Head,
    machine: &Machine,
    store: Option<CheckpointStore>,
) -> Result<TrainerTask> {
    let settings = &machine.settings;
    let rate = &settings.learning_rate;
    let of_adapters = HeadTraining::default().strategy;
    let (strategy, usual_rate) = match settings.strategy.value {
        LearningStrategy::Eagle => (Strategy::AllInt8, LAYER_LEARNING_RATE),
        LearningStrategy::Frozen | LearningStrategy::Lora => (of_adapters, LEARNING_RATE),
    };
    let learning_rate = if rate.source == Source::Default { usual_rate } else { rate.value as f32 };
    let options = TaskOptions {
        training: HeadTraining {
            strategy,
            adamw: AdamW { learning_rate, ..AdamW::default() },
            ..HeadTraining::default()
        },
        buffer: BufferLimits {
            n_samples: settings.buffer_capacity.value as usize,
            ..BufferLimits::default()
        },
        n_threads: machine.n_threads,
        step_rows: ROWS_PER_BATCH * settings.batch_size.value as usize,
        ..TaskOptions::default()
    };
    let mut demand = Demand::new(settings.gpu_utilization_target.value);
    let may_work = Box::new(move || demand.allowance());
    Ok(TrainerTask::start(head, options, store.map_or_else(Memory::default, memory), may_work)?)
}

/// What a store remembers, read when it is asked for; each new state goes there, too.
fn memory(store: CheckpointStore) -> Memory {
    let checkpoints = store.paths().into_iter().rev().filter_map(|path| match CheckpointStore::read(&path) {
        Ok(checkpoint) => Some((path.display().to_string(), checkpoint)),
        Err(error) => {
            tracing::warn!(%error, "checkpoint not used");
            None
        }
    });
    let keep = move |checkpoint: &Checkpoint| {
        if let Err(error) = store.add(checkpoint) {
            tracing::warn!(%error, "what was learnt is not kept");
        }
    };
    Memory { checkpoints: Box::new(checkpoints), keep: Box::new(keep) }
}
