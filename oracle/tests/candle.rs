//! Logits against candle's, which shares no code with ours.
//!
//! Tiny models with F32 matrices leave one difference but for the order of sums: our KV cache has 16-bit
//! integers, an error of some 1.5·10⁻⁵ of a key's or value's length. Scores here reach ±13, so that softmax
//! weights are off by 2·10⁻⁴, and three layers add up: 10⁻³ of the logits' length (`model/tests/golden.rs`). A wrong
//! rotation, mask, norm or order of heads is off by the order of one.
//!
//! SmolLM2 with its weights unpacked to F32 leaves the same, and gentler scores: a KL of 10⁻⁵ is 66 times what was
//! found. With weights as they are both round activations to 8 bits, ours once for 32 columns as llama.cpp does, so
//! that both are off from F32, by as much up to chance.

use std::io::Cursor;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};
use common::{Rng, TinyModel};
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
use nano_reasoning_model::{CpuModel, LoadOptions};
use nano_reasoning_text::{Special, Tokenizer};

#[path = "../../crates/model/tests/common/mod.rs"]
mod common;

/// Of ‖logits‖.
const TINY_TOLERANCE: f64 = 1e-3;
/// Nats for each token, on average.
const EXACT_KL: f64 = 1e-5;
const N_TEXT_TOKENS: usize = 300;

/// A candle model and how far its cache is.
struct Candle {
    model: Model,
    n_cached: usize,
}

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
    Qwen3(quantized_qwen3::ModelWeights),
}

impl Candle {
    fn load(architecture: &str, bytes: &[u8]) -> Self {
        let (mut reader, cpu) = (Cursor::new(bytes), Device::Cpu);
        let content = Content::read(&mut reader).unwrap();
        let model = match architecture {
            "llama" => {
                Model::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut reader, &cpu).unwrap())
            }
            "qwen2" => {
                Model::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &cpu).unwrap())
            }
            "qwen3" => {
                Model::Qwen3(quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &cpu).unwrap())
            }
            other => panic!("candle is not asked for {other}"),
        };
        Self { model, n_cached: 0 }
    }

    /// Logits of the last of `tokens`, which follow those of earlier calls.
    fn forward(&mut self, tokens: &[u32]) -> Vec<f32> {
        let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = match &mut self.model {
            Model::Llama(model) => model.forward(&input, self.n_cached),
            Model::Qwen2(model) => model.forward(&input, self.n_cached),
            Model::Qwen3(model) => model.forward(&input, self.n_cached),
        };
        self.n_cached += tokens.len();
        logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// ‖ours − theirs‖ / ‖theirs‖
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    let squares = |pairs: &mut dyn Iterator<Item = f32>| pairs.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = squares(&mut ours.iter().zip(theirs).map(|(a, b)| a - b));
    (difference / squares(&mut theirs.iter().copied())).sqrt()
}

/// Kullback–Leibler divergence of `ours` from `theirs`, both logits, in nats.
fn divergence(theirs: &[f32], ours: &[f32]) -> f64 {
    let logprobs = |logits: &[f32]| -> Vec<f64> {
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
        logits.iter().map(|&x| f64::from(x - max) - sum.ln()).collect()
    };
    logprobs(theirs).iter().zip(logprobs(ours)).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// The model's file. Candle rounds Qwen3's sines to F16 unless the file says that it is of F32.
fn to_bytes(model: &TinyModel) -> Vec<u8> {
    let bytes = model.to_bytes();
    let file = GgufFile::from_bytes(&bytes).unwrap();
    let mut writer = GgufWriter::new();
    writer.copy_metadata(file.metadata()).unwrap().metadata("general.dtype", 0_u32).unwrap();
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), tensor.dtype(), tensor.shape(), file.tensor_bytes(tensor)).unwrap();
    }
    writer.to_bytes()
}

#[test]
fn tiny_models_have_candles_logits() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        for is_tied in [false, true] {
            // Candle takes a head's width from the others' product.
            let model = TinyModel { hidden_dim: 6 * 32, is_tied, ..TinyModel::new(architecture) };
            let bytes = to_bytes(&model);
            let tokens = Rng(7).tokens(60, model.vocab_size);
            let ours =
                CpuModel::from_gguf(&GgufFile::from_bytes(&bytes).unwrap(), &LoadOptions::default()).unwrap();
            let mut sequence = ours.sequence(tokens.len()).unwrap();
            let ours = sequence.forward(&TokenTree::chain(&tokens), LogitRows::All).unwrap().logits.to_vec();
            let mut candle = Candle::load(architecture, &bytes);
            let mut worst = 0.0_f64;
            // A prompt, then token by token.
            for (start, end) in [(0, 40)].into_iter().chain((40..tokens.len()).map(|at| (at, at + 1))) {
                let theirs = candle.forward(&tokens[start..end]);
                worst =
                    worst.max(distance(&ours[(end - 1) * model.vocab_size..][..model.vocab_size], &theirs));
            }
            println!("{architecture}, tied {is_tied}: off by {worst:.1e} at most");
            assert!(worst < TINY_TOLERANCE, "{architecture}, tied {is_tied}: off by {worst:e}");
        }
    }
}

#[test]
fn smollm2_says_what_candle_says() {
    let home = || std::env::home_dir().map(|home| home.join(".cache/nano-reasoning/models"));
    let store = std::env::var_os("NANO_REASONING_CACHE").map(PathBuf::from).or_else(home).unwrap();
    let path = store.join("smollm2-135m-instruct-q4_1.gguf");
    let Ok(bytes) = std::fs::read(&path) else {
        return eprintln!(
            "skipped: there is no {}; get it with: nano-reasoning pull smollm2-135m",
            path.display()
        );
    };
    let tokenizer = Tokenizer::from_gguf(&GgufFile::from_bytes(&bytes).unwrap()).unwrap();
    let mut tokens = tokenizer.encode(include_str!("../../ARCHITECTURE.md"), Special::AsText);
    tokens.truncate(N_TEXT_TOKENS);

    let unpacked = unpacked(&bytes);
    let [ours, ours_unpacked] = [&bytes, &unpacked].map(|bytes| ours_of(bytes, &tokens));
    let [candles, truth] = [&bytes, &unpacked].map(|bytes| {
        let mut candle = Candle::load("llama", bytes);
        tokens.iter().map(|&token| candle.forward(&[token])).collect::<Vec<_>>()
    });
    let mean = |found: &[Vec<f32>]| {
        let sum: f64 = truth.iter().zip(found).map(|(theirs, ours)| divergence(theirs, ours)).sum();
        sum / tokens.len() as f64
    };
    let (exact, ours, candles) = (mean(&ours_unpacked), mean(&ours), mean(&candles));
    println!(
        "KL of candle in F32, in nats a token: ours in F32 {exact:.1e}, ours {ours:.1e}, candle's {candles:.1e}"
    );
    assert!(exact < EXACT_KL, "KL in F32 is {exact:e}");
    assert!(ours < 1.5 * candles, "KL is {ours:e}, candle's own {candles:e}");
}

/// All rows of logits.
fn ours_of(bytes: &[u8], tokens: &[u32]) -> Vec<Vec<f32>> {
    let model = CpuModel::from_gguf(&GgufFile::from_bytes(bytes).unwrap(), &LoadOptions::default()).unwrap();
    let mut sequence = model.sequence(tokens.len()).unwrap();
    let logits = sequence.forward(&TokenTree::chain(tokens), LogitRows::All).unwrap().logits;
    logits.chunks_exact(logits.len() / tokens.len()).map(<[f32]>::to_vec).collect()
}

/// The same model with all its weights in F32, as candle unpacks them.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let file = GgufFile::from_bytes(bytes).unwrap();
    let mut reader = Cursor::new(bytes);
    let content = Content::read(&mut reader).unwrap();
    let mut writer = GgufWriter::new();
    writer.copy_metadata(file.metadata()).unwrap();
    for tensor in file.tensors() {
        let found = content.tensor(&mut reader, tensor.name(), &Device::Cpu).unwrap();
        let values = found.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        writer.tensor(tensor.name(), DType::F32, tensor.shape(), values).unwrap();
    }
    writer.to_bytes()
}
