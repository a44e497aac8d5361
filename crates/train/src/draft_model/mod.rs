//! Training of adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) on a separate draft model, through its frozen, quantized
//! weights: at each place of an answer it is pulled to what the target says there.
//!
//! ```text
//! forwards    embeddings → layers, each of whose inputs are kept → norm → rows of the draft vocabulary
//! loss        at the places drawn, against the target's hidden state times the same rows of its own output matrix
//! backwards   from the last layer to the first, each computed again from its input
//! ```
//! That layers are computed twice (activation checkpointing, Chen et al. 2016, arXiv 1604.06174) saves the memory of all but
//! one: the 24 of Qwen2.5-Coder-0.5B would leave 2 MB a token and attention's weights beside, of which 86 kB are inputs.
//!
//! | file | what |
//! |---|---|
//! | `layer.rs` | a decoder layer, forwards and backwards |
//! | `pass.rs` | a window of a text through all of them, and the loss |
//! | `state.rs` | what was learnt: published, gone back to, kept |

mod layer;
mod pass;
mod state;

use std::sync::{Arc, OnceLock};

use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, DraftRows, Projection, SnapshotSlot};

use crate::linear::{Learnt, Machine};
use crate::{AdamW, Error, Fingerprints, Loss, Parameter, Random, Result, Sample, Scored};

/// A draft model, as whoever trains sees it.
pub struct DraftModel {
    /// Whose tokens it guesses.
    pub target: Arc<CpuModel>,
    /// Its weights.
    pub model: Arc<CpuModel>,
    /// Tokens that it can always propose, all of both vocabularies.
    pub core_vocab: Vec<u32>,
    /// Where the sequence that drafts takes from what is learnt.
    pub slot: Arc<SnapshotSlot>,
}

/// How a draft model is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftModelTraining {
    /// Rank of each adapter.
    pub rank: usize,
    /// Their scale, times the rank.
    pub alpha: f32,
    /// Matrices of each layer that have one.
    pub targets: &'static [Projection],
    /// Tokens of a draft that count when it is judged.
    pub draft_len: usize,
    /// What is minimised.
    pub loss: Loss,
    /// How steps are taken.
    pub adamw: AdamW,
    /// Where random numbers start.
    pub seed: u64,
}

impl Default for DraftModelTraining {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 16.0,
            targets: &Projection::ALL,
            draft_len: 3,
            loss: Loss { acceptance: 0.5 },
            adamw: AdamW::default(),
            seed: 1,
        }
    }
}

/// Trains adapters on a draft model beside its target.
pub struct DraftModelTrainer {
    target: Arc<CpuModel>,
    model: Arc<CpuModel>,
    /// Rows of the draft model's output matrix, and of the target's: the same tokens in the same order.
    rows: DraftRows,
    target_rows: DraftRows,
    /// Tokens of `core_vocab`; those after them came with samples.
    n_core: usize,
    pool: Arc<Pool>,
    training: DraftModelTraining,
    /// By layer, in the order of [`Projection::ALL`].
    learnt: Vec<[Learnt; 7]>,
    /// Steps taken.
    n_steps: u64,
    /// Once somebody asked: it takes a look at all matrices.
    fingerprints: OnceLock<Fingerprints>,
}

impl DraftModelTrainer {
    /// A trainer for `parts`; its adapters change nothing yet.
    ///
    /// # Errors
    /// If memory is short.
    pub fn new(parts: &DraftModel, pool: Arc<Pool>, training: DraftModelTraining) -> Result<Self> {
        let DraftModel { target, model, core_vocab, .. } = parts;
        let mut random = Random::new(training.seed);
        let mut learnt = Vec::new();
        for layer in model.layers() {
            let mut adapters: [Learnt; 7] = Default::default();
            for &projection in training.targets {
                let (matrix, draw) = (layer.projection(projection), &mut || random.normal());
                adapters[projection as usize] = Learnt::low_rank(matrix, training.rank, training.alpha, draw);
            }
            learnt.push(adapters);
        }
        Ok(Self {
            rows: DraftRows::new(model, core_vocab)?,
            target_rows: DraftRows::new(target, core_vocab)?,
            n_core: core_vocab.len(),
            target: target.clone(),
            model: model.clone(),
            pool,
            training,
            learnt,
            n_steps: 0,
            fingerprints: OnceLock::new(),
        })
    }

    /// Everything that is learnt, layer by layer.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.learnt.iter().flatten().flat_map(Learnt::parameters)
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.learnt.iter_mut().flatten().flat_map(Learnt::parameters_mut)
    }

    /// All numbers that are learnt, as they are now.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.parameters().map(|parameter| parameter.value.clone()).collect()
    }

    /// Goes on from `values`.
    ///
    /// # Panics
    /// If they are not another trainer's of the same shape.
    pub fn set_values(&mut self, values: &[Vec<f32>]) {
        for (parameter, value) in self.parameters_mut().zip(values) {
            parameter.value.copy_from_slice(value);
        }
    }

    /// How the places `bases` of `sample` do, without learning.
    ///
    /// # Errors
    /// [`Error::BadSample`].
    pub fn score(&mut self, sample: &Sample, bases: &[usize]) -> Result<Scored> {
        self.run(sample, bases, pass::Aim::Loss)
    }

    /// Adds what these places say to the gradients; their mean loss counts as `weight`.
    ///
    /// # Errors
    /// [`Error::BadSample`].
    pub fn learn(&mut self, sample: &Sample, bases: &[usize], weight: f32) -> Result<Scored> {
        self.run(sample, bases, pass::Aim::Gradients { weight })
    }

    /// How many tokens in a row it guesses right from each of `bases`, up to a draft's. For a greedy target it is what a
    /// draft from there brings, since up to its first error it reads just the text.
    ///
    /// # Errors
    /// [`Error::BadSample`].
    pub fn guess(&mut self, sample: &Sample, bases: &[usize]) -> Result<Vec<usize>> {
        Ok(self.run(sample, bases, pass::Aim::Guesses)?.n_right)
    }

    /// Takes a step along the gradients, and clears them. Returns their norm.
    pub fn step(&mut self) -> f32 {
        self.n_steps += 1;
        let (adamw, step, pool) = (self.training.adamw, self.n_steps, self.pool.clone());
        adamw.step(&pool, step, self.parameters_mut())
    }

    /// Bytes that stay from step to step: what is learnt, and the optimiser's moments.
    pub fn size_bytes(&self) -> usize {
        self.parameters().map(Parameter::size_bytes).sum()
    }

    fn machine(&self) -> Machine<'_> {
        Machine { kernels: self.model.kernels(), pool: &self.pool }
    }

    fn check(&self, sample: &Sample, bases: &[usize]) -> Result<()> {
        let n = sample.tokens.len();
        let vocab_size = self.model.config().vocab_size.min(self.target.config().vocab_size);
        let n_hidden = n.saturating_sub(sample.first_hidden);
        let is_whole = sample.is_answer.len() == n
            && sample.hidden.len() == n_hidden * self.target.config().hidden_dim
            && sample.tokens.iter().all(|&token| (token as usize) < vocab_size)
            && bases.is_sorted_by(|a, b| a < b)
            && bases
                .iter()
                .all(|&base| base + 2 < n && base + 1 >= sample.first_hidden && sample.is_answer[base + 2]);
        if is_whole { Ok(()) } else { Err(Error::BadSample) }
    }
}
