//! Llama 2 and 3 and what shares their shape (SmolLM2, Mistral): RoPE, and nothing else.
//!
//! GGUF files permute the rows of `attn_q` and `attn_k` so that RoPE pairs neighbours; Hugging Face
//! folders keep halves.
//!
//! Source: Llama 2 (Touvron et al. 2023), section 2.2; `modeling_llama.py` of transformers.

use crate::Result;
use crate::architecture::{Architecture, Kind, Pairing, Rotation, rotate};
use crate::config::ModelConfig;
use crate::weights::WeightSource;
use nano_reasoning_kernels::Kernels;

pub(crate) struct Llama {
    head_dim: usize,
    pairing: Pairing,
}

impl Llama {
    pub(crate) fn load(
        config: &ModelConfig,
        pairing: Pairing,
        _weights: &mut dyn WeightSource,
    ) -> Result<Box<dyn Architecture>> {
        Ok(Box::new(Self { head_dim: config.head_dim, pairing }))
    }
}

impl Architecture for Llama {
    fn finish(&self, kernels: &Kernels, _layer: usize, _kind: Kind, heads: &mut [f32], rotation: Rotation) {
        rotate(kernels, self.pairing, heads, self.head_dim, rotation);
    }

    fn head_norm(&self, _layer: usize, _kind: Kind) -> Option<&[f32]> {
        None
    }
}
