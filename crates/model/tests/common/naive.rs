//! The forward pass, as plainly as it can be written: one token after the other, f64, no cache format.

use super::{Tensors, TinyModel};
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::sync::Arc;

/// What the naive pass computes.
pub struct Naive {
    /// Input of each layer, `[n_layers][n_tokens][hidden_dim]`.
    pub layer_inputs: Vec<Vec<Vec<f64>>>,
    /// `[n_tokens][vocab_size]`
    pub logits: Vec<Vec<f64>>,
}

/// Angle of pair `i` at position `position`.
pub type Angle<'a> = &'a dyn Fn(usize, usize) -> f64;

/// Runs `tokens` through the model. `length` is what YaRN multiplies cosines and sines with.
pub fn forward(model: &TinyModel, tokens: &[u32], angle: Angle, length: f64) -> Naive {
    let tensors = model.tensors();
    let TinyModel { hidden_dim, n_heads, n_kv_heads, head_dim, .. } = *model;
    let group = n_heads / n_kv_heads;
    let eps = f64::from(model.eps);
    let get = |name: &str| -> Vec<f64> { tensors[name].1.iter().map(|&x| f64::from(x)).collect() };
    let mut layer_inputs = vec![Vec::new(); model.n_layers];
    let mut logits = Vec::new();
    // keys[layer][token][kv head · head_dim]
    let mut keys = vec![Vec::new(); model.n_layers];
    let mut values = vec![Vec::new(); model.n_layers];
    for (position, &token) in tokens.iter().enumerate() {
        let mut x = get("token_embd.weight")[token as usize * hidden_dim..][..hidden_dim].to_vec();
        for layer in 0..model.n_layers {
            layer_inputs[layer].push(x.clone());
            let name = |part: &str| format!("blk.{layer}.{part}");
            let n = rms_norm(&x, &get(&name("attn_norm.weight")), eps);
            let mut q = multiply(&tensors, &name("attn_q.weight"), &n);
            let mut k = multiply(&tensors, &name("attn_k.weight"), &n);
            let mut v = multiply(&tensors, &name("attn_v.weight"), &n);
            if model.architecture == "qwen2" {
                for (x, bias) in [(&mut q, "attn_q.bias"), (&mut k, "attn_k.bias"), (&mut v, "attn_v.bias")] {
                    x.iter_mut().zip(get(&name(bias))).for_each(|(x, bias)| *x += bias);
                }
            }
            for (x, norm) in [(&mut q, "attn_q_norm.weight"), (&mut k, "attn_k_norm.weight")] {
                for head in x.chunks_exact_mut(head_dim) {
                    if model.architecture == "qwen3" {
                        head.copy_from_slice(&rms_norm(head, &get(&name(norm)), eps));
                    }
                    for i in 0..model.n_rot / 2 {
                        let (a, b) = match model.architecture {
                            "llama" => (2 * i, 2 * i + 1),
                            _ => (i, i + model.n_rot / 2),
                        };
                        let (sin, cos) = angle(position, i).sin_cos();
                        let (first, second) = (head[a], head[b]);
                        head[a] = length * (first * cos - second * sin);
                        head[b] = length * (first * sin + second * cos);
                    }
                }
            }
            keys[layer].push(k);
            values[layer].push(v);
            let mut attended = Vec::new();
            for (head, q) in q.chunks_exact(head_dim).enumerate() {
                let range = head / group * head_dim..(head / group + 1) * head_dim;
                let scores: Vec<f64> = keys[layer]
                    .iter()
                    .map(|k| dot(q, &k[range.clone()]) / (head_dim as f64).sqrt())
                    .collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for d in range {
                    let products =
                        weights.iter().zip(&values[layer]).map(|(weight, v): (_, &Vec<f64>)| weight * v[d]);
                    attended.push(products.sum::<f64>() / sum);
                }
            }
            add(&mut x, &multiply(&tensors, &name("attn_output.weight"), &attended));
            let n = rms_norm(&x, &get(&name("ffn_norm.weight")), eps);
            let gate = multiply(&tensors, &name("ffn_gate.weight"), &n);
            let up = multiply(&tensors, &name("ffn_up.weight"), &n);
            let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            add(&mut x, &multiply(&tensors, &name("ffn_down.weight"), &inner));
        }
        let n = rms_norm(&x, &get("output_norm.weight"), eps);
        let output = if model.is_tied { "token_embd.weight" } else { "output.weight" };
        logits.push(multiply(&tensors, output, &n));
    }
    Naive { layer_inputs, logits }
}

/// The usual angle: position · θ^(−2i / n_rot).
pub fn plain_angle(model: &TinyModel) -> impl Fn(usize, usize) -> f64 {
    let (theta, n_rot) = (f64::from(model.theta), model.n_rot as f64);
    move |position, i| position as f64 * theta.powf(-2.0 * i as f64 / n_rot)
}

pub fn multiply(tensors: &Tensors, name: &str, x: &[f64]) -> Vec<f64> {
    let (shape, weights) = &tensors[name];
    let rows = weights.chunks_exact(shape[1]);
    rows.map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()).collect()
}

pub fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let scale = 1.0 / (dot(x, x) / x.len() as f64 + eps).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// ‖ours − theirs‖ / ‖theirs‖
pub fn distance(ours: &[f32], theirs: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut ours.iter().zip(theirs).map(|(&a, b)| f64::from(a) - b));
    difference / norm(&mut theirs.iter().copied())
}

/// Loads the model and compares it with a naive pass, layer by layer, so that a failure names the layer.
pub fn compare(model: &TinyModel, tokens: &[u32], theirs: &Naive, tolerance: f64) {
    let loaded = model.load(&LoadOptions { n_threads: Some(2), ..LoadOptions::default() });
    compare_loaded(&loaded, model, tokens, theirs, tolerance);
}

/// As [`compare`], of a loaded model.
pub fn compare_loaded(
    loaded: &Arc<CpuModel>,
    model: &TinyModel,
    tokens: &[u32],
    theirs: &Naive,
    tolerance: f64,
) {
    let mut sequence = loaded.sequence(tokens.len()).unwrap();
    sequence.set_taps(&(0..model.n_layers).collect::<Vec<_>>());
    let ours = sequence.forward(&TokenTree::chain(tokens), LogitRows::All).unwrap();
    for token in 0..tokens.len() {
        for layer in 0..model.n_layers {
            let row = token * model.n_layers + layer;
            let found = distance(
                &ours.taps[row * model.hidden_dim..][..model.hidden_dim],
                &theirs.layer_inputs[layer][token],
            );
            assert!(found < tolerance, "input of layer {layer}, token {token}: off by {found:e}");
        }
        let logits = &ours.logits[token * model.vocab_size..][..model.vocab_size];
        let found = distance(logits, &theirs.logits[token]);
        assert!(found < tolerance, "logits of token {token}: off by {found:e}");
    }
}
