//! What sets one architecture of decoder-only transformers apart from the others.

use crate::config::ModelConfig;
use crate::weights::WeightSource;
use crate::{Result, llama, qwen2, qwen3};
use nano_reasoning_kernels::Kernels;

/// The angles of one position, `[n_rot / 2]` each.
#[derive(Clone, Copy)]
pub(crate) struct Rotation<'a> {
    pub(crate) cos: &'a [f32],
    pub(crate) sin: &'a [f32],
}

/// What happens to a token's queries, keys and values between their projections and attention. All else
/// the architectures share (`pass.rs`).
pub(crate) trait Architecture: Send + Sync {
    /// Finishes one token's queries, `[n_heads, head_dim]`, or keys, `[n_kv_heads, head_dim]`.
    fn finish(&self, kernels: &Kernels, layer: usize, kind: Kind, heads: &mut [f32], rotation: Rotation);

    /// Finishes one token's values, `[n_kv_heads, head_dim]`.
    fn finish_values(&self, _kernels: &Kernels, _layer: usize, _values: &mut [f32]) {}

    /// Weights of the norm that each head goes through before it is rotated, `[head_dim]`, if there is one. All else that
    /// [`Self::finish`] does before must be additions of constants: training goes back through norm and rotation alone.
    fn head_norm(&self, layer: usize, kind: Kind) -> Option<&[f32]>;
}

/// Which of the two projections that positions rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Key,
}

/// How a file pairs the dimensions of a head for RoPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// `(x[i], x[i + n])`
    Halves,
    /// `(x[2i], x[2i + 1])`
    Neighbours,
}

impl Pairing {
    /// In GGUF files.
    pub(crate) fn of_gguf(architecture: &str) -> Self {
        if architecture == "llama" { Self::Neighbours } else { Self::Halves }
    }
}

/// A constructor takes the architecture's own tensors out of the source.
type Load = fn(&ModelConfig, Pairing, &mut dyn WeightSource) -> Result<Box<dyn Architecture>>;

/// Architectures by the name that `general.architecture` has in a GGUF file.
const ALL: [(&str, Load); 3] =
    [("llama", llama::Llama::load), ("qwen2", qwen2::Qwen2::load), ("qwen3", qwen3::Qwen3::load)];

/// The architecture called `name`, with its name.
pub(crate) fn find(name: &str) -> Result<(&'static str, Load)> {
    ALL.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let supported = ALL.map(|(known, _)| known).join(", ");
        crate::Error::UnsupportedArchitecture { found: crate::error::printable(name), supported }
    })
}

/// Rotates each head of `heads` by the position's angles.
pub(crate) fn rotate(kernels: &Kernels, pairing: Pairing, heads: &mut [f32], head_dim: usize, by: Rotation) {
    for head in heads.chunks_exact_mut(head_dim) {
        match pairing {
            Pairing::Halves => kernels.rotate_halves(head, by.cos, by.sin),
            Pairing::Neighbours => kernels.rotate_neighbours(head, by.cos, by.sin),
        }
    }
}
