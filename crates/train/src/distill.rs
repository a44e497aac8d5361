//! A head learnt from files of answers.
//!
//! ```text
//! answers   →  some are held out, by a hash of their names; the places of the others make chunks of rows
//! epoch     →  all chunks in an order that seed and epoch fix; a step learns from the next few
//! rate      →  up over the first steps, then down along a cosine
//! evaluate  →  drafts replayed over the held-out answers: loss, and tokens a pass
//! ```
//! Where it is follows from the number of steps alone, so that a run goes on from a checkpoint as if it had never
//! stopped, bit for bit.

use nano_reasoning_model::fnv1a;

use crate::checkpoint::Progress;
use crate::{Checkpoint, Error, HeadTrainer, Random, Result, Sample, SampleFile};

/// How a head is learnt from files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistillOptions {
    /// Steps of the whole run.
    pub n_steps: u64,
    /// Chunks of a step.
    pub step_chunks: usize,
    /// Rows of a chunk at most: places of one text from which drafts are learnt.
    pub chunk_rows: usize,
    /// Largest learning rate.
    pub learning_rate: f32,
    /// Share of the steps in which the rate rises.
    pub warm_up: f32,
    /// What the rate ends at, as a share of the largest.
    pub last_rate: f32,
    /// One of so many answers is held out.
    pub hold_out: u64,
    /// Fixes the order.
    pub seed: u64,
}

impl Default for DistillOptions {
    /// As the shipped heads were trained, in smaller steps.
    fn default() -> Self {
        Self {
            n_steps: 1000,
            step_chunks: 4,
            chunk_rows: 64,
            learning_rate: 5e-4,
            warm_up: 0.02,
            last_rate: 0.03,
            hold_out: 10,
            seed: 1,
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistillStep {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss of its rows.
    pub loss: f32,
    /// Length of the gradient before it was cut.
    pub gradient: f32,
    /// How far it went.
    pub learning_rate: f32,
    /// Rows it learnt from.
    pub n_rows: usize,
}

/// How well the held-out answers are guessed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean loss of a row.
    pub loss: f64,
    /// Tokens a pass, the target's own included, with drafts as long as the training-time test.
    pub mean_accepted_length: f64,
    /// Rows.
    pub n_rows: usize,
}

/// Some rows of a sample.
#[derive(Clone, Copy)]
struct Chunk {
    sample: usize,
    /// Among the sample's bases.
    first: usize,
    n: usize,
}

/// A head, and the files that it learns from.
pub struct Distillation {
    trainer: HeadTrainer,
    samples: Vec<SampleFile>,
    held_out: Vec<SampleFile>,
    chunks: Vec<Chunk>,
    options: DistillOptions,
    /// An epoch and the order of its chunks.
    order: (u64, Vec<usize>),
    n_rows_trained: u64,
    /// What the last evaluation said of tokens a pass.
    mean_accepted_length: f64,
}

impl Distillation {
    /// What `trainer` shall learn from `files`.
    ///
    /// # Errors
    /// [`Error::NoSamples`] if they are too few.
    pub fn new(trainer: HeadTrainer, files: Vec<SampleFile>, options: DistillOptions) -> Result<Self> {
        let found = files.len();
        let (mut held_out, mut samples) = split(files, options.hold_out);
        samples.retain(|file| file.n_bases > 0);
        held_out.retain(|file| file.n_bases > 0);
        if samples.is_empty() || held_out.is_empty() {
            return Err(Error::NoSamples { found });
        }
        let mut chunks = Vec::new();
        let chunk_rows = options.chunk_rows.max(1);
        for (sample, file) in samples.iter().enumerate() {
            let firsts = (0..file.n_bases).step_by(chunk_rows);
            chunks.extend(firsts.map(|first| Chunk {
                sample,
                first,
                n: chunk_rows.min(file.n_bases - first),
            }));
        }
        let order = (0, order(chunks.len(), options.seed, 0));
        let (n_rows_trained, mean_accepted_length) = (0, 0.0);
        Ok(Self { trainer, samples, held_out, chunks, options, order, n_rows_trained, mean_accepted_length })
    }

    /// Who learns.
    pub fn trainer(&self) -> &HeadTrainer {
        &self.trainer
    }

    /// Answers that are learnt from, and that are held out.
    pub fn n_samples(&self) -> (usize, usize) {
        (self.samples.len(), self.held_out.len())
    }

    /// Rows of all answers that are learnt from.
    pub fn n_rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.n).sum()
    }

    /// Steps in which each row is learnt from once, rounded up.
    pub fn steps_of_epoch(&self) -> u64 {
        self.chunks.len().div_ceil(self.options.step_chunks.max(1)) as u64
    }

    /// Makes the run so many steps long.
    pub fn set_steps(&mut self, n_steps: u64) {
        self.options.n_steps = n_steps;
    }

    /// Whether all steps are taken.
    pub fn is_done(&self) -> bool {
        self.trainer.n_steps() >= self.options.n_steps
    }

    /// How it is set up.
    pub fn options(&self) -> &DistillOptions {
        &self.options
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// If a file is no longer what it was, or the loss is no number.
    pub fn step(&mut self) -> Result<DistillStep> {
        let (done, step_chunks) = (self.trainer.n_steps(), self.options.step_chunks.max(1) as u64);
        let chunks: Vec<Chunk> = (0..step_chunks).map(|i| self.chunk(done * step_chunks + i)).collect();
        let n_rows: usize = chunks.iter().map(|chunk| chunk.n).sum();
        let mut loss = 0.0;
        for chunk in chunks {
            let file = &self.samples[chunk.sample];
            let sample = file.load()?;
            let bases: Vec<usize> = sample.bases().skip(chunk.first).take(chunk.n).collect();
            let weight = chunk.n as f32 / n_rows as f32;
            self.trainer.forget_context();
            let of_chunk = self.trainer.learn(&sample, &bases, weight).map_err(named(file))?.loss;
            if !of_chunk.is_finite() {
                return Err(Error::Diverged { loss: of_chunk, step: done + 1, path: file.path.clone() });
            }
            loss += weight * of_chunk;
        }
        let learning_rate = self.rate(done);
        self.trainer.set_learning_rate(learning_rate);
        let gradient = self.trainer.step()?;
        self.n_rows_trained += n_rows as u64;
        Ok(DistillStep { step: done + 1, loss, gradient, learning_rate, n_rows })
    }

    /// The chunk that comes after `n` others.
    fn chunk(&mut self, n: u64) -> Chunk {
        let n_chunks = self.chunks.len() as u64;
        let epoch = n / n_chunks;
        if self.order.0 != epoch {
            self.order = (epoch, order(self.chunks.len(), self.options.seed, epoch));
        }
        self.chunks[self.order.1[(n % n_chunks) as usize]]
    }

    /// The learning rate after `done` steps.
    fn rate(&self, done: u64) -> f32 {
        let DistillOptions { n_steps, learning_rate, warm_up, last_rate, .. } = self.options;
        let share = (done as f32 + 1.0) / n_steps.max(1) as f32;
        let rise = if warm_up > 0.0 { (share / warm_up).min(1.0) } else { 1.0 };
        let fall = 0.5 * (1.0 + (std::f32::consts::PI * share.min(1.0)).cos());
        learning_rate * rise * (last_rate + (1.0 - last_rate) * fall)
    }

    /// How well the held-out answers are guessed now.
    ///
    /// # Errors
    /// If a file is no longer what it was.
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let (mut loss, mut n_rows) = (0.0, 0);
        let (mut n_right, mut n_passes) = (0, 0);
        for file in &self.held_out {
            let sample = file.load()?;
            let bases: Vec<usize> = sample.bases().collect();
            let mut right = Vec::new();
            for bases in bases.chunks(self.options.chunk_rows.max(1)) {
                self.trainer.forget_context();
                let scored = self.trainer.score(&sample, bases).map_err(named(file))?;
                loss += f64::from(scored.loss) * bases.len() as f64;
                right.extend(scored.n_right);
            }
            n_rows += bases.len();
            let of_sample = replay(&bases, &right);
            n_right += of_sample.0;
            n_passes += of_sample.1;
        }
        self.mean_accepted_length = 1.0 + n_right as f64 / n_passes.max(1) as f64;
        let mean_accepted_length = self.mean_accepted_length;
        Ok(Evaluation { loss: loss / n_rows.max(1) as f64, mean_accepted_length, n_rows })
    }

    /// All that the rest of the run depends on.
    pub fn checkpoint(&self) -> Checkpoint {
        self.trainer.checkpoint(Progress {
            n_answers: self.samples.len() as u64,
            n_tokens_trained: self.n_rows_trained,
            mean_accepted_length: self.mean_accepted_length,
            buffer: (self.samples.len(), self.n_rows()),
            random: self.options.seed,
        })
    }

    /// Goes on from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if it is of another target, head, strategy or seed; nothing is changed then.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let info = &checkpoint.info;
        if info.random != self.options.seed {
            let (found, wanted) = (format!("the seed {}", info.random), self.options.seed.to_string());
            return Err(Error::BadCheckpoint { found, wanted });
        }
        self.trainer.restore(checkpoint)?;
        self.n_rows_trained = info.n_tokens_trained;
        self.mean_accepted_length = info.mean_accepted_length;
        Ok(())
    }
}

/// Says which file it was.
fn named(file: &SampleFile) -> impl Fn(Error) -> Error + '_ {
    |error| match error {
        Error::BadSample => {
            let found = "tokens or lengths that do not fit the head".to_owned();
            Error::BadSampleFile { path: file.path.clone(), found, wanted: "an answer of its model".into() }
        }
        other => other,
    }
}

/// Whether the answer called `id` is held out does not depend on which others there are.
fn hash(id: &str) -> u64 {
    Random::new(fnv1a(id.bytes())).bits()
}

/// The files that are held out, and the others; both by name.
fn split(mut files: Vec<SampleFile>, hold_out: u64) -> (Vec<SampleFile>, Vec<SampleFile>) {
    files.sort_by(|a, b| a.info.id.cmp(&b.info.id));
    let (mut held_out, mut samples): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| hash(&file.info.id).is_multiple_of(hold_out.max(1)));
    if held_out.is_empty() && samples.len() > 1 {
        let first = (0..samples.len()).min_by_key(|&i| hash(&samples[i].info.id)).expect("there are some");
        held_out.push(samples.remove(first));
    }
    (held_out, samples)
}

/// The order of an epoch (Fisher and Yates).
fn order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut random = Random::new(seed ^ Random::new(epoch).bits());
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, random.below(i + 1));
    }
    order
}

/// Passes over a text whose drafts from `bases` are right for `right` tokens each: tokens that drafts bring, and passes.
fn replay(bases: &[usize], right: &[usize]) -> (usize, usize) {
    let (mut n_right, mut n_passes, mut next) = (0, 0, 0);
    for (&base, &right) in bases.iter().zip(right) {
        if base >= next {
            n_right += right;
            n_passes += 1;
            next = base + right + 1;
        }
    }
    (n_right, n_passes)
}

/// How often each token occurs in answers, most frequent first, the smaller first of equals.
#[derive(Debug, Clone, Default)]
pub struct TokenCounts(std::collections::BTreeMap<u32, u64>);

impl TokenCounts {
    /// Counts the tokens of the answer in `sample`.
    pub fn add(&mut self, sample: &Sample) {
        for (&token, _) in sample.tokens.iter().zip(&sample.is_answer).filter(|(_, is_answer)| **is_answer) {
            *self.0.entry(token).or_default() += 1;
        }
    }

    /// The `n` most frequent, or as many as there are.
    pub fn most_frequent(&self, n: usize) -> Vec<u32> {
        let mut tokens: Vec<(u32, u64)> = self.0.iter().map(|(&token, &count)| (token, count)).collect();
        tokens.sort_by_key(|&(token, count)| (std::cmp::Reverse(count), token));
        tokens.into_iter().take(n).map(|(token, _)| token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_passes_over_what_was_guessed() {
        assert_eq!(replay(&[3, 4, 5, 6, 7], &[0, 2, 9, 9, 1]), (3, 3));
        assert_eq!(replay(&[], &[]), (0, 0));
    }

    #[test]
    fn an_epoch_has_each_chunk_once_and_its_own_order() {
        let (first, second) = (order(50, 1, 0), order(50, 1, 1));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(first, second);
        assert_eq!(first, order(50, 1, 0));
    }

    #[test]
    fn tokens_come_most_frequent_first() {
        let mut counts = TokenCounts::default();
        let is_answer = vec![false, true, true, true, true, true];
        counts.add(&Sample { tokens: vec![1, 9, 4, 4, 7, 9], is_answer, ..Sample::default() });
        assert_eq!(counts.most_frequent(3), [4, 9, 7]);
        assert_eq!(counts.most_frequent(2), [4, 9]);
    }
}
