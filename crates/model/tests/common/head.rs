//! A tiny EAGLE-3 head with fixed random weights, and its formulas in f64, one entry after the other.

use super::naive::{add, dot, multiply, rms_norm};
use super::{Rng, Tensors, TinyModel, encode, stored};
use nano_reasoning_engine::{DraftHead, LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
use nano_reasoning_model::{CpuModel, Eagle3Head, Error, HeadOptions};
use std::sync::Arc;

/// A head to be written to a file.
#[derive(Clone)]
pub struct TinyHead {
    pub taps: Vec<usize>,
    pub hidden_dim: usize,
    pub vocab_size: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub ffn_dim: usize,
    pub theta: f32,
    pub eps: f32,
    /// Tokens it drafts over.
    pub core: Vec<u32>,
    /// Whether it has trained rows for those.
    pub has_output: bool,
    /// How matrices are stored.
    pub dtype: DType,
    pub seed: u64,
}

impl TinyHead {
    /// A head for `target`, over 40 of its tokens.
    pub fn new(target: &TinyModel) -> Self {
        Self {
            taps: vec![0, 2],
            hidden_dim: target.hidden_dim,
            vocab_size: target.vocab_size,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 32,
            ffn_dim: 96,
            theta: 5000.0,
            eps: 1e-6,
            core: (0..40).map(|i| i * 31 % 75).collect(),
            has_output: false,
            dtype: DType::F32,
            seed: 77,
        }
    }

    /// All tensors but `d2t`, as llama.cpp names them and orders the rows of queries and keys.
    pub fn tensors(&self) -> Tensors {
        let mut rng = Rng(self.seed);
        let mut tensors = Tensors::new();
        let (hidden_dim, ffn_dim) = (self.hidden_dim, self.ffn_dim);
        let (q_dim, kv_dim) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let output = self.has_output.then_some(("output", self.core.len(), hidden_dim));
        let matrices = [
            ("fc", hidden_dim, self.taps.len() * hidden_dim),
            ("blk.0.attn_q", q_dim, 2 * hidden_dim),
            ("blk.0.attn_k", kv_dim, 2 * hidden_dim),
            ("blk.0.attn_v", kv_dim, 2 * hidden_dim),
            ("blk.0.attn_output", hidden_dim, q_dim),
            ("blk.0.ffn_gate", ffn_dim, hidden_dim),
            ("blk.0.ffn_up", ffn_dim, hidden_dim),
            ("blk.0.ffn_down", hidden_dim, ffn_dim),
        ];
        for (name, n_rows, n_cols) in matrices.into_iter().chain(output) {
            let scale = 1.5 / (n_cols as f32).sqrt();
            let values = (0..n_rows * n_cols).map(|_| rng.normal() * scale).collect::<Vec<_>>();
            tensors.insert(format!("{name}.weight"), (vec![n_rows, n_cols], stored(&values, self.dtype)));
        }
        for name in ["blk.0.attn_norm", "blk.0.attn_norm_2", "blk.0.ffn_norm", "output_norm"] {
            let values: Vec<f32> = (0..hidden_dim).map(|_| 1.0 + 0.3 * rng.normal()).collect();
            // So that an export in BF16 changes nothing.
            tensors.insert(format!("{name}.weight"), (vec![hidden_dim], stored(&values, DType::BF16)));
        }
        tensors
    }

    /// A writer with all metadata but those that `instead` names, which have other values or none.
    pub fn writer(&self, instead: &[(&str, Option<u32>)]) -> GgufWriter<'static> {
        let mut writer = GgufWriter::new();
        writer.metadata("general.architecture", "eagle3").unwrap();
        let numbers = [
            ("block_count", 1),
            ("context_length", 700),
            ("embedding_length", self.hidden_dim),
            ("feed_forward_length", self.ffn_dim),
            ("attention.head_count", self.n_heads),
            ("attention.head_count_kv", self.n_kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("target_hidden_size", self.hidden_dim),
            ("vocab_size", self.vocab_size),
        ];
        let kept = numbers.iter().filter(|(key, _)| instead.iter().all(|(other, _)| other != key));
        let kept = kept.map(|&(key, value)| (key, value as u32));
        let others = instead.iter().filter_map(|&(key, value)| Some((key, value?)));
        for (key, value) in kept.chain(others) {
            writer.metadata(&format!("eagle3.{key}"), value).unwrap();
        }
        writer.metadata("eagle3.rope.freq_base", self.theta).unwrap();
        writer.metadata("eagle3.attention.layer_norm_rms_epsilon", self.eps).unwrap();
        let taps: Vec<i32> = self.taps.iter().map(|&layer| layer as i32).collect();
        writer.metadata("eagle3.target_layers", taps.as_slice()).unwrap();
        writer
    }

    /// Adds all tensors but `without` to `writer`.
    pub fn add_tensors(&self, writer: &mut GgufWriter<'_>, without: &str) {
        for (name, (shape, values)) in self.tensors() {
            let dtype = if shape.len() == 2 { self.dtype } else { DType::F32 };
            if name != without {
                writer.tensor(&name, dtype, &shape, encode(&values, dtype)).unwrap();
            }
        }
        if without != "d2t" {
            let ids: Vec<u8> = self.core.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
            writer.tensor("d2t", DType::I64, &[self.core.len()], ids).unwrap();
        }
    }

    /// The whole file.
    pub fn to_file(&self) -> GgufFile {
        let mut writer = self.writer(&[]);
        self.add_tensors(&mut writer, "");
        GgufFile::from_bytes(&writer.to_bytes()).unwrap()
    }

    pub fn load(&self, target: &Arc<CpuModel>, options: &HeadOptions) -> Result<Eagle3Head, Error> {
        Eagle3Head::from_gguf(&self.to_file(), target, 700, options)
    }
}

/// A prompt, siblings, a node below one and a token of the context: all bits of all logits.
pub fn drafts(head: &mut Eagle3Head, model: &Arc<CpuModel>) -> Vec<u32> {
    let tokens = Rng(3).tokens(21, 75);
    let mut sequence = model.sequence(tokens.len()).unwrap();
    sequence.set_taps(head.taps());
    let taps = sequence.forward(&TokenTree::chain(&tokens), LogitRows::None).unwrap().taps.to_vec();
    head.add_to_vocab(&[74]).unwrap();
    let width = taps.len() / tokens.len();
    let mut logits = head.extend(&taps[..20 * width], &tokens[1..], true).unwrap().logits.to_vec();
    logits.extend(head.step(&[5, 6], &[None, None]).unwrap().logits);
    logits.extend(head.step(&[7], &[Some(1)]).unwrap().logits);
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Entries that a head has computed, committed ones and nodes of a draft alike.
pub struct NaiveHead {
    head: TinyHead,
    tensors: Tensors,
    target: TinyModel,
    of_target: Tensors,
    entries: Vec<Entry>,
}

struct Entry {
    /// Rotated, `[n_kv_heads · head_dim]`
    k: Vec<f64>,
    v: Vec<f64>,
    /// Output, `[hidden_dim]`
    y: Vec<f64>,
}

impl NaiveHead {
    pub fn new(head: &TinyHead, target: &TinyModel) -> Self {
        let (tensors, of_target) = (head.tensors(), target.tensors());
        Self { head: head.clone(), tensors, target: target.clone(), of_target, entries: Vec::new() }
    }

    fn vector(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.iter().map(|&x| f64::from(x)).collect()
    }

    /// A committed entry: the taps of a token, and the token after it. Returns its index.
    pub fn extend(&mut self, taps: &[f32], token: u32) -> usize {
        let taps: Vec<f64> = taps.iter().map(|&x| f64::from(x)).collect();
        let g = multiply(&self.tensors, "fc.weight", &taps);
        let before: Vec<usize> = (0..self.entries.len()).collect();
        self.entry(&g, token, &before)
    }

    /// A node of a draft that follows the entries `before`, all of its path. Returns its index.
    pub fn step(&mut self, token: u32, before: &[usize]) -> usize {
        let g = self.entries[*before.last().unwrap()].y.clone();
        self.entry(&g, token, before)
    }

    /// x = concat(input_layernorm(emb), hidden_norm(g)); a = g + attention(x); y = a + mlp(post_attention_layernorm(a))
    fn entry(&mut self, g: &[f64], token: u32, before: &[usize]) -> usize {
        let TinyHead { hidden_dim, n_heads, n_kv_heads, head_dim, theta, .. } = self.head;
        let eps = f64::from(self.head.eps);
        let embedding = &self.of_target["token_embd.weight"].1[token as usize * hidden_dim..][..hidden_dim];
        let embedding: Vec<f64> = embedding.iter().map(|&x| f64::from(x)).collect();
        let mut x = rms_norm(&embedding, &self.vector("blk.0.attn_norm.weight"), eps);
        x.extend(rms_norm(g, &self.vector("blk.0.attn_norm_2.weight"), eps));
        let mut q = multiply(&self.tensors, "blk.0.attn_q.weight", &x);
        let mut k = multiply(&self.tensors, "blk.0.attn_k.weight", &x);
        let v = multiply(&self.tensors, "blk.0.attn_v.weight", &x);
        for head in q.chunks_exact_mut(head_dim).chain(k.chunks_exact_mut(head_dim)) {
            for (i, pair) in head.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let frequency = f64::from(theta).powf(-2.0 * i as f64 / head_dim as f64);
                let (sin, cos) = (before.len() as f64 * frequency).sin_cos();
                *pair = [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos];
            }
        }
        let seen: Vec<(&[f64], &[f64])> = before
            .iter()
            .map(|&i| (&self.entries[i].k[..], &self.entries[i].v[..]))
            .chain([(&k[..], &v[..])])
            .collect();
        let mut attended = Vec::new();
        for (head, q) in q.chunks_exact(head_dim).enumerate() {
            let range = head / (n_heads / n_kv_heads) * head_dim..;
            let key = |k: &[f64]| dot(q, &k[range.clone()][..head_dim]) / (head_dim as f64).sqrt();
            let scores: Vec<f64> = seen.iter().map(|(k, _)| key(k)).collect();
            let max = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for d in range.clone().take(head_dim) {
                let products = weights.iter().zip(&seen).map(|(weight, (_, v))| weight * v[d]);
                attended.push(products.sum::<f64>() / sum);
            }
        }
        let mut y = g.to_vec();
        add(&mut y, &multiply(&self.tensors, "blk.0.attn_output.weight", &attended));
        let n = rms_norm(&y, &self.vector("blk.0.ffn_norm.weight"), eps);
        let gate = multiply(&self.tensors, "blk.0.ffn_gate.weight", &n);
        let up = multiply(&self.tensors, "blk.0.ffn_up.weight", &n);
        let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        add(&mut y, &multiply(&self.tensors, "blk.0.ffn_down.weight", &inner));
        self.entries.push(Entry { k, v, y });
        self.entries.len() - 1
    }

    /// Logits of entry `index` for `vocab`, which begins with the core list or a part of it; the rows of `n_core`
    /// tokens are the head's own if it has some.
    pub fn logits(&self, index: usize, vocab: &[u32], n_core: usize) -> Vec<f64> {
        let y = &self.entries[index].y;
        let n = rms_norm(y, &self.vector("output_norm.weight"), f64::from(self.head.eps));
        let name = if self.target.is_tied { "token_embd.weight" } else { "output.weight" };
        let of_target = multiply(&self.of_target, name, &n);
        let own = self.head.has_output.then(|| multiply(&self.tensors, "output.weight", &n));
        let score = |(row, &token): (usize, &u32)| match &own {
            Some(own) if row < n_core => own[row],
            _ => of_target[token as usize],
        };
        vocab.iter().enumerate().map(score).collect()
    }
}
