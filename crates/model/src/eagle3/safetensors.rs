//! A head in a folder of `config.json` and safetensors, as SpecForge and speculators write it.
//!
//! | | SpecForge | speculators |
//! |---|---|---|
//! | layer | `midlayer.*` | `layers.0.*` |
//! | sizes | at the top of `config.json` | in `transformer_layer_config` |
//! | taps | `eagle_config.eagle_aux_hidden_state_layer_ids`: *outputs* of those layers | `eagle_aux_hidden_state_layer_ids`: *inputs* |
//!
//! Both name no taps where these are the inputs of the layers 2, n / 2 and n − 3. `d2t` holds offsets: row `i` is the
//! token `i + d2t[i]`; `t2d` marks the same tokens in the target's vocabulary.

use super::config::{ARCHITECTURE, FLAGS, HeadConfig, core_list};
use super::load::Parts;
use super::weights::HeadWeights;
use crate::error::printable;
use crate::hugging_face::{self, FolderWeights, SafetensorsFiles};
use crate::model::CpuModel;
use crate::rope::{RopeConfig, RopeScaling};
use crate::weights::WeightSource;
use crate::{Error, Result};
use nano_reasoning_kernels::PackedMatrix;
use safetensors::Dtype;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Architectures of such folders.
const ARCHITECTURES: [&str; 2] = ["LlamaForCausalLMEagle3", "Eagle3Speculator"];
const IDS: &str = "eagle_aux_hidden_state_layer_ids";

#[derive(Deserialize)]
struct Sizes {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: Option<usize>,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
}

/// Reads all of it.
pub(super) fn read(folder: &Path, target: &CpuModel) -> Result<Parts> {
    let path = folder.join("config.json");
    let file: Map<String, Value> = hugging_face::read_json(&path)?;
    let config = config(&path, &file, target)?;
    let (hidden_dim, vocab_size) = (config.hidden_dim, config.vocab_size);
    let files = SafetensorsFiles::open(folder)?;
    let naming =
        if files.find("layers.0.self_attn.q_proj.weight").is_some() { speculators } else { specforge };
    let mut source = FolderWeights::new(&files, &target.pool, ARCHITECTURE, naming, None);
    let mut weights = HeadWeights::read(&config, &mut source)?;
    for (name, matrix) in
        [("blk.0.attn_q.weight", &mut weights.attn_q), ("blk.0.attn_k.weight", &mut weights.attn_k)]
    {
        *matrix = neighbours(name, matrix, config.head_dim)?;
    }
    source.skip("embed_tokens.weight", &[vocab_size, hidden_dim])?;
    let offsets = source.list("d2t", Dtype::I64)?.map(|bytes| bytes.as_chunks::<8>().0);
    let core = match offsets {
        // An offset that leads out of 64 bits leads out of any vocabulary.
        Some(offsets) => core_list(
            (0..).zip(offsets).map(|(i, offset)| i64::from_le_bytes(*offset).checked_add(i).unwrap_or(-1)),
            vocab_size,
        )?,
        None if source.has_output() => (0..vocab_size as u32).collect(),
        None => {
            let nearby = "without 'lm_head.weight' it says which of the target's rows to draft over".into();
            return Err(Error::MissingTensor { tensor: "d2t".into(), architecture: ARCHITECTURE, nearby });
        }
    };
    if let Some(found) = file.get("draft_vocab_size").and_then(Value::as_u64)
        && found != core.len() as u64
    {
        let wanted = format!("{}, the length of 'd2t'", core.len());
        return Err(Error::BadConfig { key: "draft_vocab_size".into(), found: found.to_string(), wanted });
    }
    if let Some(marks) = source.list("t2d", Dtype::BOOL)? {
        check_marks(marks, &core, vocab_size)?;
    }
    let own = match source.has_output() {
        true => Some(source.matrix("output.weight", core.len(), hidden_dim)?),
        false => None,
    };
    source.finish()?;
    Ok(Parts { config, weights, core, own })
}

/// Rows of queries or keys in llama.cpp's order: those that RoPE pairs, half a head apart here, beside each other. In
/// one order a head gives the same bits, whatever file it came in.
fn neighbours(name: &str, matrix: &PackedMatrix, head_dim: usize) -> Result<PackedMatrix> {
    let no_memory = |reason| Error::Pack { tensor: name.into(), reason };
    let mut ordered = matrix.empty_like(matrix.n_rows()).map_err(no_memory)?;
    for row in 0..matrix.n_rows() {
        let (head, i) = (row / head_dim, row % head_dim);
        ordered.push_row(matrix, head * head_dim + i / 2 + i % 2 * (head_dim / 2));
    }
    Ok(ordered)
}

/// That `t2d` marks the tokens of `d2t` and no other.
fn check_marks(marks: &[u8], core: &[u32], vocab_size: usize) -> Result<()> {
    let n_marks = marks.iter().filter(|&&mark| mark != 0).count();
    let is_marked = |&token: &u32| marks.get(token as usize).is_some_and(|&mark| mark != 0);
    if marks.len() == vocab_size && n_marks == core.len() && core.iter().all(is_marked) {
        return Ok(());
    }
    let found = format!("{n_marks} marks among {} tokens", marks.len());
    let wanted = format!("one on each of the {} tokens of 'd2t' among {vocab_size}", core.len());
    Err(Error::BadConfig { key: "t2d".into(), found, wanted })
}

fn config(path: &Path, file: &Map<String, Value>, target: &CpuModel) -> Result<HeadConfig> {
    let names = file.get("architectures").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    if !names.iter().any(|name| ARCHITECTURES.contains(name)) {
        let found = printable(names.first().unwrap_or(&"none"));
        let supported = format!("{} for a drafting head", ARCHITECTURES.join(" and "));
        return Err(Error::UnsupportedArchitecture { found, supported });
    }
    let layer = file.get("transformer_layer_config").and_then(Value::as_object);
    let nested = file.get("eagle_config").and_then(Value::as_object);
    for (prefix, part) in [("", Some(file)), ("transformer_layer_config.", layer), ("eagle_config.", nested)]
    {
        for flag in FLAGS {
            let value = part.and_then(|part| part.get(flag));
            if value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
                let (key, found) = (format!("{prefix}{flag}"), "on".into());
                return Err(Error::UnsupportedFeature { key, found, wanted: "off".into() });
            }
        }
    }
    let prefix = if layer.is_some() { "transformer_layer_config." } else { "" };
    let name = |key: &str| format!("{prefix}{key}");
    let sizes = Sizes::deserialize(Value::Object(layer.unwrap_or(file).clone()))
        .map_err(|reason| Error::BadJson { path: path.into(), reason })?;
    let unsupported = |key: &str, found: String, wanted: &str| {
        Err(Error::UnsupportedFeature { key: name(key), found, wanted: wanted.into() })
    };
    if let Some(found) = sizes.num_hidden_layers.filter(|&found| found != 1) {
        return unsupported("num_hidden_layers", found.to_string(), "1");
    }
    if let Some(found) = sizes.hidden_act.filter(|act| act != "silu") {
        return unsupported("hidden_act", printable(&found), "silu");
    }
    for (key, has_bias) in [("attention_bias", sizes.attention_bias), ("mlp_bias", sizes.mlp_bias)] {
        if has_bias == Some(true) {
            return unsupported(key, "true".into(), "false");
        }
    }
    let target_hidden = file.get("target_hidden_size").and_then(Value::as_u64).map(|n| n as usize);
    if let Some(found) = target_hidden.filter(|&found| found != target.config.hidden_dim) {
        let (key, wanted) = ("target_hidden_size".into(), target.config.hidden_dim);
        return Err(Error::HeadMismatch { key, found, wanted });
    }
    let head_dim = sizes.head_dim.unwrap_or(sizes.hidden_size / sizes.num_attention_heads.max(1));
    let context_len = sizes.max_position_embeddings.unwrap_or(target.config.context_len);
    let rope = sizes.rope_parameters.as_ref().or(sizes.rope_scaling.as_ref());
    let theta = rope.and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64).or(sizes.rope_theta);
    let config = HeadConfig {
        taps: taps(file, nested, target.config.n_layers)?,
        hidden_dim: sizes.hidden_size,
        vocab_size: sizes.vocab_size,
        n_heads: sizes.num_attention_heads,
        n_kv_heads: sizes.num_key_value_heads.unwrap_or(sizes.num_attention_heads),
        head_dim,
        ffn_dim: sizes.intermediate_size,
        rms_eps: sizes.rms_norm_eps as f32,
        rope: RopeConfig {
            n_rot: head_dim,
            theta: theta.unwrap_or(10_000.0),
            scaling: match rope {
                Some(rope) => hugging_face::rope_scaling(rope, context_len)?,
                None => RopeScaling::None,
            },
        },
        context_len,
    };
    config.check(target, |field| match field {
        "taps" => IDS.into(),
        "hidden_dim" => name("hidden_size"),
        "n_heads" => name("num_attention_heads"),
        "n_kv_heads" => name("num_key_value_heads"),
        "ffn_dim" => name("intermediate_size"),
        "rms_eps" => name("rms_norm_eps"),
        other => name(other),
    })
}

/// Layers whose inputs the head reads.
fn taps(
    file: &Map<String, Value>,
    nested: Option<&Map<String, Value>>,
    n_layers: usize,
) -> Result<Vec<usize>> {
    let (ids, shift) = match (file.get(IDS), nested.and_then(|nested| nested.get(IDS))) {
        (Some(ids), _) if !ids.is_null() => (ids, 0),
        (_, Some(ids)) if !ids.is_null() => (ids, 1),
        _ => return Ok(default_taps(n_layers).to_vec()),
    };
    let layer = |id: &Value| usize::try_from(id.as_u64()? + shift).ok();
    let layers = ids.as_array().and_then(|ids| ids.iter().map(layer).collect());
    layers.ok_or_else(|| Error::BadConfig {
        key: IDS.into(),
        found: printable(&ids.to_string()),
        wanted: format!("layers of the target's {n_layers}"),
    })
}

/// Layers that heads read where nothing is said of them.
pub(super) fn default_taps(n_layers: usize) -> [usize; 3] {
    [2, n_layers / 2, n_layers.saturating_sub(3)]
}

/// SpecForge's names.
pub(super) fn specforge(name: &str) -> (String, &str) {
    folder_name(name, "midlayer")
}

fn speculators(name: &str) -> (String, &str) {
    folder_name(name, "layers.0")
}

fn folder_name<'a>(name: &'a str, layer: &str) -> (String, &'a str) {
    let (module, tensor) = hugging_face::hugging_face(name);
    let module = match module.as_str() {
        "model.layers.0.attn_norm_2" => format!("{layer}.hidden_norm"),
        "model.norm" => "norm".into(),
        other => other.replace("model.layers.0", layer),
    };
    (module, tensor)
}
