//! A tiny head as a folder of safetensors.

use super::encode;
use super::folder::{self, StoredTensor};
use super::head::TinyHead;
use nano_reasoning_gguf::DType;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::path::Path;

/// Who writes such a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    SpecForge,
    Speculators,
}

/// `config.json`; the taps are given as each names them.
pub fn config(head: &TinyHead, names: Names) -> Value {
    let sizes = json!({
        "model_type": "llama",
        "hidden_size": head.hidden_dim,
        "intermediate_size": head.ffn_dim,
        "num_hidden_layers": 1,
        "num_attention_heads": head.n_heads,
        "num_key_value_heads": head.n_kv_heads,
        "head_dim": head.head_dim,
        "max_position_embeddings": 700,
        "vocab_size": head.vocab_size,
        "rms_norm_eps": head.eps,
        "rope_theta": head.theta,
        "hidden_act": "silu",
    });
    let mut config = match names {
        Names::SpecForge => sizes,
        Names::Speculators => json!({
            "speculators_model_type": "eagle3",
            "transformer_layer_config": sizes,
            "norm_before_residual": false,
            "target_hidden_size": null,
            "eagle_aux_hidden_state_layer_ids": head.taps,
        }),
    };
    config["draft_vocab_size"] = head.core.len().into();
    match names {
        Names::SpecForge => {
            config["architectures"] = json!(["LlamaForCausalLMEagle3"]);
            // Of an embedding's output there is no number here: such taps are left to the default.
            let outputs: Option<Vec<usize>> = head.taps.iter().map(|layer| layer.checked_sub(1)).collect();
            config["eagle_config"] =
                json!({ "eagle_aux_hidden_state_layer_ids": outputs, "use_aux_hidden_state": true });
        }
        Names::Speculators => config["architectures"] = json!(["Eagle3Speculator"]),
    }
    config
}

/// The tensors, in the head's own type, with queries and keys in the order of Hugging Face's RoPE.
pub fn tensors(head: &TinyHead, names: Names) -> Vec<StoredTensor> {
    let layer = if names == Names::SpecForge { "midlayer." } else { "layers.0." };
    let dtype = match head.dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    let mut all = Vec::new();
    for (name, (shape, values)) in head.tensors() {
        let folder_name = match name.as_str() {
            "fc.weight" => name.clone(),
            "output_norm.weight" => "norm.weight".into(),
            "blk.0.attn_norm_2.weight" => format!("{layer}hidden_norm.weight"),
            _ => folder::folder_name(&name).replace("model.layers.0.", layer),
        };
        let is_rotated = name.contains(".attn_q.") || name.contains(".attn_k.");
        let values = if is_rotated { halves(&values, shape[1], head.head_dim) } else { values };
        match shape.len() {
            2 => all.push((folder_name, dtype, shape, encode(&values, head.dtype))),
            _ => all.push((folder_name, Dtype::F32, shape, encode(&values, DType::F32))),
        }
    }
    let offsets = head.core.iter().enumerate().map(|(i, &token)| i64::from(token) - i as i64);
    let marks = (0..head.vocab_size as u32).map(|token| u8::from(head.core.contains(&token)));
    let n_core = head.core.len();
    all.push(("d2t".into(), Dtype::I64, vec![n_core], offsets.flat_map(i64::to_le_bytes).collect()));
    all.push(("t2d".into(), Dtype::BOOL, vec![head.vocab_size], marks.collect()));
    all
}

/// Rows 2i and 2i + 1 of each head go to i and i + n / 2.
fn halves(values: &[f32], n_cols: usize, head_dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(n_cols).enumerate() {
        let (head, i) = (row / head_dim, row % head_dim);
        let to = head * head_dim + i / 2 + i % 2 * (head_dim / 2);
        out[to * n_cols..][..n_cols].copy_from_slice(values);
    }
    out
}

/// Writes the whole folder.
pub fn write(head: &TinyHead, names: Names, folder: &Path) {
    folder::write(folder, &config(head, names), &tensors(head, names));
}
