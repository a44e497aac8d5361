//! What a head's file holds.

use nano_reasoning_kernels::PackedMatrix;

use crate::architecture::Pairing;

/// Weights of a head, named as llama.cpp names them.
pub(crate) struct HeadWeights {
    /// Layers of the target whose inputs it fuses.
    pub(crate) taps: Vec<usize>,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) ffn_dim: usize,
    pub(crate) rms_eps: f32,
    pub(crate) pairing: Pairing,
    /// `[hidden_dim, n_taps · hidden_dim]`
    pub(crate) fc: PackedMatrix,
    /// input_layernorm, `[hidden_dim]`
    pub(crate) attn_norm: Vec<f32>,
    /// hidden_norm, `[hidden_dim]`
    pub(crate) attn_norm_2: Vec<f32>,
    /// `[n_heads · head_dim, 2 · hidden_dim]`
    pub(crate) attn_q: PackedMatrix,
    /// `[n_kv_heads · head_dim, 2 · hidden_dim]`
    pub(crate) attn_k: PackedMatrix,
    /// `[n_kv_heads · head_dim, 2 · hidden_dim]`
    pub(crate) attn_v: PackedMatrix,
    /// `[hidden_dim, n_heads · head_dim]`
    pub(crate) attn_output: PackedMatrix,
    /// post_attention_layernorm, `[hidden_dim]`
    pub(crate) ffn_norm: Vec<f32>,
    /// `[ffn_dim, hidden_dim]`
    pub(crate) ffn_gate: PackedMatrix,
    /// `[ffn_dim, hidden_dim]`
    pub(crate) ffn_up: PackedMatrix,
    /// `[hidden_dim, ffn_dim]`
    pub(crate) ffn_down: PackedMatrix,
    /// `[hidden_dim]`
    pub(crate) output_norm: Vec<f32>,
}

impl HeadWeights {
    pub(crate) fn size_bytes(&self) -> usize {
        let matrices = [
            &self.fc,
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
