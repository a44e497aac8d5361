//! Qwen3: each head of queries and keys is normalised, then RoPE over the halves of a head.
//!
//! Source: Qwen3 technical report (2025), section 2; `modeling_qwen3.py` of transformers.

use crate::Result;
use crate::architecture::{Architecture, Kind, Pairing, Rotation, rotate};
use crate::config::{MAX_HEAD_DIM, ModelConfig};
use crate::weights::WeightSource;
use nano_reasoning_kernels::Kernels;

pub(crate) struct Qwen3 {
    head_dim: usize,
    rms_eps: f32,
    pairing: Pairing,
    layers: Vec<HeadNorms>,
}

struct HeadNorms {
    /// `[head_dim]`
    q: Vec<f32>,
    /// `[head_dim]`
    k: Vec<f32>,
}

impl HeadNorms {
    fn of(&self, kind: Kind) -> &[f32] {
        if kind == Kind::Query { &self.q } else { &self.k }
    }
}

impl Qwen3 {
    pub(crate) fn load(
        config: &ModelConfig,
        pairing: Pairing,
        weights: &mut dyn WeightSource,
    ) -> Result<Box<dyn Architecture>> {
        let mut layers = Vec::new();
        for layer in 0..config.n_layers {
            layers.push(HeadNorms {
                q: weights.vector(&format!("blk.{layer}.attn_q_norm.weight"), config.head_dim)?,
                k: weights.vector(&format!("blk.{layer}.attn_k_norm.weight"), config.head_dim)?,
            });
        }
        Ok(Box::new(Self { head_dim: config.head_dim, rms_eps: config.rms_eps, pairing, layers }))
    }
}

impl Architecture for Qwen3 {
    fn finish(&self, kernels: &Kernels, layer: usize, kind: Kind, heads: &mut [f32], rotation: Rotation) {
        let norm = self.layers[layer].of(kind);
        let mut before = [0.0; MAX_HEAD_DIM];
        let before = &mut before[..self.head_dim];
        for head in heads.chunks_exact_mut(self.head_dim) {
            before.copy_from_slice(head);
            kernels.rms_norm(before, norm, self.rms_eps, head);
        }
        rotate(kernels, self.pairing, heads, self.head_dim, rotation);
    }

    fn head_norm(&self, layer: usize, kind: Kind) -> Option<&[f32]> {
        Some(self.layers[layer].of(kind))
    }
}
