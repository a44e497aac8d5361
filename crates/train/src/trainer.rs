//! What the task in the background needs of whoever trains, whatever it is that learns.

use std::sync::Arc;

use nano_reasoning_model::Snapshot;

use crate::checkpoint::Progress;
use crate::{Checkpoint, Result, Sample, Scored};

/// What drafts are made with, and what a trainer goes back to it by.
pub(crate) struct Published {
    /// `None` for the drafter as it was.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// What is learnt in 32 bits; the rest is in the snapshot.
    pub(crate) values: Vec<Vec<f32>>,
}

/// Trains a drafter on samples, step by step.
pub(crate) trait Trainer {
    /// How it trains.
    type Training: Copy + Send + 'static;

    /// Places of one sample that are worked on at once.
    const CHUNK_ROWS: usize;

    /// Where random numbers start.
    fn seed(&self) -> u64;

    /// Tokens of a draft that count.
    fn draft_len(&self) -> usize;

    /// Steps taken.
    fn n_steps(&self) -> u64;

    /// Bytes that stay from step to step.
    fn size_bytes(&self) -> usize;

    /// Makes of a sample that came in what is kept.
    fn prepare(&self, sample: &mut Sample);

    /// How many tokens in a row it guesses right from each of `bases`.
    ///
    /// # Errors
    /// If the sample does not fit.
    fn guess(&mut self, sample: &Sample, bases: &[usize]) -> Result<Vec<usize>>;

    /// Adds what these places say to the gradients; their mean loss counts as `weight`.
    ///
    /// # Errors
    /// If the sample does not fit.
    fn learn(&mut self, sample: &Sample, bases: &[usize], weight: f32) -> Result<Scored>;

    /// Takes a step along the gradients, and clears them. Returns their norm.
    ///
    /// # Errors
    /// If memory is short.
    fn step(&mut self) -> Result<f32>;

    /// The drafter as it was, before anything is learnt.
    fn unchanged(&self) -> Published;

    /// What was learnt, as inference takes it.
    ///
    /// # Errors
    /// If memory is short.
    fn publish(&self) -> Result<Published>;

    /// What `work` finds out with `published` in place of what was learnt since.
    fn with_published<T>(&mut self, published: &Published, work: impl FnOnce(&mut Self) -> T) -> T;

    /// Goes back to `published`; of changes in 8 bits, as nearly as they can say it.
    ///
    /// # Errors
    /// If memory is short.
    fn go_back(&mut self, published: &Published) -> Result<()>;

    /// Its state, for whoever is as far as `progress` says.
    fn checkpoint(&self, progress: Progress) -> Checkpoint;

    /// Goes on from `checkpoint`.
    ///
    /// # Errors
    /// [`crate::Error::BadCheckpoint`] if it is not of what is trained here; nothing is changed then.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()>;
}
