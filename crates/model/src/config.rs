//! Sizes and constants of a model.

use crate::rope::RopeConfig;
use crate::{Error, Result};

/// Largest head that the kernels attend with.
pub(crate) const MAX_HEAD_DIM: usize = 256;
/// Most query heads that may share a KV head.
pub(crate) const MAX_GROUP: usize = 64;
/// Longest context a file may claim: far above any model, low enough that no size overflows.
const MAX_CONTEXT_LEN: usize = 1 << 24;
/// No size in a configuration is larger.
const MAX_DIM: usize = 1 << 24;

/// What a model computes with. The keys it comes from differ by file format.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Name of the architecture, as GGUF files spell it.
    pub architecture: &'static str,
    /// Decoder layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub hidden_dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Heads with keys and values of their own.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width inside the feed-forward network.
    pub ffn_dim: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence, in tokens. For a model with sliding-window attention its window: within that,
    /// full attention is exactly what such a model computes.
    pub context_len: usize,
    /// Added to the mean square in every norm.
    pub rms_eps: f32,
    /// Rotary positions.
    pub rope: RopeConfig,
}

impl ModelConfig {
    /// Width of all queries of a token.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all keys of a token, and of its values.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Checks what tensors' shapes will not show. `key` gives a field's name in the file.
    pub(crate) fn check(self, key: impl Fn(&'static str) -> String) -> Result<Self> {
        let bad = |name, found: String, wanted: &str| {
            Err(Error::BadConfig { key: key(name), found, wanted: wanted.into() })
        };
        for (name, dim, max) in [
            ("n_layers", self.n_layers, MAX_DIM),
            ("hidden_dim", self.hidden_dim, MAX_DIM),
            ("n_heads", self.n_heads, MAX_DIM),
            ("n_kv_heads", self.n_kv_heads, MAX_DIM),
            ("ffn_dim", self.ffn_dim, MAX_DIM),
            ("context_len", self.context_len, MAX_CONTEXT_LEN),
        ] {
            if dim == 0 || dim > max {
                return bad(name, dim.to_string(), &format!("1 to {max}"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) || self.n_heads / self.n_kv_heads > MAX_GROUP {
            let wanted = format!("a divisor of the {} query heads, at least a {MAX_GROUP}th", self.n_heads);
            return bad("n_kv_heads", self.n_kv_heads.to_string(), &wanted);
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) || self.head_dim > MAX_HEAD_DIM {
            return bad("head_dim", self.head_dim.to_string(), "an even number up to 256");
        }
        if self.rms_eps.is_nan() || !(0.0..1.0).contains(&self.rms_eps) {
            return bad("rms_eps", self.rms_eps.to_string(), "0 to 1");
        }
        let n_rot = self.rope.n_rot;
        if n_rot == 0 || !n_rot.is_multiple_of(2) || n_rot > self.head_dim {
            let wanted = format!("an even number up to the head's {} dimensions", self.head_dim);
            return bad("n_rot", n_rot.to_string(), &wanted);
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            return bad("rope_theta", self.rope.theta.to_string(), "a number above 1");
        }
        Ok(self)
    }
}
