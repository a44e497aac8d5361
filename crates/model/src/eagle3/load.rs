//! A head from a GGUF file of llama.cpp's architecture `eagle3`.

use super::weights::HeadWeights;
use super::{CHUNK_ENTRIES, Eagle3Head, HeadOptions, MAX_NODES};
use crate::architecture::Pairing;
use crate::error::printable;
use crate::gguf_model::GgufWeights;
use crate::model::CpuModel;
use crate::output_rows::OutputRows;
use crate::rope::{Rope, RopeConfig, RopeScaling};
use crate::weights::WeightSource;
use crate::{Error, Result};
use nano_reasoning_gguf::{GgufFile, Metadata};
use nano_reasoning_kernels::{AttentionScratch, KvLayer};
use std::sync::Arc;

const ARCHITECTURE: &str = "eagle3";
/// Variants of EAGLE-3.1 that are not computed here.
const FLAGS: [&str; 4] = ["norm_before_residual", "norm_before_fc", "norm_output", "fc_norm"];

impl Eagle3Head {
    /// Reads the head in `file` for `target`, with room for `context_len` tokens.
    ///
    /// # Errors
    /// The first thing that is wrong with the file, that does not fit the target, or that is not computed here.
    pub fn from_gguf(
        file: &GgufFile,
        target: &Arc<CpuModel>,
        context_len: usize,
        options: &HeadOptions,
    ) -> Result<Self> {
        let metadata = file.metadata();
        let found = metadata.str("general.architecture")?;
        if found != ARCHITECTURE {
            return Err(Error::UnsupportedArchitecture {
                found: printable(found),
                supported: format!("{ARCHITECTURE} for a drafting head"),
            });
        }
        let weights = read(file, &metadata, target)?;
        let core = core_vocab(file, target, options)?;
        let mut is_in_vocab = vec![false; target.config.vocab_size];
        core.iter().for_each(|&token| is_in_vocab[token as usize] = true);
        let output = OutputRows::new(&target.output, &core);
        let output = output.map_err(|_| Error::CacheTooLarge { context_len })?;
        let theta = metadata.find::<f32>("eagle3.rope.freq_base")?.unwrap_or(10_000.0);
        let rope = Rope::new(&RopeConfig {
            n_rot: weights.head_dim,
            theta: f64::from(theta),
            scaling: RopeScaling::None,
        })?;
        let cache = KvLayer::new(weights.n_kv_heads, weights.head_dim, context_len + MAX_NODES)
            .map_err(|_| Error::CacheTooLarge { context_len })?;
        let scratch = super::Scratch::new(&weights, target.config.hidden_dim, CHUNK_ENTRIES);
        let hidden_dim = target.config.hidden_dim;
        Ok(Self {
            target: target.clone(),
            rope,
            output,
            is_in_vocab,
            cache,
            context_len,
            len: 0,
            ancestors: Vec::with_capacity(MAX_NODES),
            y: Vec::with_capacity((1 + MAX_NODES) * hidden_dim),
            scratch,
            attention: AttentionScratch::new(),
            logits: Vec::new(),
            weights,
        })
    }
}

fn read(file: &GgufFile, metadata: &Metadata, target: &CpuModel) -> Result<HeadWeights> {
    for flag in FLAGS {
        let key = format!("eagle3.{flag}");
        if metadata.value(&key).is_some_and(|value| {
            value.as_integer() != Some(0) && value != nano_reasoning_gguf::Value::Bool(false)
        }) {
            return Err(Error::UnsupportedFeature { key, found: "on".into(), wanted: "off".into() });
        }
    }
    let (hidden_dim, vocab_size) = (target.config.hidden_dim, target.config.vocab_size);
    let size = |key: &str| metadata.u32(&format!("eagle3.{key}")).map(|n| n as usize);
    let fits = |key: &str, found: usize, wanted: usize| {
        if found == wanted {
            return Ok(());
        }
        let wanted = format!("{wanted}, as the target has");
        Err(Error::BadConfig { key: format!("eagle3.{key}"), found: found.to_string(), wanted })
    };
    fits("embedding_length", size("embedding_length")?, hidden_dim)?;
    if let Some(found) = metadata.find::<u32>("eagle3.target_hidden_size")? {
        fits("target_hidden_size", found as usize, hidden_dim)?;
    }
    if let Some(found) = metadata.find::<u32>("eagle3.vocab_size")? {
        fits("vocab_size", found as usize, vocab_size)?;
    }
    let bad = |key: &str, found: String, wanted: &str| Error::BadConfig {
        key: format!("eagle3.{key}"),
        found,
        wanted: wanted.into(),
    };
    let (n_heads, n_kv_heads) = (size("attention.head_count")?, size("attention.head_count_kv")?);
    let key_length = metadata.find::<u32>("eagle3.attention.key_length")?;
    let head_dim = key_length.map_or(hidden_dim / n_heads.max(1), |n| n as usize);
    if n_kv_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) || n_heads > 1024 {
        return Err(bad("attention.head_count_kv", n_kv_heads.to_string(), "a divisor of the query heads"));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > crate::config::MAX_HEAD_DIM {
        return Err(bad("attention.key_length", head_dim.to_string(), "an even number up to 256"));
    }
    let rms_eps = metadata.f32("eagle3.attention.layer_norm_rms_epsilon")?;
    if !(0.0..1.0).contains(&rms_eps) {
        return Err(bad("attention.layer_norm_rms_epsilon", rms_eps.to_string(), "0 to 1"));
    }
    let taps = taps(metadata, target)?;
    let ffn_dim = size("feed_forward_length")?;
    let (q_dim, kv_dim) = (n_heads * head_dim, n_kv_heads * head_dim);
    let mut source = GgufWeights::new(file, &target.pool, ARCHITECTURE);
    let norm = |source: &mut GgufWeights, name: &str| source.vector(name, hidden_dim);
    let weights = HeadWeights {
        n_heads,
        n_kv_heads,
        head_dim,
        ffn_dim,
        rms_eps,
        pairing: Pairing::Neighbours,
        fc: source.matrix("fc.weight", hidden_dim, taps.len() * hidden_dim)?,
        attn_norm: norm(&mut source, "blk.0.attn_norm.weight")?,
        attn_norm_2: norm(&mut source, "blk.0.attn_norm_2.weight")?,
        attn_q: source.matrix("blk.0.attn_q.weight", q_dim, 2 * hidden_dim)?,
        attn_k: source.matrix("blk.0.attn_k.weight", kv_dim, 2 * hidden_dim)?,
        attn_v: source.matrix("blk.0.attn_v.weight", kv_dim, 2 * hidden_dim)?,
        attn_output: source.matrix("blk.0.attn_output.weight", hidden_dim, q_dim)?,
        ffn_norm: norm(&mut source, "blk.0.ffn_norm.weight")?,
        ffn_gate: source.matrix("blk.0.ffn_gate.weight", ffn_dim, hidden_dim)?,
        ffn_up: source.matrix("blk.0.ffn_up.weight", ffn_dim, hidden_dim)?,
        ffn_down: source.matrix("blk.0.ffn_down.weight", hidden_dim, ffn_dim)?,
        output_norm: norm(&mut source, "output_norm.weight")?,
        taps,
    };
    Ok(weights)
}

/// The layers of the target that the head reads.
fn taps(metadata: &Metadata, target: &CpuModel) -> Result<Vec<usize>> {
    let key = "eagle3.target_layers";
    let n_layers = target.config.n_layers;
    let bad = |found: String| Error::BadConfig {
        key: key.into(),
        found,
        wanted: format!("ascending layers of the target's {n_layers}"),
    };
    let Some(nano_reasoning_gguf::Value::Array(array)) = metadata.value(key) else {
        return Err(bad("no list".into()));
    };
    let layers: Option<Vec<usize>> =
        array.iter().map(|value| value.as_integer().and_then(|layer| usize::try_from(layer).ok())).collect();
    let layers = layers.ok_or_else(|| bad("a list of other things".into()))?;
    let is_sound = !layers.is_empty() && layers.len() <= 16 && layers.is_sorted_by(|a, b| a < b);
    if !is_sound || layers.iter().any(|&layer| layer >= n_layers) {
        return Err(bad(format!("{layers:?}")));
    }
    Ok(layers)
}

/// The file's list of tokens, most frequent first.
fn core_vocab(file: &GgufFile, target: &CpuModel, options: &HeadOptions) -> Result<Vec<u32>> {
    let vocab_size = target.config.vocab_size;
    let tensor = file.tensor("d2t")?;
    let bytes = file.tensor_bytes(tensor);
    if tensor.dtype() != nano_reasoning_gguf::DType::I64 {
        return Err(Error::UnsupportedQuantization {
            tensor: "d2t".into(),
            found: tensor.dtype().to_string(),
            supported: "I64",
        });
    }
    let mut is_seen = vec![false; vocab_size];
    let mut core = Vec::new();
    for id in bytes.as_chunks::<8>().0 {
        let id = i64::from_le_bytes(*id);
        let token = usize::try_from(id).ok().filter(|&id| id < vocab_size && !is_seen[id]);
        let Some(token) = token else {
            let wanted = format!("each token below {vocab_size} at most once");
            return Err(Error::BadConfig { key: "d2t".into(), found: id.to_string(), wanted });
        };
        is_seen[token] = true;
        core.push(token as u32);
    }
    core.truncate(options.core_vocab.unwrap_or(usize::MAX).max(1));
    Ok(core)
}
