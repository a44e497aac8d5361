//! A model's configuration from a GGUF file's metadata. Keys as in the GGUF specification and, where it is
//! silent, in llama.cpp's `llama-arch.cpp`.

use crate::config::ModelConfig;
use crate::rope::{RopeConfig, RopeScaling, yarn_attention_factor};
use crate::{Error, Result, architecture};
use nano_reasoning_gguf::{FromValue, GgufFile, Metadata};

/// Metadata under the architecture's prefix.
struct Keys<'a> {
    metadata: Metadata<'a>,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn get<T: FromValue<'a>>(&self, key: &str) -> Result<T> {
        Ok(self.metadata.get(&self.name(key))?)
    }

    fn find<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.metadata.find(&self.name(key))?)
    }

    /// An error unless `key` is absent or `fine`.
    fn refuse_unless(&self, key: &str, wanted: &str, fine: impl Fn(f64) -> bool) -> Result<()> {
        let name = self.name(key);
        let found = match self.metadata.find::<f64>(&name) {
            Ok(found) => found,
            Err(_) => self.metadata.find::<i64>(&name)?.map(|found| found as f64),
        };
        match found {
            Some(found) if !fine(found) => {
                Err(Error::UnsupportedFeature { key: name, found: found.to_string(), wanted: wanted.into() })
            }
            _ => Ok(()),
        }
    }
}

/// Reads and checks the configuration.
pub(crate) fn config(file: &GgufFile) -> Result<ModelConfig> {
    let metadata = file.metadata();
    let (architecture, _) = architecture::find(metadata.str("general.architecture")?)?;
    let keys = Keys { metadata, prefix: architecture };
    keys.refuse_unless("expert_count", "a model without experts", |n| n == 0.0)?;
    keys.refuse_unless("attention.scale", "1 / sqrt(head_dim)", |scale| scale == 0.0)?;
    keys.refuse_unless("attention.clamp_kqv", "no clamp", |clamp| clamp == 0.0)?;
    keys.refuse_unless("logit_scale", "1", |scale| scale == 0.0 || scale == 1.0)?;

    let hidden_dim: usize = keys.get("embedding_length")?;
    let n_heads: usize = keys.get("attention.head_count")?;
    let head_dim = match keys.find("attention.key_length")? {
        Some(head_dim) => head_dim,
        None => hidden_dim / n_heads.max(1),
    };
    let wanted = format!("{head_dim}, the width of a head's keys");
    keys.refuse_unless("attention.value_length", &wanted, |len| len == head_dim as f64)?;
    let mut context_len: usize = keys.get("context_length")?;
    if let Some(window) = keys.find::<usize>("attention.sliding_window")?.filter(|&window| window > 0) {
        context_len = context_len.min(window);
    }
    let n_rot = keys.find("rope.dimension_count")?.unwrap_or(head_dim);
    let vocab_size = file.find_tensor("token_embd.weight").map_or(0, |tensor| tensor.shape()[0]);
    let config = ModelConfig {
        architecture,
        n_layers: keys.get("block_count")?,
        hidden_dim,
        n_heads,
        n_kv_heads: keys.find("attention.head_count_kv")?.unwrap_or(n_heads),
        head_dim,
        ffn_dim: keys.get("feed_forward_length")?,
        vocab_size,
        context_len,
        rms_eps: keys.get("attention.layer_norm_rms_epsilon")?,
        rope: RopeConfig {
            n_rot,
            theta: keys.find("rope.freq_base")?.unwrap_or(10_000.0),
            scaling: rope_scaling(file, architecture, context_len)?,
        },
    };
    config.check(|field| {
        keys.name(match field {
            "n_layers" => "block_count",
            "hidden_dim" => "embedding_length",
            "n_heads" => "attention.head_count",
            "n_kv_heads" => "attention.head_count_kv",
            "head_dim" => "attention.key_length",
            "ffn_dim" => "feed_forward_length",
            "context_len" => "context_length",
            "rms_eps" => "attention.layer_norm_rms_epsilon",
            "n_rot" => "rope.dimension_count",
            "rope_theta" => "rope.freq_base",
            other => other,
        })
    })
}

/// How positions are stretched, by the keys under `prefix`.
pub(crate) fn rope_scaling(file: &GgufFile, prefix: &'static str, context_len: usize) -> Result<RopeScaling> {
    let keys = Keys { metadata: file.metadata(), prefix };
    if let Some(tensor) = file.find_tensor("rope_freqs.weight") {
        return Ok(RopeScaling::Factors(super::weights::floats(file, tensor)?));
    }
    let factor = match keys.find("rope.scaling.factor")? {
        Some(factor) => factor,
        None => keys.find("rope.scale_linear")?.unwrap_or(1.0),
    };
    let factor = if factor == 0.0 { 1.0 } else { factor };
    if !(f64::is_finite(factor) && factor > 0.0) {
        let (key, wanted) = (keys.name("rope.scaling.factor"), "a positive number".into());
        return Err(Error::BadConfig { key, found: factor.to_string(), wanted });
    }
    match keys.find::<&str>("rope.scaling.type")?.unwrap_or("linear") {
        "none" => Ok(RopeScaling::None),
        "linear" if factor == 1.0 => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor }),
        "yarn" => {
            keys.refuse_unless("rope.scaling.yarn_log_multiplier", "no multiplier", |x| x == 0.0)?;
            let original = keys.find::<usize>("rope.scaling.original_context_length")?;
            Ok(RopeScaling::Yarn {
                factor,
                original_context_len: original.unwrap_or(context_len) as f64,
                beta_fast: keys.find("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.find("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                attention_factor: yarn_attention_factor(factor)
                    * keys.find("rope.scaling.attn_factor")?.unwrap_or(1.0),
            })
        }
        other => Err(Error::UnsupportedFeature {
            key: keys.name("rope.scaling.type"),
            found: format!("'{}'", other.escape_debug()),
            wanted: "none, linear, yarn, or a tensor 'rope_freqs.weight'".into(),
        }),
    }
}
