//! A model's configuration from a folder's `config.json`, as transformers and mlx-lm read it.

use super::json;
use crate::config::ModelConfig;
use crate::rope::{RopeConfig, RopeScaling, yarn_attention_factor};
use crate::{Error, Result, architecture};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// What a folder says of its model.
pub(crate) struct FolderConfig {
    pub(crate) model: ModelConfig,
    /// Whether the output matrix is the embedding, if the folder says so: defaults differ by program.
    pub(crate) is_tied: Option<bool>,
}

#[derive(Deserialize)]
struct ConfigFile {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    /// What newer versions of transformers write instead of the two above.
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    quantization: Option<Map<String, Value>>,
    quantization_config: Option<Map<String, Value>>,
}

/// Reads and checks a folder's configuration.
pub(crate) fn config(folder: &Path) -> Result<FolderConfig> {
    let file: ConfigFile = json::read(&folder.join("config.json"))?;
    // Mistral is a Llama with a window.
    let (name, has_window) = match file.model_type.as_str() {
        "mistral" => ("llama", true),
        "qwen2" | "qwen3" => (file.model_type.as_str(), file.use_sliding_window == Some(true)),
        other => (other, false),
    };
    let (architecture, _) = architecture::find(name)?;
    refuse_unless("hidden_act", file.hidden_act.as_deref(), "silu", |act| *act == "silu")?;
    // Qwen2's biases on queries, keys and values go without saying; elsewhere, all four projections get one.
    refuse_unless("attention_bias", file.attention_bias, "false", |bias| !bias || architecture == "qwen2")?;
    refuse_unless("mlp_bias", file.mlp_bias, "false", |bias| !bias)?;
    check_quantization(&file)?;

    let head_dim = file.head_dim.unwrap_or(file.hidden_size / file.num_attention_heads.max(1));
    let window = file.sliding_window.filter(|&window| has_window && window > 0);
    let rotary = file.partial_rotary_factor.unwrap_or(1.0);
    let rope = file.rope_parameters.as_ref().or(file.rope_scaling.as_ref());
    let theta = rope.and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64).or(file.rope_theta);
    let model = ModelConfig {
        architecture,
        n_layers: file.num_hidden_layers,
        hidden_dim: file.hidden_size,
        n_heads: file.num_attention_heads,
        n_kv_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
        head_dim,
        ffn_dim: file.intermediate_size,
        vocab_size: file.vocab_size,
        context_len: window.map_or(file.max_position_embeddings, |w| w.min(file.max_position_embeddings)),
        rms_eps: file.rms_norm_eps as f32,
        rope: RopeConfig {
            n_rot: (head_dim as f64 * rotary) as usize,
            theta: theta.unwrap_or(10_000.0),
            scaling: match rope {
                Some(rope) => rope_scaling(rope, file.max_position_embeddings)?,
                None => RopeScaling::None,
            },
        },
    };
    let model = model.check(|field| {
        match field {
            "n_layers" => "num_hidden_layers",
            "hidden_dim" => "hidden_size",
            "n_heads" => "num_attention_heads",
            "n_kv_heads" => "num_key_value_heads",
            "ffn_dim" => "intermediate_size",
            "context_len" => "max_position_embeddings",
            "rms_eps" => "rms_norm_eps",
            "n_rot" => "partial_rotary_factor · head_dim",
            other => other,
        }
        .into()
    })?;
    Ok(FolderConfig { model, is_tied: file.tie_word_embeddings })
}

fn refuse_unless<T: std::fmt::Display>(
    key: &str,
    found: Option<T>,
    wanted: &str,
    fine: impl Fn(&T) -> bool,
) -> Result<()> {
    match found {
        Some(found) if !fine(&found) => Err(unsupported(key, &found.to_string(), wanted)),
        _ => Ok(()),
    }
}

fn unsupported(key: &str, found: &str, wanted: &str) -> Error {
    let found = found.chars().take(80).flat_map(char::escape_debug).collect();
    Error::UnsupportedFeature { key: key.into(), found, wanted: wanted.into() }
}

/// Whether quantized weights, if there are any, are MLX's affine ones. Bits and groups show in the tensors.
fn check_quantization(file: &ConfigFile) -> Result<()> {
    let wanted = "MLX's affine quantization, or none";
    if let Some(quantization) = &file.quantization {
        let overrides = quantization.values().filter_map(Value::as_object);
        for part in [quantization].into_iter().chain(overrides) {
            let mode = part.get("mode").map_or("affine", |mode| mode.as_str().unwrap_or("no text"));
            refuse_unless("quantization.mode", Some(mode), wanted, |&mode| mode == "affine")?;
        }
    } else if let Some(other) = &file.quantization_config {
        let method = other.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
        return Err(unsupported("quantization_config.quant_method", method, wanted));
    }
    Ok(())
}

pub(crate) fn rope_scaling(rope: &Map<String, Value>, context_len: usize) -> Result<RopeScaling> {
    let kind = rope.get("rope_type").or(rope.get("type")).map_or(Some("default"), Value::as_str);
    let find = |key: &str| rope.get(key).and_then(Value::as_f64);
    let get = |key: &str| {
        find(key).ok_or_else(|| Error::BadConfig {
            key: format!("rope_scaling.{key}"),
            found: rope.get(key).map_or("missing".into(), Value::to_string),
            wanted: "a number".into(),
        })
    };
    match kind {
        Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: get("factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: get("factor")?,
            low_freq_factor: get("low_freq_factor")?,
            high_freq_factor: get("high_freq_factor")?,
            original_context_len: get("original_max_position_embeddings")?,
        }),
        Some("yarn") => {
            for key in ["mscale", "mscale_all_dim"] {
                refuse_unless(&format!("rope_scaling.{key}"), rope.get(key), "no such key", |_| false)?;
            }
            let truncates = rope.get("truncate").and_then(Value::as_bool);
            refuse_unless("rope_scaling.truncate", truncates, "true", |&truncates| truncates)?;
            let factor = get("factor")?;
            Ok(RopeScaling::Yarn {
                factor,
                original_context_len: find("original_max_position_embeddings").unwrap_or(context_len as f64),
                beta_fast: find("beta_fast").unwrap_or(32.0),
                beta_slow: find("beta_slow").unwrap_or(1.0),
                attention_factor: find("attention_factor").unwrap_or(yarn_attention_factor(factor)),
            })
        }
        other => Err(unsupported(
            "rope_scaling.rope_type",
            other.unwrap_or("no text"),
            "default, linear, llama3 or yarn",
        )),
    }
}
