//! Training of an EAGLE-3 head by a training-time test (Li et al. 2025, arXiv 2503.01840): it drafts a few steps from
//! every place of a text, its own outputs fed back, and each step is pulled to what the target says.
//!
//! | file | what |
//! |---|---|
//! | `sample.rs` | what it learns from |
//! | `pass.rs` | the steps of a few rows, forwards |
//! | `gradient.rs` | and backwards |

mod gradient;
mod pass;
mod sample;

pub use sample::Sample;

use std::sync::{Arc, OnceLock};

use half::f16;
use nano_reasoning_kernels::{PackedMatrix, Pool};
use nano_reasoning_model::{
    Adapter, CpuModel, DraftRows, Eagle3Head, HeadLayer, HeadValues, LayerAdapters, Projection, fnv1a,
};

use crate::checkpoint::{Progress, SavedTensor, VERSION};
use crate::linear::{Learnt, Machine};
use crate::random::Random;
use crate::{AdamW, Checkpoint, CheckpointInfo, Error, Fingerprints, Loss, Parameter, Result};

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
    /// All its matrices and norms.
    All,
}

impl Strategy {
    /// Its name in checkpoints.
    fn name(self) -> &'static str {
        match self {
            Self::LowRank { .. } => "lora",
            Self::All => "eagle",
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

/// What of a head a trainer shares with whoever drafts.
pub(crate) struct HeadParts {
    target: Arc<CpuModel>,
    layer: Arc<HeadLayer>,
    core: Vec<u32>,
}

impl HeadParts {
    pub(crate) fn of(head: &Eagle3Head) -> Self {
        let (target, layer) = (head.target().clone(), head.layer().clone());
        Self { target, layer, core: head.core_vocab().to_vec() }
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
        Self::of_parts(HeadParts::of(head), pool, training)
    }

    pub(crate) fn of_parts(parts: HeadParts, pool: Arc<Pool>, training: HeadTraining) -> Result<Self> {
        let HeadParts { target, layer, core } = parts;
        let rows = DraftRows::new(&target, &core)?;
        let mut random = Random::new(training.seed);
        let learnt = Projection::ALL.map(|projection| match training.strategy {
            Strategy::LowRank { rank, alpha } => {
                Learnt::low_rank(layer.projection(projection), rank, alpha, &mut || random.normal())
            }
            Strategy::All => Learnt::all(layer.projection(projection)),
        });
        let weights = layer.weights();
        let (fusion, norms) = match training.strategy {
            Strategy::LowRank { .. } => (Learnt::Nothing, None),
            Strategy::All => {
                let [attn_norm, attn_norm_2, ffn_norm, output_norm] =
                    [&weights.attn_norm, &weights.attn_norm_2, &weights.ffn_norm, &weights.output_norm]
                        .map(|norm| Parameter::new(norm.clone()));
                (Learnt::all(&weights.fc), Some(Norms { attn_norm, attn_norm_2, ffn_norm, output_norm }))
            }
        };
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

    /// Everything that is learnt, in a fixed order.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        let matrices = self.learnt.iter().chain([&self.fusion]).flat_map(Learnt::parameters);
        matrices.chain(self.norms.iter().flat_map(Norms::all))
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let matrices = self.learnt.iter_mut().chain([&mut self.fusion]).flat_map(Learnt::parameters_mut);
        matrices.chain(self.norms.iter_mut().flat_map(Norms::all_mut))
    }

    /// Numbers that are learnt.
    pub fn n_parameters(&self) -> usize {
        self.parameters().map(|parameter| parameter.value.len()).sum()
    }

    /// All numbers that are learnt, as they are now.
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

    /// What its weights and those beside it are recognised by.
    pub fn fingerprints(&self) -> &Fingerprints {
        self.fingerprints.get_or_init(|| Fingerprints {
            target: format!("{:016x}", self.target.fingerprint()),
            head: format!("{:016x}", self.head.fingerprint()),
            vocabulary: format!("{:016x}", fnv1a(self.core_vocab().iter().copied())),
        })
    }

    /// Names and shapes of what is learnt, in the order of [`Self::parameters`].
    fn names(&self) -> Vec<(String, Vec<usize>)> {
        let matrices = Projection::ALL.map(|projection| (projection.name(), self.matrix(projection)));
        let fusion = ("fc", &*self.head.weights().fc);
        let mut names = Vec::new();
        for ((name, weights), learnt) in
            matrices.into_iter().chain([fusion]).zip(self.learnt.iter().chain([&self.fusion]))
        {
            let named = learnt.named(weights).into_iter();
            names.extend(named.map(|(part, shape)| (format!("{name}.{part}"), shape)));
        }
        if let Some(norms) = &self.norms {
            let norms = ["attn_norm", "attn_norm_2", "ffn_norm", "output_norm"].into_iter().zip(norms.all());
            names.extend(norms.map(|(name, norm)| (format!("{name}.weight"), vec![norm.value.len()])));
        }
        names
    }

    /// Its state, for whoever is as far as `progress` says.
    pub(crate) fn checkpoint(&self, progress: Progress) -> Checkpoint {
        let strategy = self.training.strategy;
        let (rank, alpha) = match strategy {
            Strategy::LowRank { rank, alpha } => (rank, alpha),
            Strategy::All => (0, 0.0),
        };
        let Progress { n_answers, n_tokens_trained, mean_accepted_length, buffer, random } = progress;
        let info = CheckpointInfo {
            version: VERSION,
            strategy: strategy.name().into(),
            rank,
            alpha,
            belongs_to: self.fingerprints().clone(),
            n_steps: self.n_steps,
            n_answers,
            n_tokens_trained,
            mean_accepted_length,
            buffer,
            random,
        };
        let tensors = self.names().into_iter().zip(self.parameters());
        let mut tensors: Vec<SavedTensor> = tensors
            .map(|((name, shape), parameter)| {
                let (first, second) = parameter.moments.clone();
                SavedTensor { name, shape, numbers: [parameter.value.clone(), first, second] }
            })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Checkpoint { info, tensors }
    }

    /// Goes on from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if it is not of this target, head and strategy; nothing is changed then.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let info = &checkpoint.info;
        let wanted = self.training.strategy.name();
        if info.strategy != wanted {
            let found = format!("a checkpoint of the strategy {}", info.strategy);
            return Err(Error::BadCheckpoint { found, wanted: wanted.into() });
        }
        let own = self.fingerprints();
        let pairs = [
            ("target", &info.belongs_to.target, &own.target),
            ("head", &info.belongs_to.head, &own.head),
            ("vocabulary", &info.belongs_to.vocabulary, &own.vocabulary),
        ];
        for (what, found, wanted) in pairs {
            if found != wanted {
                let found = format!("a checkpoint for the {what} {found}");
                return Err(Error::BadCheckpoint { found, wanted: wanted.clone() });
            }
        }
        let names = self.names();
        let mut found = Vec::new();
        for (name, shape) in &names {
            let tensor = checkpoint.tensors.iter().find(|tensor| tensor.name == *name);
            let tensor = tensor.filter(|tensor| tensor.shape == *shape);
            found.push(tensor.ok_or_else(|| Error::BadCheckpoint {
                found: format!("a checkpoint of {} tensors", checkpoint.tensors.len()),
                wanted: format!("one with {name} of shape {shape:?}: was it trained with another rank?"),
            })?);
        }
        for (parameter, tensor) in self.parameters_mut().zip(found) {
            let [value, first, second] = tensor.numbers.clone();
            parameter.value = value;
            parameter.moments = (first, second);
        }
        self.n_steps = info.n_steps;
        Ok(())
    }

    /// The tokens of the head's own list, most frequent first.
    pub fn core_vocab(&self) -> &[u32] {
        &self.rows.tokens()[..self.n_core]
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// The head as it is with what is learnt in place of its own; adapters are not in it.
    pub fn head_values(&self) -> HeadValues {
        let mut values = HeadValues::of(&self.head);
        let [q, k, v, output, gate, up, down] = &self.learnt;
        let matrices = [
            (q, &mut values.attn_q),
            (k, &mut values.attn_k),
            (v, &mut values.attn_v),
            (output, &mut values.attn_output),
            (gate, &mut values.ffn_gate),
            (up, &mut values.ffn_up),
            (down, &mut values.ffn_down),
            (&self.fusion, &mut values.fc),
        ];
        for (learnt, value) in matrices {
            if let Learnt::All(parameter) = learnt {
                value.clone_from(&parameter.value);
            }
        }
        if let Some(norms) = &self.norms {
            let values = [
                &mut values.attn_norm,
                &mut values.attn_norm_2,
                &mut values.ffn_norm,
                &mut values.output_norm,
            ];
            values.into_iter().zip(norms.all()).for_each(|(value, norm)| value.clone_from(&norm.value));
        }
        values
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
    pub fn step(&mut self) -> f32 {
        self.n_steps += 1;
        let (adamw, step) = (self.training.adamw, self.n_steps);
        adamw.step(step, self.parameters_mut())
    }

    /// The adapters as inference takes them; without any where the matrices themselves are learnt.
    ///
    /// # Errors
    /// If memory is short.
    pub fn adapters(&self) -> Result<LayerAdapters> {
        let mut adapters = LayerAdapters::default();
        for (projection, learnt) in Projection::ALL.into_iter().zip(&self.learnt) {
            if let Learnt::LowRank { down, up, rank, scale } = learnt {
                let up: Vec<f32> = up.value.iter().map(|value| value * scale).collect();
                adapters.set(projection, Adapter::new(&self.pool, *rank, &down.value, &up)?);
            }
        }
        Ok(adapters)
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
