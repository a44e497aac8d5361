//! What of a head is learnt: one decoder layer behind a fusion of the target's hidden states.

use super::config::HeadConfig;
use super::weights::HeadWeights;
use crate::Projection;
use crate::architecture::{Pairing, Rotation, rotate};
use crate::rope::Rope;
use nano_reasoning_kernels::{Kernels, PackedMatrix};
use std::sync::Arc;

/// Sizes and weights of a head. It may be shared: by the one who drafts and the one who trains.
pub struct HeadLayer {
    pub(super) config: HeadConfig,
    pub(super) weights: HeadWeights,
    rope: Arc<Rope>,
}

impl HeadLayer {
    pub(super) fn new(config: HeadConfig, weights: HeadWeights) -> crate::Result<Self> {
        let rope = Arc::new(Rope::new(&config.rope)?);
        Ok(Self { config, weights, rope })
    }

    /// A layer as this one with other matrices, in the order of [`Projection::ALL`], and other norms: input_layernorm,
    /// hidden_norm, post_attention_layernorm and the last. The fusion of taps is shared.
    ///
    /// # Panics
    /// If shapes differ.
    #[must_use]
    pub fn with(&self, matrices: [PackedMatrix; 7], norms: [Vec<f32>; 4]) -> Self {
        for (projection, matrix) in Projection::ALL.into_iter().zip(&matrices) {
            let own = self.projection(projection);
            let (found, wanted) = ((matrix.n_rows(), matrix.n_cols()), (own.n_rows(), own.n_cols()));
            assert_eq!(found, wanted, "shape of {}", projection.name());
        }
        assert!(norms.iter().all(|norm| norm.len() == self.config.hidden_dim), "lengths of norms");
        let [attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down] = matrices;
        let [attn_norm, attn_norm_2, ffn_norm, output_norm] = norms;
        let weights = HeadWeights {
            fc: self.weights.fc.clone(),
            attn_norm,
            attn_norm_2,
            attn_q,
            attn_k,
            attn_v,
            attn_output,
            ffn_norm,
            ffn_gate,
            ffn_up,
            ffn_down,
            output_norm,
        };
        Self { config: self.config.clone(), weights, rope: self.rope.clone() }
    }

    /// Its sizes.
    pub fn config(&self) -> &HeadConfig {
        &self.config
    }

    /// Its weights.
    pub fn weights(&self) -> &HeadWeights {
        &self.weights
    }

    /// A matrix of the decoder layer.
    pub fn projection(&self, projection: Projection) -> &PackedMatrix {
        let weights = &self.weights;
        match projection {
            Projection::Query => &weights.attn_q,
            Projection::Key => &weights.attn_k,
            Projection::Value => &weights.attn_v,
            Projection::Output => &weights.attn_output,
            Projection::Gate => &weights.ffn_gate,
            Projection::Up => &weights.ffn_up,
            Projection::Down => &weights.ffn_down,
        }
    }

    /// Cosines and sines of `position`, `[head_dim / 2]` each.
    pub fn rotation(&self, position: usize, cos: &mut [f32], sin: &mut [f32]) {
        self.rope.rotation(position, cos, sin);
    }

    /// Rotates heads side by side, `[n, head_dim]`, as the head's RoPE does. With `sin` negated it rotates back.
    pub fn rotate(&self, kernels: &Kernels, heads: &mut [f32], cos: &[f32], sin: &[f32]) {
        rotate(kernels, Pairing::Neighbours, heads, self.config.head_dim, Rotation { cos, sin });
    }
}
