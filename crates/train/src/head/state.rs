//! What a trainer has learnt: published, gone back to, and kept.

use std::sync::Arc;

use nano_reasoning_model::{Adapter, HeadValues, LayerAdapters, Projection, Snapshot, fnv1a};

use super::{HeadTrainer, HeadTraining, Norms, Sample, Scored, Strategy};
use crate::change::SCALE;
use crate::checkpoint::{Numbers, Progress, SavedTensor, VERSION};
use crate::linear::Learnt;
use crate::trainer::{Published, Trainer};
use crate::{Checkpoint, CheckpointInfo, Fingerprints, Parameter, Result};

/// How names of changes in 8 bits end.
const CHANGE: &str = ".change";

impl HeadTrainer {
    fn adapters(&self) -> Result<LayerAdapters> {
        let mut adapters = LayerAdapters::default();
        for (projection, learnt) in Projection::ALL.into_iter().zip(&self.learnt) {
            if let Learnt::LowRank { down, up, rank, scale } = learnt {
                let up: Vec<f32> = up.value.iter().map(|value| value * scale).collect();
                adapters.set(projection, Adapter::new(&self.pool, *rank, &down.value, &up)?);
            }
        }
        Ok(adapters)
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
            match learnt {
                Learnt::All(parameter) => value.clone_from(&parameter.value),
                Learnt::Change(change) => {
                    let changes = change.weights().to_vec();
                    value.iter_mut().zip(changes).for_each(|(value, change)| *value += change / SCALE);
                }
                Learnt::Nothing | Learnt::LowRank { .. } => {}
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

    /// What its weights and those beside it are recognised by.
    pub fn fingerprints(&self) -> &Fingerprints {
        self.fingerprints.get_or_init(|| Fingerprints {
            target: format!("{:016x}", self.target.fingerprint()),
            drafter: format!("{:016x}", self.head.fingerprint()),
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
            Strategy::All | Strategy::AllInt8 => (0, 0.0),
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
        let all = self.learnt.iter().chain([&self.fusion]);
        let matrices = all.flat_map(|learnt| {
            let change = if let Learnt::Change(change) = learnt { Some(change.save()) } else { None };
            change.map(Numbers::Change).into_iter().chain(learnt.parameters().map(plain))
        });
        let norms = self.norms.iter().flat_map(Norms::all).map(plain);
        let mut tensors: Vec<SavedTensor> = (self.names().into_iter().zip(matrices.chain(norms)))
            .map(|((name, shape), numbers)| SavedTensor { name, shape, numbers })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Checkpoint { info, tensors }
    }

    /// Goes on from `checkpoint`.
    ///
    /// # Errors
    /// [`crate::Error::BadCheckpoint`] if it is not of this target, head and strategy; nothing is changed then.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.check(self.training.strategy.name(), self.fingerprints())?;
        let names = self.names();
        let mut found = Vec::new();
        for (name, shape) in &names {
            let is_change = name.ends_with(CHANGE);
            found.push(checkpoint.tensor(name, shape, |numbers| match numbers {
                Numbers::Change(_) => is_change,
                Numbers::Plain(_) => !is_change,
                Numbers::Value(_) => false,
            })?);
        }
        let (changes, plain): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|n| matches!(n, Numbers::Change(_)));
        let mut changes = changes.into_iter();
        for learnt in &mut self.learnt {
            if let (Learnt::Change(change), Some(Numbers::Change(saved))) = (learnt, changes.next()) {
                change.restore(&self.pool, saved)?;
            }
        }
        for (parameter, numbers) in self.parameters_mut().zip(plain) {
            if let Numbers::Plain([value, first, second]) = numbers.clone() {
                parameter.value = value;
                parameter.moments = (first, second);
            }
        }
        self.n_steps = checkpoint.info.n_steps;
        Ok(())
    }
}

impl Trainer for HeadTrainer {
    type Training = HeadTraining;

    const CHUNK_ROWS: usize = 64;

    fn seed(&self) -> u64 {
        self.training.seed
    }

    fn draft_len(&self) -> usize {
        self.training.n_steps
    }

    fn n_steps(&self) -> u64 {
        self.n_steps
    }

    fn size_bytes(&self) -> usize {
        Self::size_bytes(self)
    }

    fn prepare(&self, sample: &mut Sample) {
        sample.states = self.fuse(&sample.states);
    }

    fn guess(&mut self, sample: &Sample, bases: &[usize]) -> Result<Vec<usize>> {
        Ok(self.score(sample, bases)?.n_right)
    }

    fn learn(&mut self, sample: &Sample, bases: &[usize], weight: f32) -> Result<Scored> {
        Self::learn(self, sample, bases, weight)
    }

    fn step(&mut self) -> Result<f32> {
        Self::step(self)
    }

    fn unchanged(&self) -> Published {
        Published { snapshot: None, values: self.values() }
    }

    fn publish(&self) -> Result<Published> {
        let snapshot = match self.training.strategy {
            Strategy::LowRank { .. } => Snapshot::Adapters(vec![self.adapters()?]),
            Strategy::All | Strategy::AllInt8 => {
                let mut matrices = Vec::new();
                for (projection, learnt) in Projection::ALL.into_iter().zip(&self.learnt) {
                    matrices.push(learnt.packed(&self.pool, self.matrix(projection))?);
                }
                let matrices = <[_; 7]>::try_from(matrices).ok().expect("one for each projection");
                let norms = self.norm_weights().map(<[f32]>::to_vec);
                Snapshot::Layer(Arc::new(self.head.with(matrices, norms)))
            }
        };
        Ok(Published { snapshot: Some(Arc::new(snapshot)), values: self.values() })
    }

    fn with_published<T>(&mut self, published: &Published, work: impl FnOnce(&mut Self) -> T) -> T {
        let values = self.values();
        self.set_values(&published.values);
        if self.training.strategy != Strategy::AllInt8 {
            let found = work(self);
            self.set_values(&values);
            return found;
        }
        // The layer has all changes in it.
        let learnt = std::mem::take(&mut self.learnt);
        let own = self.head.clone();
        if let Some(Snapshot::Layer(layer)) = published.snapshot.as_deref() {
            self.head = layer.clone();
        }
        let found = work(self);
        (self.head, self.learnt) = (own, learnt);
        self.set_values(&values);
        found
    }

    fn go_back(&mut self, published: &Published) -> Result<()> {
        self.set_values(&published.values);
        for (projection, learnt) in Projection::ALL.into_iter().zip(&mut self.learnt) {
            if let Learnt::Change(change) = learnt {
                let wanted = match published.snapshot.as_deref() {
                    Some(Snapshot::Layer(layer)) => Some(layer.projection(projection)),
                    _ => None,
                };
                change.go_to(&self.pool, self.head.projection(projection), wanted)?;
            }
        }
        Ok(())
    }

    fn checkpoint(&self, progress: Progress) -> Checkpoint {
        Self::checkpoint(self, progress)
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Self::restore(self, checkpoint)
    }
}

fn plain(parameter: &Parameter) -> Numbers {
    let (first, second) = parameter.moments.clone();
    Numbers::Plain([parameter.value.clone(), first, second])
}
