//! A tiny model with fixed random weights, and a forward pass that follows the papers' formulas in f64
//! over row-major weights, sharing no code with the engine.
#![allow(dead_code, unreachable_pub)]

pub mod folder;
pub mod head;
pub mod head_folder;
pub mod naive;

use half::{bf16, f16};
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model to be written to a GGUF file. Sizes are odd on purpose where they may be.
#[derive(Clone)]
pub struct TinyModel {
    pub architecture: &'static str,
    pub n_layers: usize,
    pub hidden_dim: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub ffn_dim: usize,
    pub vocab_size: usize,
    pub context_len: usize,
    pub n_rot: usize,
    pub theta: f32,
    pub eps: f32,
    pub is_tied: bool,
    /// How matrices are stored.
    pub dtype: DType,
    /// Metadata beside the usual, under the architecture's prefix.
    pub extra: Vec<(&'static str, Extra)>,
    /// `rope_freqs.weight`
    pub rope_factors: Option<Vec<f32>>,
    /// What the file says of its layers, if not the truth.
    pub claimed_layers: Option<usize>,
    pub seed: u64,
    /// Tensors to have instead of random ones.
    pub instead: Option<Tensors>,
}

#[derive(Clone)]
pub enum Extra {
    Float(f32),
    Integer(u32),
    Text(&'static str),
}

/// A tensor's shape, outermost first, and its numbers as they are after storing, row-major.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl TinyModel {
    pub fn new(architecture: &'static str) -> Self {
        Self {
            architecture,
            n_layers: 3,
            hidden_dim: 64,
            n_heads: 6,
            n_kv_heads: 2,
            head_dim: 32,
            ffn_dim: 96,
            vocab_size: 75,
            context_len: 700,
            n_rot: 32,
            theta: 10_000.0,
            eps: 1e-5,
            is_tied: false,
            dtype: DType::F32,
            extra: Vec::new(),
            rope_factors: None,
            claimed_layers: None,
            seed: 1,
            instead: None,
        }
    }

    /// All tensors, in the order in which they are written.
    pub fn tensors(&self) -> Tensors {
        if let Some(tensors) = &self.instead {
            return tensors.clone();
        }
        let mut rng = Rng(self.seed);
        let mut tensors = Tensors::new();
        let (hidden_dim, ffn_dim) = (self.hidden_dim, self.ffn_dim);
        let (q_dim, kv_dim) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let mut matrix = |name: String, n_rows: usize, n_cols: usize, tensors: &mut Tensors| {
            let scale = 1.5 / (n_cols as f32).sqrt();
            let values = (0..n_rows * n_cols).map(|_| rng.normal() * scale).collect::<Vec<_>>();
            tensors.insert(name, (vec![n_rows, n_cols], stored(&values, self.dtype)));
        };
        matrix("token_embd.weight".into(), self.vocab_size, hidden_dim, &mut tensors);
        if !self.is_tied {
            matrix("output.weight".into(), self.vocab_size, hidden_dim, &mut tensors);
        }
        for i in 0..self.n_layers {
            for (part, n_rows, n_cols) in [
                ("attn_q", q_dim, hidden_dim),
                ("attn_k", kv_dim, hidden_dim),
                ("attn_v", kv_dim, hidden_dim),
                ("attn_output", hidden_dim, q_dim),
                ("ffn_gate", ffn_dim, hidden_dim),
                ("ffn_up", ffn_dim, hidden_dim),
                ("ffn_down", hidden_dim, ffn_dim),
            ] {
                matrix(format!("blk.{i}.{part}.weight"), n_rows, n_cols, &mut tensors);
            }
        }
        let mut vector = |name: String, len: usize, middle: f32, tensors: &mut Tensors| {
            let values = (0..len).map(|_| middle + 0.3 * rng.normal()).collect();
            tensors.insert(name, (vec![len], values));
        };
        vector("output_norm.weight".into(), hidden_dim, 1.0, &mut tensors);
        for i in 0..self.n_layers {
            vector(format!("blk.{i}.attn_norm.weight"), hidden_dim, 1.0, &mut tensors);
            vector(format!("blk.{i}.ffn_norm.weight"), hidden_dim, 1.0, &mut tensors);
            if self.architecture == "qwen2" {
                vector(format!("blk.{i}.attn_q.bias"), q_dim, 0.0, &mut tensors);
                vector(format!("blk.{i}.attn_k.bias"), kv_dim, 0.0, &mut tensors);
                vector(format!("blk.{i}.attn_v.bias"), kv_dim, 0.0, &mut tensors);
            }
            if self.architecture == "qwen3" {
                vector(format!("blk.{i}.attn_q_norm.weight"), self.head_dim, 1.0, &mut tensors);
                vector(format!("blk.{i}.attn_k_norm.weight"), self.head_dim, 1.0, &mut tensors);
            }
        }
        if let Some(factors) = &self.rope_factors {
            tensors.insert("rope_freqs.weight".into(), (vec![factors.len()], factors.clone()));
        }
        tensors
    }

    /// A writer with all metadata.
    pub fn writer(&self) -> GgufWriter<'static> {
        let mut writer = GgufWriter::new();
        writer.metadata("general.architecture", self.architecture).unwrap();
        for (key, value) in [
            ("block_count", self.claimed_layers.unwrap_or(self.n_layers)),
            ("embedding_length", self.hidden_dim),
            ("attention.head_count", self.n_heads),
            ("attention.head_count_kv", self.n_kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("feed_forward_length", self.ffn_dim),
            ("context_length", self.context_len),
            ("rope.dimension_count", self.n_rot),
        ] {
            writer.metadata(&format!("{}.{key}", self.architecture), value as u32).unwrap();
        }
        for (key, value) in [("rope.freq_base", self.theta), ("attention.layer_norm_rms_epsilon", self.eps)] {
            writer.metadata(&format!("{}.{key}", self.architecture), value).unwrap();
        }
        for (key, value) in &self.extra {
            let key = format!("{}.{key}", self.architecture);
            match *value {
                Extra::Float(value) => writer.metadata(&key, value).unwrap(),
                Extra::Integer(value) => writer.metadata(&key, value).unwrap(),
                Extra::Text(value) => writer.metadata(&key, value).unwrap(),
            };
        }
        writer
    }

    /// The whole file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = self.writer();
        for (name, (shape, values)) in self.tensors() {
            let dtype = if shape.len() == 2 { self.dtype } else { DType::F32 };
            writer.tensor(&name, dtype, &shape, encode(&values, dtype)).unwrap();
        }
        writer.to_bytes()
    }

    pub fn load(&self, options: &LoadOptions) -> Arc<CpuModel> {
        CpuModel::from_gguf(&GgufFile::from_bytes(&self.to_bytes()).unwrap(), options).unwrap()
    }
}

/// Numbers as they are after storing.
pub fn stored(values: &[f32], dtype: DType) -> Vec<f32> {
    let bytes = encode(values, dtype);
    match dtype {
        DType::F32 => values.to_vec(),
        DType::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        DType::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        DType::Q8_0 => {
            let blocks = bytes.as_chunks::<34>().0.iter();
            blocks
                .flat_map(|block| {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    block[2..].iter().map(move |&code| scale * f32::from(code as i8))
                })
                .collect()
        }
        _ => unreachable!("no test stores {dtype}"),
    }
}

pub fn encode(values: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        DType::Q8_0 => {
            let mut bytes = Vec::new();
            for block in values.as_chunks::<32>().0 {
                let scale = f16::from_f32(block.iter().fold(0.0f32, |a, x| a.max(x.abs())) / 127.0);
                bytes.extend(scale.to_le_bytes());
                let code = |x: &f32| (x / scale.to_f32()).round().clamp(-127.0, 127.0) as i8 as u8;
                bytes.extend(block.iter().map(code));
            }
            bytes
        }
        _ => unreachable!("no test stores {dtype}"),
    }
}

/// SplitMix64, and sums of its numbers that look normal.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1 << 24) as f32;
        (0..12).map(|_| uniform(self.next())).sum::<f32>() - 6.0
    }

    pub fn token(&mut self, vocab_size: usize) -> u32 {
        (self.next() % vocab_size as u64) as u32
    }

    pub fn tokens(&mut self, n: usize, vocab_size: usize) -> Vec<u32> {
        (0..n).map(|_| self.token(vocab_size)).collect()
    }
}
