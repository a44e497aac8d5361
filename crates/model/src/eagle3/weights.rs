//! What a head's file holds.

use super::config::HeadConfig;
use crate::Result;
use crate::weights::WeightSource;
use nano_reasoning_kernels::PackedMatrix;
use std::sync::Arc;

/// Weights of a head, named as llama.cpp names them.
pub struct HeadWeights {
    /// `[hidden_dim, n_taps · hidden_dim]`
    pub fc: Arc<PackedMatrix>,
    /// input_layernorm, `[hidden_dim]`
    pub attn_norm: Vec<f32>,
    /// hidden_norm, `[hidden_dim]`
    pub attn_norm_2: Vec<f32>,
    /// `[n_heads · head_dim, 2 · hidden_dim]`; RoPE pairs neighbours
    pub attn_q: PackedMatrix,
    /// `[n_kv_heads · head_dim, 2 · hidden_dim]`
    pub attn_k: PackedMatrix,
    /// `[n_kv_heads · head_dim, 2 · hidden_dim]`
    pub attn_v: PackedMatrix,
    /// `[hidden_dim, n_heads · head_dim]`
    pub attn_output: PackedMatrix,
    /// post_attention_layernorm, `[hidden_dim]`
    pub ffn_norm: Vec<f32>,
    /// `[ffn_dim, hidden_dim]`
    pub ffn_gate: PackedMatrix,
    /// `[ffn_dim, hidden_dim]`
    pub ffn_up: PackedMatrix,
    /// `[hidden_dim, ffn_dim]`
    pub ffn_down: PackedMatrix,
    /// `[hidden_dim]`
    pub output_norm: Vec<f32>,
}

impl HeadWeights {
    /// Takes all of them out of `source`.
    pub(super) fn read(config: &HeadConfig, source: &mut dyn WeightSource) -> Result<Self> {
        let (hidden_dim, ffn_dim) = (config.hidden_dim, config.ffn_dim);
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        Ok(Self {
            fc: Arc::new(source.matrix("fc.weight", hidden_dim, config.taps.len() * hidden_dim)?),
            attn_norm: source.vector("blk.0.attn_norm.weight", hidden_dim)?,
            attn_norm_2: source.vector("blk.0.attn_norm_2.weight", hidden_dim)?,
            attn_q: source.matrix("blk.0.attn_q.weight", q_dim, 2 * hidden_dim)?,
            attn_k: source.matrix("blk.0.attn_k.weight", kv_dim, 2 * hidden_dim)?,
            attn_v: source.matrix("blk.0.attn_v.weight", kv_dim, 2 * hidden_dim)?,
            attn_output: source.matrix("blk.0.attn_output.weight", hidden_dim, q_dim)?,
            ffn_norm: source.vector("blk.0.ffn_norm.weight", hidden_dim)?,
            ffn_gate: source.matrix("blk.0.ffn_gate.weight", ffn_dim, hidden_dim)?,
            ffn_up: source.matrix("blk.0.ffn_up.weight", ffn_dim, hidden_dim)?,
            ffn_down: source.matrix("blk.0.ffn_down.weight", hidden_dim, ffn_dim)?,
            output_norm: source.vector("output_norm.weight", hidden_dim)?,
        })
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let matrices = [
            &*self.fc,
            &self.attn_q,
            &self.attn_k,
            &self.attn_v,
            &self.attn_output,
            &self.ffn_gate,
            &self.ffn_up,
            &self.ffn_down,
        ];
        matrices.map(PackedMatrix::size_bytes).iter().sum()
    }
}
