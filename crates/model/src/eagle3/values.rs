//! A head as plain numbers: where training starts and what comes of it.

use super::config::HeadConfig;
use super::layer::HeadLayer;
use super::weights::HeadWeights;
use crate::architecture::Pairing;
use crate::model::CpuModel;
use crate::rope::{RopeConfig, RopeScaling};
use crate::{Error, Result};
use nano_reasoning_kernels::PackedMatrix;
use std::sync::Arc;

/// Weights of a head as numbers, row-major, in the shapes and the order of rows of [`HeadWeights`].
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "as in HeadWeights")]
pub struct HeadValues {
    pub fc: Vec<f32>,
    pub attn_norm: Vec<f32>,
    pub attn_norm_2: Vec<f32>,
    pub attn_q: Vec<f32>,
    pub attn_k: Vec<f32>,
    pub attn_v: Vec<f32>,
    pub attn_output: Vec<f32>,
    pub ffn_norm: Vec<f32>,
    pub ffn_gate: Vec<f32>,
    pub ffn_up: Vec<f32>,
    pub ffn_down: Vec<f32>,
    pub output_norm: Vec<f32>,
}

impl HeadConfig {
    /// Sizes of a head for `target` that has none yet: those of one of its layers. It reads three layers: an early one,
    /// the middle and a late one.
    ///
    /// # Errors
    /// If heads cannot have the target's sizes.
    pub fn for_target(target: &CpuModel) -> Result<Self> {
        let config = &target.config;
        let mut taps = super::safetensors::default_taps(config.n_layers).to_vec();
        // In a model of a few layers these are not in order, or the same.
        taps.iter_mut().for_each(|tap| *tap = (*tap).min(config.n_layers - 1));
        taps.sort_unstable();
        taps.dedup();
        let head = Self {
            taps,
            hidden_dim: config.hidden_dim,
            vocab_size: config.vocab_size,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            ffn_dim: config.ffn_dim,
            rms_eps: config.rms_eps,
            rope: RopeConfig { n_rot: config.head_dim, theta: config.rope.theta, scaling: RopeScaling::None },
            context_len: config.context_len,
        };
        head.check(target, str::to_owned)
    }
}

impl HeadValues {
    /// The numbers of `layer`.
    pub fn of(layer: &HeadLayer) -> Self {
        let weights = &layer.weights;
        Self {
            fc: weights.fc.to_vec(),
            attn_norm: weights.attn_norm.clone(),
            attn_norm_2: weights.attn_norm_2.clone(),
            attn_q: weights.attn_q.to_vec(),
            attn_k: weights.attn_k.to_vec(),
            attn_v: weights.attn_v.to_vec(),
            attn_output: weights.attn_output.to_vec(),
            ffn_norm: weights.ffn_norm.clone(),
            ffn_gate: weights.ffn_gate.to_vec(),
            ffn_up: weights.ffn_up.to_vec(),
            ffn_down: weights.ffn_down.to_vec(),
            output_norm: weights.output_norm.clone(),
        }
    }

    /// Where a new head of the sizes of `config` starts: as the target's last layer behind its last tapped layer, with a
    /// little of everything else. `draw` gives numbers of mean 0 and variance 1.
    pub fn warm_start(target: &CpuModel, config: &HeadConfig, draw: &mut dyn FnMut() -> f32) -> Self {
        let hidden_dim = config.hidden_dim;
        let last = target.layers.last().expect("a model has a layer");
        let mut random = |n: usize, width: f32| (0..n).map(|_| draw() * width).collect::<Vec<f32>>();
        let n_fused = config.taps.len() * hidden_dim;
        let mut fc = random(hidden_dim * n_fused, 0.1 * WIDTH);
        for (i, row) in fc.chunks_exact_mut(n_fused).enumerate() {
            row[n_fused - hidden_dim + i] += 1.0;
        }
        // The half for the embedding is new; the other is the layer's own.
        let mut beside = |of_layer: Vec<f32>| {
            let mut wide = Vec::with_capacity(2 * of_layer.len());
            for row in of_layer.chunks_exact(hidden_dim) {
                wide.extend(random(hidden_dim, 0.25 * WIDTH));
                wide.extend_from_slice(row);
            }
            wide
        };
        let pairing = target.pairing;
        Self {
            fc,
            attn_norm: vec![1.0; hidden_dim],
            attn_norm_2: last.attn_norm.clone(),
            attn_q: beside(neighbours(last.attn_q.to_vec(), pairing, config)),
            attn_k: beside(neighbours(last.attn_k.to_vec(), pairing, config)),
            attn_v: beside(last.attn_v.to_vec()),
            attn_output: last.attn_output.to_vec(),
            ffn_norm: last.ffn_norm.clone(),
            ffn_gate: last.ffn_gate.to_vec(),
            ffn_up: last.ffn_up.to_vec(),
            ffn_down: last.ffn_down.to_vec(),
            output_norm: target.output_norm.clone(),
        }
    }

    /// Packs them as 32-bit numbers.
    pub(super) fn pack(&self, target: &CpuModel, config: &HeadConfig) -> Result<HeadWeights> {
        let (hidden_dim, ffn_dim) = (config.hidden_dim, config.ffn_dim);
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        let matrix = |name: &str, values: &[f32], n_rows: usize, n_cols: usize| {
            check(name, values, &[n_rows, n_cols])?;
            PackedMatrix::pack_f32(&target.pool, n_rows, n_cols, values)
                .map_err(|reason| Error::Pack { tensor: name.into(), reason })
        };
        let vector = |name: &str, values: &[f32]| {
            check(name, values, &[hidden_dim])?;
            Ok::<_, Error>(values.to_vec())
        };
        Ok(HeadWeights {
            fc: Arc::new(matrix("fc", &self.fc, hidden_dim, config.taps.len() * hidden_dim)?),
            attn_norm: vector("attn_norm", &self.attn_norm)?,
            attn_norm_2: vector("attn_norm_2", &self.attn_norm_2)?,
            attn_q: matrix("attn_q", &self.attn_q, q_dim, 2 * hidden_dim)?,
            attn_k: matrix("attn_k", &self.attn_k, kv_dim, 2 * hidden_dim)?,
            attn_v: matrix("attn_v", &self.attn_v, kv_dim, 2 * hidden_dim)?,
            attn_output: matrix("attn_output", &self.attn_output, hidden_dim, q_dim)?,
            ffn_norm: vector("ffn_norm", &self.ffn_norm)?,
            ffn_gate: matrix("ffn_gate", &self.ffn_gate, ffn_dim, hidden_dim)?,
            ffn_up: matrix("ffn_up", &self.ffn_up, ffn_dim, hidden_dim)?,
            ffn_down: matrix("ffn_down", &self.ffn_down, hidden_dim, ffn_dim)?,
            output_norm: vector("output_norm", &self.output_norm)?,
        })
    }
}

/// Standard deviation of numbers that nothing is known of, as transformers are initialised.
const WIDTH: f32 = 0.02;

fn check(name: &str, values: &[f32], wanted: &[usize]) -> Result<()> {
    if values.len() == wanted.iter().product::<usize>() {
        return Ok(());
    }
    Err(Error::WrongShape { tensor: name.into(), found: vec![values.len()], wanted: wanted.to_vec() })
}

/// Rows of queries or keys with those that RoPE pairs beside each other, as heads have them.
fn neighbours(values: Vec<f32>, pairing: Pairing, config: &HeadConfig) -> Vec<f32> {
    if pairing == Pairing::Neighbours {
        return values;
    }
    let (hidden_dim, head_dim) = (config.hidden_dim, config.head_dim);
    let mut ordered = Vec::with_capacity(values.len());
    for row in 0..values.len() / hidden_dim {
        let (head, i) = (row / head_dim, row % head_dim);
        let from = head * head_dim + i / 2 + i % 2 * (head_dim / 2);
        ordered.extend_from_slice(&values[from * hidden_dim..][..hidden_dim]);
    }
    ordered
}
