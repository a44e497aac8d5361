//! Profiles: what was learnt of one kind of text each, and which of them the texts at hand are like.
//!
//! Each answer that comes in is guessed with what every profile has published. Whose guesses of recent answers went
//! furthest is drafted with, and learns from what comes next.

use std::collections::VecDeque;

use crate::trainer::{Published, Trainer};
use crate::{Checkpoint, Result, Sample};

/// Earlier states under names for people, the latest first.
pub type Checkpoints = Box<dyn Iterator<Item = (String, Checkpoint)>>;

/// What a trainer remembers of one kind of text, and where it leaves what it learns of it.
pub struct Profile {
    /// What people call it.
    pub name: String,
    /// Where to go on from; none is asked for after one that fits.
    pub checkpoints: Box<dyn FnMut() -> Checkpoints + Send>,
    /// Gets each state that is published.
    pub keep: Box<dyn FnMut(&Checkpoint) + Send>,
}

impl Default for Profile {
    /// Nothing, and nowhere.
    fn default() -> Self {
        Self {
            name: "default".into(),
            checkpoints: Box::new(|| Box::new(std::iter::empty())),
            keep: Box::new(|_| ()),
        }
    }
}

/// A profile beside others that are in use.
pub(super) struct OpenProfile {
    pub(super) profile: Profile,
    /// What drafts are made with.
    pub(super) published: Published,
    pub(super) held_out: VecDeque<Sample>,
    /// Candidates in a row that were no better.
    pub(super) n_rejected: usize,
    /// How what is published does on the held-out answers, once that is known.
    pub(super) published_length: Option<f64>,
    /// Mean length that drafts of recent answers bring with what is published, once there was an answer.
    pub(super) recent_length: Option<f64>,
}

/// Share of the latest answer in the mean over recent ones.
const LATEST: f64 = 0.5;
/// How much longer another profile's drafts have to be before it takes over: less is chance.
const MARGIN: f64 = 1.02;
/// Places of an answer that are guessed to compare profiles: enough to tell kinds of text apart.
const N_COMPARED: usize = 64;

impl OpenProfile {
    pub(super) fn new(profile: Profile, published: Published) -> Self {
        Self {
            profile,
            published,
            held_out: VecDeque::new(),
            n_rejected: 0,
            published_length: None,
            recent_length: None,
        }
    }

    /// Counts an answer among the recent ones.
    pub(super) fn hear<T: Trainer>(&mut self, trainer: &mut T, sample: &Sample) -> Result<()> {
        let bases: Vec<usize> = sample.bases().take(N_COMPARED).collect();
        if bases.is_empty() {
            return Ok(());
        }
        let n_right = trainer.with_published(&self.published, |trainer| {
            let parts = bases.chunks(T::CHUNK_ROWS);
            parts.map(|part| Ok(trainer.guess(sample, part)?.iter().sum::<usize>())).sum::<Result<usize>>()
        })?;
        let length = 1.0 + n_right as f64 / bases.len() as f64;
        let before = self.recent_length.unwrap_or(length);
        self.recent_length = Some(before + LATEST * (length - before));
        Ok(())
    }
}

/// Which of `profiles` the recent answers are like, where `current` is the one in use.
pub(super) fn best(profiles: &[OpenProfile], current: usize) -> usize {
    let length = |i: usize| profiles[i].recent_length.unwrap_or(1.0);
    let longest = (0..profiles.len()).max_by(|&a, &b| length(a).total_cmp(&length(b))).unwrap_or(current);
    if length(longest) > MARGIN * length(current) { longest } else { current }
}
