//! A head in a GGUF file of llama.cpp's architecture `eagle3`.

use super::config::{ARCHITECTURE, FLAGS, HeadConfig, core_list};
use super::load::Parts;
use super::weights::HeadWeights;
use crate::error::printable;
use crate::gguf_model::{self, GgufWeights};
use crate::model::CpuModel;
use crate::rope::RopeConfig;
use crate::weights::WeightSource;
use crate::{Error, Result};
use nano_reasoning_gguf::{DType, GgufFile, Metadata, Value};

/// Reads all of it.
pub(super) fn read(file: &GgufFile, target: &CpuModel) -> Result<Parts> {
    let metadata = file.metadata();
    let found = metadata.str("general.architecture")?;
    if found != ARCHITECTURE {
        let supported = format!("{ARCHITECTURE} for a drafting head");
        return Err(Error::UnsupportedArchitecture { found: printable(found), supported });
    }
    for flag in FLAGS {
        let key = format!("{ARCHITECTURE}.{flag}");
        let is_on = |value: Value| value.as_integer() != Some(0) && value != Value::Bool(false);
        if metadata.value(&key).is_some_and(is_on) {
            return Err(Error::UnsupportedFeature { key, found: "on".into(), wanted: "off".into() });
        }
    }
    let config = config(file, &metadata, target)?;
    let (hidden_dim, vocab_size) = (config.hidden_dim, config.vocab_size);
    let mut source = GgufWeights::new(file, &target.pool, ARCHITECTURE);
    let weights = HeadWeights::read(&config, &mut source)?;
    // An embedding is the target's again: whoever writes one writes a copy.
    source.skip("token_embd.weight", &[vocab_size, hidden_dim])?;
    let core = core(file, vocab_size, source.has_output())?;
    source.skip("d2t", &[core.len()])?;
    let own = match source.has_output() {
        true => Some(source.matrix("output.weight", core.len(), hidden_dim)?),
        false => None,
    };
    source.finish()?;
    Ok(Parts { config, weights, core, own })
}

fn config(file: &GgufFile, metadata: &Metadata, target: &CpuModel) -> Result<HeadConfig> {
    let name = |key: &str| format!("{ARCHITECTURE}.{key}");
    let get = |key: &str| metadata.u32(&name(key)).map(|n| n as usize);
    let find = |key: &str| metadata.find::<u32>(&name(key)).map(|n| n.map(|n| n as usize));
    let (hidden_dim, n_heads) = (get("embedding_length")?, get("attention.head_count")?);
    if let Some(found) = find("target_hidden_size")?.filter(|&found| found != target.config.hidden_dim) {
        let key = name("target_hidden_size");
        return Err(Error::HeadMismatch { key, found, wanted: target.config.hidden_dim });
    }
    if let Some(found) = find("block_count")?.filter(|&found| found != 1) {
        let (key, found) = (name("block_count"), found.to_string());
        return Err(Error::UnsupportedFeature { key, found, wanted: "1 layer".into() });
    }
    let head_dim = find("attention.key_length")?.unwrap_or(hidden_dim / n_heads.max(1));
    if let Some(found) = find("attention.value_length")?.filter(|&found| found != head_dim) {
        let (key, found) = (name("attention.value_length"), found.to_string());
        let wanted = format!("{head_dim}, the width of a head's keys");
        return Err(Error::UnsupportedFeature { key, found, wanted });
    }
    let context_len = find("context_length")?.unwrap_or(target.config.context_len);
    let config = HeadConfig {
        taps: taps(metadata, target)?,
        hidden_dim,
        vocab_size: find("vocab_size")?.unwrap_or(target.config.vocab_size),
        n_heads,
        n_kv_heads: get("attention.head_count_kv")?,
        head_dim,
        ffn_dim: get("feed_forward_length")?,
        rms_eps: metadata.f32(&name("attention.layer_norm_rms_epsilon"))?,
        rope: RopeConfig {
            n_rot: find("rope.dimension_count")?.unwrap_or(head_dim),
            theta: metadata.find::<f32>(&name("rope.freq_base"))?.map_or(10_000.0, f64::from),
            scaling: gguf_model::rope_scaling(file, ARCHITECTURE, context_len)?,
        },
        context_len,
    };
    config.check(target, |field| {
        name(match field {
            "hidden_dim" => "embedding_length",
            "n_heads" => "attention.head_count",
            "n_kv_heads" => "attention.head_count_kv",
            "head_dim" => "attention.key_length",
            "ffn_dim" => "feed_forward_length",
            "rms_eps" => "attention.layer_norm_rms_epsilon",
            "n_rot" => "rope.dimension_count",
            "rope_theta" => "rope.freq_base",
            "taps" => "target_layers",
            other => other,
        })
    })
}

/// The layers of the target that the head reads.
fn taps(metadata: &Metadata, target: &CpuModel) -> Result<Vec<usize>> {
    let key = "eagle3.target_layers";
    let bad = |found: &str| Error::BadConfig {
        key: key.into(),
        found: found.into(),
        wanted: format!("ascending layers of the target's {}", target.config.n_layers),
    };
    let Some(Value::Array(array)) = metadata.value(key) else { return Err(bad("no list")) };
    let layers = array.iter().map(|value| value.as_integer().and_then(|layer| usize::try_from(layer).ok()));
    layers.collect::<Option<_>>().ok_or_else(|| bad("a list with other things than layers"))
}

/// The file's list of tokens, most frequent first; without one, an output matrix has a row for each token.
fn core(file: &GgufFile, vocab_size: usize, has_output: bool) -> Result<Vec<u32>> {
    if has_output && file.find_tensor("d2t").is_none() {
        return Ok((0..vocab_size as u32).collect());
    }
    let tensor = file.tensor("d2t")?;
    if tensor.dtype() != DType::I64 {
        return Err(Error::UnsupportedQuantization {
            tensor: "d2t".into(),
            found: tensor.dtype().to_string(),
            supported: "I64",
        });
    }
    let ids = file.tensor_bytes(tensor).as_chunks::<8>().0;
    core_list(ids.iter().map(|id| i64::from_le_bytes(*id)), vocab_size)
}
