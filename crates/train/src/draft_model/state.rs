//! What a draft model has learnt: published, gone back to, and kept.

use std::sync::Arc;

use nano_reasoning_model::{Adapter, LayerAdapters, Projection, Snapshot, fnv1a};

use super::pass::MAX_SPAN;
use super::{DraftModelTrainer, DraftModelTraining};
use crate::checkpoint::{Numbers, Progress, SavedTensor, VERSION};
use crate::linear::Learnt;
use crate::trainer::{Published, Trainer};
use crate::{Checkpoint, CheckpointInfo, Fingerprints, Result, Sample, Scored};

/// Its name in checkpoints.
const STRATEGY: &str = "draft-model-lora";

impl DraftModelTrainer {
    /// What its weights and those beside it are recognised by.
    pub fn fingerprints(&self) -> &Fingerprints {
        let core = &self.rows.tokens()[..self.n_core];
        self.fingerprints.get_or_init(|| Fingerprints {
            target: format!("{:016x}", self.target.fingerprint()),
            drafter: format!("{:016x}", self.model.fingerprint()),
            vocabulary: format!("{:016x}", fnv1a(core.iter().copied())),
        })
    }

    /// Names and shapes of what is learnt, in the order of [`Self::parameters`].
    fn names(&self) -> Vec<(String, Vec<usize>)> {
        let mut names = Vec::new();
        for (i, (layer, learnt)) in self.model.layers().iter().zip(&self.learnt).enumerate() {
            for (projection, learnt) in Projection::ALL.into_iter().zip(learnt) {
                let named = learnt.named(layer.projection(projection)).into_iter();
                names.extend(
                    named.map(|(part, shape)| (format!("blk.{i}.{}.{part}", projection.name()), shape)),
                );
            }
        }
        names
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut layers = Vec::with_capacity(self.learnt.len());
        for learnt in &self.learnt {
            let mut adapters = LayerAdapters::default();
            for (projection, learnt) in Projection::ALL.into_iter().zip(learnt) {
                if let Learnt::LowRank { down, up, rank, scale } = learnt {
                    let up: Vec<f32> = up.value.iter().map(|value| value * scale).collect();
                    adapters.set(projection, Adapter::new(&self.pool, *rank, &down.value, &up)?);
                }
            }
            layers.push(adapters);
        }
        Ok(Snapshot::Adapters(layers))
    }
}

impl Trainer for DraftModelTrainer {
    type Training = DraftModelTraining;

    const CHUNK_ROWS: usize = MAX_SPAN;

    fn seed(&self) -> u64 {
        self.training.seed
    }

    fn draft_len(&self) -> usize {
        self.training.draft_len
    }

    fn n_steps(&self) -> u64 {
        self.n_steps
    }

    fn size_bytes(&self) -> usize {
        Self::size_bytes(self)
    }

    /// Nothing is tapped for it.
    fn prepare(&self, sample: &mut Sample) {
        sample.states = Vec::new();
    }

    fn guess(&mut self, sample: &Sample, bases: &[usize]) -> Result<Vec<usize>> {
        Self::guess(self, sample, bases)
    }

    fn learn(&mut self, sample: &Sample, bases: &[usize], weight: f32) -> Result<Scored> {
        Self::learn(self, sample, bases, weight)
    }

    fn step(&mut self) -> Result<f32> {
        Ok(Self::step(self))
    }

    fn unchanged(&self) -> Published {
        Published { snapshot: None, values: self.values() }
    }

    fn publish(&self) -> Result<Published> {
        Ok(Published { snapshot: Some(Arc::new(self.snapshot()?)), values: self.values() })
    }

    fn with_published<T>(&mut self, published: &Published, work: impl FnOnce(&mut Self) -> T) -> T {
        let values = self.values();
        self.set_values(&published.values);
        let found = work(self);
        self.set_values(&values);
        found
    }

    fn go_back(&mut self, published: &Published) -> Result<()> {
        self.set_values(&published.values);
        Ok(())
    }

    fn checkpoint(&self, progress: Progress) -> Checkpoint {
        let DraftModelTraining { rank, alpha, .. } = self.training;
        let Progress { n_answers, n_tokens_trained, mean_accepted_length, buffer, random } = progress;
        let info = CheckpointInfo {
            version: VERSION,
            strategy: STRATEGY.into(),
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
        let values = self.parameters().map(|parameter| Numbers::Value(parameter.value.clone()));
        let mut tensors: Vec<SavedTensor> = (self.names().into_iter().zip(values))
            .map(|((name, shape), numbers)| SavedTensor { name, shape, numbers })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Checkpoint { info, tensors }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.check(STRATEGY, self.fingerprints())?;
        let mut values = Vec::new();
        for (name, shape) in &self.names() {
            let numbers = checkpoint.tensor(name, shape, |numbers| matches!(numbers, Numbers::Value(_)))?;
            if let Numbers::Value(value) = numbers {
                values.push(value.clone());
            }
        }
        self.set_values(&values);
        self.n_steps = checkpoint.info.n_steps;
        Ok(())
    }
}
