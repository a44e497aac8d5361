//! Sizes and constants of a head, whatever its file.

use crate::model::CpuModel;
use crate::rope::RopeConfig;
use crate::{Error, Result};

/// What the messages of a head's loader call it.
pub(super) const ARCHITECTURE: &str = "eagle3";
/// Variants of EAGLE-3.1 that are not computed here, under the names that all formats share.
pub(super) const FLAGS: [&str; 4] = ["norm_before_residual", "norm_before_fc", "norm_output", "fc_norm"];
/// Layers that a head may read.
const MAX_TAPS: usize = 16;
const MAX_HEADS: usize = 1024;

/// A head's configuration.
#[derive(Debug, Clone)]
pub struct HeadConfig {
    /// Layers of the target whose inputs it fuses, ascending.
    pub taps: Vec<usize>,
    /// Of the head's own hidden states and of the target's, which must be the same.
    pub hidden_dim: usize,
    /// Of the target.
    pub vocab_size: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Heads of keys and values.
    pub n_kv_heads: usize,
    /// Width of each.
    pub head_dim: usize,
    /// Width between the halves of the feed-forward.
    pub ffn_dim: usize,
    /// What keeps a norm from dividing by 0.
    pub rms_eps: f32,
    /// Positions.
    pub rope: RopeConfig,
    /// Tokens it was made for.
    pub context_len: usize,
}

impl HeadConfig {
    /// Width of a token's queries.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of a token's keys, and of its values.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Checks it against the target. `key` is the file's name of a field.
    pub(super) fn check(self, target: &CpuModel, key: impl Fn(&str) -> String) -> Result<Self> {
        let bad = |field: &str, found: String, wanted: String| {
            Err(Error::BadConfig { key: key(field), found, wanted })
        };
        let config = &target.config;
        for (field, found, wanted) in [
            ("hidden_dim", self.hidden_dim, config.hidden_dim),
            ("vocab_size", self.vocab_size, config.vocab_size),
        ] {
            if found != wanted {
                return Err(Error::HeadMismatch { key: key(field), found, wanted });
            }
        }
        if self.n_heads == 0 || self.n_heads > MAX_HEADS {
            return bad("n_heads", self.n_heads.to_string(), format!("1 to {MAX_HEADS}"));
        }
        let max = crate::config::MAX_GROUP;
        let group = self.n_heads.checked_div(self.n_kv_heads).unwrap_or(0);
        if group * self.n_kv_heads != self.n_heads || group > max {
            let wanted = format!("a divisor of the {} query heads, at least a {max}th", self.n_heads);
            return bad("n_kv_heads", self.n_kv_heads.to_string(), wanted);
        }
        let max = crate::config::MAX_HEAD_DIM;
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) || self.head_dim > max {
            return bad("head_dim", self.head_dim.to_string(), format!("an even number up to {max}"));
        }
        if self.rope.n_rot != self.head_dim {
            let (found, wanted) = (self.rope.n_rot.to_string(), format!("{}, all of a head", self.head_dim));
            return Err(Error::UnsupportedFeature { key: key("n_rot"), found, wanted });
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            return bad("rope_theta", self.rope.theta.to_string(), "a number above 1".into());
        }
        if self.ffn_dim == 0 {
            return bad("ffn_dim", "0".into(), "at least 1".into());
        }
        if !(0.0..1.0).contains(&self.rms_eps) {
            return bad("rms_eps", self.rms_eps.to_string(), "0 to 1".into());
        }
        let taps = &self.taps;
        let is_sound = !taps.is_empty() && taps.len() <= MAX_TAPS && taps.is_sorted_by(|a, b| a < b);
        if !is_sound || taps.iter().any(|&layer| layer >= config.n_layers) {
            let wanted = format!("ascending layers of the target's {}", config.n_layers);
            return bad("taps", format!("{taps:?}"), wanted);
        }
        Ok(self)
    }
}

/// The tokens that `ids` lists, most frequent first.
pub(super) fn core_list(ids: impl Iterator<Item = i64>, vocab_size: usize) -> Result<Vec<u32>> {
    let mut is_seen = vec![false; vocab_size];
    let mut core = Vec::new();
    let bad = |found: String| Error::BadConfig {
        key: "d2t".into(),
        found,
        wanted: format!("a list of tokens below {vocab_size}, each at most once"),
    };
    for id in ids {
        let token = usize::try_from(id).ok().filter(|&id| id < vocab_size && !is_seen[id]);
        let token = token.ok_or_else(|| bad(format!("a list with {id} in it, unknown or again")))?;
        is_seen[token] = true;
        core.push(token as u32);
    }
    if core.is_empty() { Err(bad("empty".into())) } else { Ok(core) }
}
