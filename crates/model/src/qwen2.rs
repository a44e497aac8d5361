//! Qwen2 and Qwen2.5: biases on queries, keys and values, then RoPE over the halves of a head.
//!
//! Source: Qwen2 technical report (2024), section 2.2; `modeling_qwen2.py` of transformers.

use crate::Result;
use crate::architecture::{Architecture, Kind, Pairing, Rotation, rotate};
use crate::config::ModelConfig;
use crate::weights::WeightSource;
use nano_reasoning_kernels::Kernels;

pub(crate) struct Qwen2 {
    head_dim: usize,
    pairing: Pairing,
    layers: Vec<Biases>,
}

struct Biases {
    /// `[n_heads, head_dim]`
    q: Vec<f32>,
    /// `[n_kv_heads, head_dim]`
    k: Vec<f32>,
    /// `[n_kv_heads, head_dim]`
    v: Vec<f32>,
}

impl Qwen2 {
    pub(crate) fn load(
        config: &ModelConfig,
        pairing: Pairing,
        weights: &mut dyn WeightSource,
    ) -> Result<Box<dyn Architecture>> {
        let mut layers = Vec::new();
        for layer in 0..config.n_layers {
            layers.push(Biases {
                q: weights.vector(&format!("blk.{layer}.attn_q.bias"), config.q_dim())?,
                k: weights.vector(&format!("blk.{layer}.attn_k.bias"), config.kv_dim())?,
                v: weights.vector(&format!("blk.{layer}.attn_v.bias"), config.kv_dim())?,
            });
        }
        Ok(Box::new(Self { head_dim: config.head_dim, pairing, layers }))
    }
}

impl Architecture for Qwen2 {
    fn finish(&self, kernels: &Kernels, layer: usize, kind: Kind, heads: &mut [f32], rotation: Rotation) {
        let biases = &self.layers[layer];
        kernels.add(heads, if kind == Kind::Query { &biases.q } else { &biases.k });
        rotate(kernels, self.pairing, heads, self.head_dim, rotation);
    }

    fn finish_values(&self, kernels: &Kernels, layer: usize, values: &mut [f32]) {
        kernels.add(values, &self.layers[layer].v);
    }

    fn head_norm(&self, _layer: usize, _kind: Kind) -> Option<&[f32]> {
        None
    }
}
