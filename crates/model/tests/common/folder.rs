//! A tiny model as a Hugging Face folder.

use super::{Tensors, TinyModel, encode};
use half::{bf16, f16};
use nano_reasoning_gguf::DType;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::path::Path;

/// How matrices are stored.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    Plain(DType),
    Affine { bits: usize, group_len: usize, is_bf16: bool },
}

/// Name, type, shape and bytes of a tensor.
pub type StoredTensor = (String, Dtype, Vec<usize>, Vec<u8>);

const PARTS: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The name that a folder has for a tensor.
pub fn folder_name(name: &str) -> String {
    let name = match name {
        "token_embd.weight" => return "model.embed_tokens.weight".into(),
        "output.weight" => return "lm_head.weight".into(),
        "output_norm.weight" => return "model.norm.weight".into(),
        _ => name.replace("blk.", "model.layers."),
    };
    PARTS.iter().fold(name, |name, (from, to)| name.replace(from, to))
}

/// The configuration; `null`s may be replaced.
pub fn config(model: &TinyModel) -> Value {
    json!({
        "model_type": model.architecture,
        "hidden_size": model.hidden_dim,
        "intermediate_size": model.ffn_dim,
        "num_hidden_layers": model.n_layers,
        "num_attention_heads": model.n_heads,
        "num_key_value_heads": model.n_kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.context_len,
        "vocab_size": model.vocab_size,
        "rms_norm_eps": model.eps,
        "rope_theta": model.theta,
        "tie_word_embeddings": model.is_tied,
        "hidden_act": "silu",
    })
}

/// The tensors as a folder stores them, and the numbers they then stand for, under GGUF's names.
pub fn tensors(model: &TinyModel, stored: Stored) -> (Vec<StoredTensor>, Tensors) {
    let mut files = Vec::new();
    let mut meant = model.tensors();
    for (name, (shape, values)) in &mut meant {
        let folder_name = folder_name(name);
        let put =
            |dtype: DType, values: &[f32]| (safetensors_type(dtype), shape.clone(), encode(values, dtype));
        match stored {
            Stored::Plain(dtype) if shape.len() == 2 => {
                *values = super::stored(values, dtype);
                let (dtype, shape, bytes) = put(dtype, values);
                files.push((folder_name, dtype, shape, bytes));
            }
            Stored::Affine { bits, group_len, is_bf16 } if shape.len() == 2 => {
                let module = folder_name.strip_suffix(".weight").unwrap();
                let (codes, scales, biases) = quantize(values, bits, group_len, is_bf16);
                let [n_rows, n_cols] = shape[..] else { unreachable!() };
                let half = if is_bf16 { Dtype::BF16 } else { Dtype::F16 };
                let groups = vec![n_rows, n_cols / group_len];
                files.push((folder_name.clone(), Dtype::U32, vec![n_rows, n_cols * bits / 32], codes));
                files.push((format!("{module}.scales"), half, groups.clone(), scales));
                files.push((format!("{module}.biases"), half, groups, biases));
            }
            _ => {
                let (dtype, shape, bytes) = put(DType::F32, values);
                files.push((folder_name, dtype, shape, bytes));
            }
        }
    }
    (files, meant)
}

/// Writes a safetensors file.
pub fn write_safetensors(path: &Path, tensors: &[StoredTensor]) {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Writes a folder with one file.
pub fn write(folder: &Path, config: &Value, tensors: &[StoredTensor]) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    write_safetensors(&folder.join("model.safetensors"), tensors);
}

fn safetensors_type(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

/// Codes, scales and biases, and in `values` what they stand for. Scales may be negative, as MLX's are.
fn quantize(values: &mut [f32], bits: usize, group_len: usize, is_bf16: bool) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let round = |x: f32| if is_bf16 { bf16::from_f32(x).to_f32() } else { f16::from_f32(x).to_f32() };
    let bytes =
        |x: f32| if is_bf16 { bf16::from_f32(x).to_le_bytes() } else { f16::from_f32(x).to_le_bytes() };
    let (mut codes, mut scales, mut biases) = (Vec::new(), Vec::new(), Vec::new());
    for (i, group) in values.chunks_exact_mut(group_len).enumerate() {
        let (min, max) = group.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        let range = round((max - min) / ((1 << bits) - 1) as f32);
        let (scale, bias) = if i % 2 == 0 { (range, round(min)) } else { (-range, round(max)) };
        scales.extend(bytes(scale));
        biases.extend(bytes(bias));
        let group_codes: Vec<u8> = group
            .iter_mut()
            .map(|x| {
                let code = ((*x - bias) / scale).round().clamp(0.0, ((1 << bits) - 1) as f32);
                *x = scale * code + bias;
                code as u8
            })
            .collect();
        match bits {
            4 => codes.extend(group_codes.as_chunks::<2>().0.iter().map(|[low, high]| low | high << 4)),
            _ => codes.extend(group_codes),
        }
    }
    (codes, scales, biases)
}
