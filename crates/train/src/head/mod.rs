//! Training of an EAGLE-3 head by a training-time test (Li et al. 2025, arXiv 2503.01840): it drafts a few steps from
//! every place of a text, its own outputs fed back, and each step is pulled to what the target says.
//!
//! | file | what |
//! |---|---|
//! | `sample.rs` | what it learns from |
//! | `pass.rs` | the steps of a few rows, forwards |
//! | `gradient.rs` | and backwards |
//! | `state.rs` | what was learnt: published, gone back to, kept |

mod gradient;
mod pass;
mod sample;
mod state;

pub use sample::Sample;

use std::sync::{Arc, OnceLock};

use half::f16;
use nano_reasoning_kernels::{PackedMatrix, Pool};
use nano_reasoning_model::{CpuModel, DraftRows, Eagle3Head, HeadLayer, Projection, SnapshotSlot};

use crate::change::Change;
use crate::linear::{Learnt, Machine};
use crate::random::Random;
use crate::{AdamW, Error, Fingerprints, Loss, Parameter, Result};

/// What of a head is learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// Adapters beside its frozen matrices (LoRA).
    LowRank {
        /// Rank of each.
        rank: usize,
        /// Their scale, times the rank.
        alpha: f32,
    },
    /// All its matrices and norms, in 32 bits.
    All,
    /// All matrices and norms of its layer: the matrices by changes in 8 bits, with moments in 8 bits. What fuses the taps
    /// stays as it is, so that samples are kept fused.
    AllInt8,
}

impl Strategy {
    /// Its name in checkpoints.
    fn name(self) -> &'static str {
        match self {
            Self::LowRank { .. } => "lora",
            Self::All => "eagle",
            Self::AllInt8 => "eagle-int8",
        }
    }
}

/// How a head is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadTraining {
    /// What of it.
    pub strategy: Strategy,
    /// Steps of the training-time test.
    pub n_steps: usize,
    /// Weight of each step beside the one before.
    pub decay: f32,
    /// What is minimised.
    pub loss: Loss,
    /// How steps are taken.
    pub adamw: AdamW,
    /// Where random numbers start.
    pub seed: u64,
}

impl Default for HeadTraining {
    fn default() -> Self {
        Self {
            strategy: Strategy::LowRank { rank: 16, alpha: 16.0 },
            n_steps: 3,
            decay: 0.8,
            loss: Loss { acceptance: 0.5 },
            adamw: AdamW::default(),
            seed: 1,
        }
    }
}

/// Trains a head beside its target.
pub struct HeadTrainer {
    target: Arc<CpuModel>,
    head: Arc<HeadLayer>,
    rows: DraftRows,
    /// Tokens of the head's own list.
    n_core: usize,
    pool: Arc<Pool>,
    training: HeadTraining,
    /// Of the layer's matrices, in the order of [`Projection::ALL`].
    learnt: [Learnt; 7],
    /// Of the fusion of taps.
    fusion: Learnt,
    norms: Option<Norms>,
    /// Steps taken.
    n_steps: u64,
    /// Once somebody asked: it takes a look at all matrices.
    fingerprints: OnceLock<Fingerprints>,
}

/// A head, as whoever trains sees it: what is shared with the one that drafts.
pub struct TrainableHead {
    target: Arc<CpuModel>,
    layer: Arc<HeadLayer>,
    core: Vec<u32>,
    pub(crate) slot: Arc<SnapshotSlot>,
}

impl TrainableHead {
    /// What `head` shares.
    pub fn of(head: &Eagle3Head) -> Self {
        let (target, layer, slot) = (head.target().clone(), head.layer().clone(), head.slot().clone());
        Self { target, layer, core: head.core_vocab().to_vec(), slot }
    }
}

/// The norms' weights, where they are learnt, `[hidden_dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct Norms {
    attn_norm: Parameter,
    attn_norm_2: Parameter,
    ffn_norm: Parameter,
    output_norm: Parameter,
}

impl Norms {
    fn all(&self) -> [&Parameter; 4] {
        [&self.attn_norm, &self.attn_norm_2, &self.ffn_norm, &self.output_norm]
    }

    fn all_mut(&mut self) -> [&mut Parameter; 4] {
        [&mut self.attn_norm, &mut self.attn_norm_2, &mut self.ffn_norm, &mut self.output_norm]
    }
}

/// What some rows had to say, by step of the test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// Rows.
    pub n_rows: usize,
    /// Sum of all steps' losses, weighted, a row.
    pub loss: f32,
    /// For each row, how many tokens in a row it guesses right, up to the steps of the test.
    pub n_right: Vec<usize>,
}

impl HeadTrainer {
    /// A trainer for `head`, which drafts over rows of its target's output matrix.
    ///
    /// # Errors
    /// If memory is short.
    pub fn new(head: &Eagle3Head, pool: Arc<Pool>, training: HeadTraining) -> Result<Self> {
        Self::of_parts(TrainableHead::of(head), pool, training)
    }

    pub(crate) fn of_parts(parts: TrainableHead, pool: Arc<Pool>, training: HeadTraining) -> Result<Self> {
        let TrainableHead { target, layer, core, .. } = parts;
        let rows = DraftRows::new(&target, &core)?;
        let mut random = Random::new(training.seed);
        let mut learnt: [Learnt; 7] = Default::default();
        for (projection, learnt) in Projection::ALL.into_iter().zip(&mut learnt) {
            let matrix = layer.projection(projection);
            *learnt = match training.strategy {
                Strategy::LowRank { rank, alpha } => {
                    Learnt::low_rank(matrix, rank, alpha, &mut || random.normal())
                }
                Strategy::All => Learnt::all(matrix),
                Strategy::AllInt8 => Learnt::Change(Change::none(&pool, matrix.n_rows(), matrix.n_cols())?),
            };
        }
        let weights = layer.weights();
        let fusion =
            if training.strategy == Strategy::All { Learnt::all(&weights.fc) } else { Learnt::Nothing };
        let norms = (!matches!(training.strategy, Strategy::LowRank { .. })).then(|| {
            let [attn_norm, attn_norm_2, ffn_norm, output_norm] =
                [&weights.attn_norm, &weights.attn_norm_2, &weights.ffn_norm, &weights.output_norm]
                    .map(|norm| Parameter::new(norm.clone()));
            Norms { attn_norm, attn_norm_2, ffn_norm, output_norm }
        });
        Ok(Self {
            target,
            head: layer,
            rows,
            n_core: core.len(),
            pool,
            training,
            learnt,
            fusion,
            norms,
            n_steps: 0,
            fingerprints: OnceLock::new(),
        })
    }

    /// How it trains.
    pub fn training(&self) -> &HeadTraining {
        &self.training
    }

    /// Steps of the size `learning_rate` from now on.
    pub fn set_learning_rate(&mut self, learning_rate: f32) {
        self.training.adamw.learning_rate = learning_rate;
    }

    /// Everything that is learnt in 32 bits, in a fixed order.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        let matrices = self.learnt.iter().chain([&self.fusion]).flat_map(Learnt::parameters);
        matrices.chain(self.norms.iter().flat_map(Norms::all))
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let matrices = self.learnt.iter_mut().chain([&mut self.fusion]).flat_map(Learnt::parameters_mut);
        matrices.chain(self.norms.iter_mut().flat_map(Norms::all_mut))
    }

    /// Numbers that are learnt in 32 bits.
    pub fn n_parameters(&self) -> usize {
        self.parameters().map(|parameter| parameter.value.len()).sum()
    }

    /// All numbers that are learnt in 32 bits, as they are now.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.parameters().map(|parameter| parameter.value.clone()).collect()
    }

    /// Goes back to `values`, and forgets where gradients pointed.
    ///
    /// # Panics
    /// If they are not another trainer's of the same shape.
    pub fn set_values(&mut self, values: &[Vec<f32>]) {
        for (parameter, value) in self.parameters_mut().zip(values) {
            parameter.value.copy_from_slice(value);
        }
    }

    /// The tokens of the head's own list, most frequent first.
    pub fn core_vocab(&self) -> &[u32] {
        &self.rows.tokens()[..self.n_core]
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// Drafts over the head's own list of tokens again, without those that samples brought: what comes next does then
    /// not depend on what was before.
    pub fn forget_context(&mut self) {
        self.rows.truncate(self.n_core);
    }

    /// Fuses taps, `[n, n_taps, hidden_dim]`, as the frozen head does, to `[n, hidden_dim]`.
    pub fn fuse(&self, taps: &[f16]) -> Vec<f16> {
        let fc = &self.head.weights().fc;
        let mut fused = Vec::with_capacity(taps.len() / fc.n_cols() * fc.n_rows());
        for taps in taps.chunks(64 * fc.n_cols()) {
            let taps: Vec<f32> = taps.iter().map(|tap| tap.to_f32()).collect();
            let mut out = vec![0.0; taps.len() / fc.n_cols() * fc.n_rows()];
            self.machine().multiply_frozen(fc, &taps, &mut out);
            fused.extend(out.into_iter().map(f16::from_f32));
        }
        fused
    }

    /// How the rows that start from the entries `bases` of `sample` do, without learning.
    ///
    /// # Errors
    /// If the sample does not fit the head.
    pub fn score(&mut self, sample: &Sample, bases: &[usize]) -> Result<Scored> {
        let trace = self.forward(sample, bases)?;
        Ok(trace.scored)
    }

    /// Adds what these rows say to the gradients; their mean loss counts as `weight`.
    ///
    /// # Errors
    /// If the sample does not fit the head.
    pub fn learn(&mut self, sample: &Sample, bases: &[usize], weight: f32) -> Result<Scored> {
        let trace = self.forward(sample, bases)?;
        let scored = trace.scored.clone();
        self.backward(sample, bases, trace, weight);
        Ok(scored)
    }

    /// Takes a step along the gradients, and clears them. Returns their norm.
    ///
    /// # Errors
    /// If memory is short.
    pub fn step(&mut self) -> Result<f32> {
        self.n_steps += 1;
        let HeadTraining { adamw, seed, .. } = self.training;
        let step = self.n_steps;
        let mut square_norm = 0.0;
        for (number, learnt) in (1..).zip(&mut self.learnt) {
            if let Learnt::Change(change) = learnt {
                let seed = Random::new(seed ^ number << 48).bits();
                square_norm += change.step(&self.pool, &adamw, step, seed)?;
            }
        }
        let pool = self.pool.clone();
        let norm = f64::from(adamw.step(&pool, step, self.parameters_mut()));
        Ok((square_norm + norm * norm).sqrt() as f32)
    }

    /// Gradients of everything that is learnt, in the order of [`Self::parameters`] with the matrices' changes among them.
    pub fn gradients(&self) -> Vec<Vec<f32>> {
        let mut gradients = Vec::new();
        for learnt in self.learnt.iter().chain([&self.fusion]) {
            if let Learnt::Change(change) = learnt {
                gradients.push(change.gradient(&self.pool));
            }
            gradients.extend(learnt.parameters().map(|parameter| parameter.gradient.clone()));
        }
        gradients.extend(self.norms.iter().flat_map(Norms::all).map(|parameter| parameter.gradient.clone()));
        gradients
    }

    /// Bytes that stay from step to step: what is learnt, and the optimiser's moments.
    pub fn size_bytes(&self) -> usize {
        let matrices: usize = self.learnt.iter().chain([&self.fusion]).map(Learnt::size_bytes).sum();
        matrices + self.norms.iter().flat_map(Norms::all).map(Parameter::size_bytes).sum::<usize>()
    }

    fn machine(&self) -> Machine<'_> {
        Machine { kernels: self.target.kernels(), pool: &self.pool }
    }

    fn matrix(&self, projection: Projection) -> &PackedMatrix {
        self.head.projection(projection)
    }

    fn check(&self, sample: &Sample, bases: &[usize]) -> Result<()> {
        let config = self.head.config();
        let n = sample.tokens.len();
        let width = sample.states.len().checked_div(n).unwrap_or(0);
        let hidden_dim = config.hidden_dim;
        let is_wide_enough = width == hidden_dim || width == config.taps.len() * hidden_dim;
        let n_hidden = n.saturating_sub(sample.first_hidden);
        let is_whole = sample.is_answer.len() == n
            && sample.states.len() == n * width
            && sample.hidden.len() == n_hidden * hidden_dim
            && sample.tokens.iter().all(|&token| (token as usize) < config.vocab_size)
            && bases.iter().all(|&base| base + 2 < n && base + 1 >= sample.first_hidden);
        if is_whole && is_wide_enough { Ok(()) } else { Err(Error::BadSample) }
    }
}
