//! A target that llama.cpp can draft for with our head.
//!
//! It takes taps for an EAGLE-3 head from `llama` and `qwen3` targets alone, so a `qwen2` file is rewritten as
//! `llama`: the same numbers, with the rows of queries and keys in the order of llama's RoPE.

use anyhow::bail;
use nano_reasoning_gguf::{GgufFile, GgufWriter, TensorInfo, Value};
use std::path::Path;

/// Writes the `qwen2` file `from` as `llama` to `to`, unless it is there.
///
/// # Errors
/// If it is no such file, or writing fails.
pub(super) fn write_as_llama(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.is_file() {
        return Ok(());
    }
    let file = GgufFile::open(from)?;
    let metadata = file.metadata();
    let architecture = metadata.str("general.architecture")?;
    if architecture != "qwen2" {
        bail!("{} is {architecture}; only qwen2 files are rewritten for llama.cpp's EAGLE-3", from.display());
    }
    let n_heads = metadata.u32("qwen2.attention.head_count")? as usize;
    let n_kv_heads = metadata.u32("qwen2.attention.head_count_kv")? as usize;
    let hidden_dim = metadata.u32("qwen2.embedding_length")?;
    let mut writer = GgufWriter::new();
    for (key, value) in metadata.iter() {
        match key {
            "general.architecture" => writer.metadata(key, Value::String("llama"))?,
            _ => writer.metadata(&key.replace("qwen2.", "llama."), value)?,
        };
    }
    writer.metadata("llama.rope.dimension_count", Value::U32(hidden_dim / n_heads as u32))?;
    let embedding = file.tensor("token_embd.weight")?;
    writer.metadata("llama.vocab_size", Value::U32(embedding.shape()[0] as u32))?;
    for tensor in file.tensors() {
        let bytes = file.tensor_bytes(tensor);
        let heads = match tensor.name() {
            name if name.contains(".attn_q.") => Some(n_heads),
            name if name.contains(".attn_k.") => Some(n_kv_heads),
            _ => None,
        };
        let bytes = heads.map_or_else(|| bytes.to_vec(), |n_heads| neighbours(tensor, bytes, n_heads));
        writer.tensor(tensor.name(), tensor.dtype(), tensor.shape(), bytes)?;
    }
    println!("writing {}", to.display());
    Ok(writer.write(to)?)
}

/// Rows `(i, i + n)` of each head beside each other, as llama's RoPE pairs them.
fn neighbours(tensor: &TensorInfo, bytes: &[u8], n_heads: usize) -> Vec<u8> {
    let n_rows = tensor.shape()[0];
    let row_bytes = bytes.len() / n_rows;
    let head_dim = n_rows / n_heads;
    let mut out = Vec::with_capacity(bytes.len());
    for head in 0..n_heads {
        for i in 0..head_dim {
            let row = head * head_dim + i / 2 + i % 2 * (head_dim / 2);
            out.extend_from_slice(&bytes[row * row_bytes..][..row_bytes]);
        }
    }
    out
}
