//! Hugging Face folders: the same models as in GGUF files, and MLX's affine quantization.

mod common;

use common::folder::{self, Stored, config, folder_name, write, write_safetensors};
use common::naive::{self, compare_loaded};
use common::{Rng, TinyModel};
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::DType;
use nano_reasoning_model::{CpuModel, Error, LoadOptions};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const BF16: Stored = Stored::Plain(DType::BF16);

fn load(folder: &Path) -> Result<Arc<CpuModel>, Error> {
    CpuModel::load(folder, &LoadOptions::default())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The message with which a folder is refused that holds `model` with other keys in its configuration.
fn refusal(model: &TinyModel, keys: &[(&str, Value)]) -> String {
    let (folder, mut config) = (folder(), config(model));
    for (key, value) in keys {
        config[*key] = value.clone();
    }
    write(folder.path(), &config, &folder::tensors(model, BF16).0);
    load(folder.path()).err().expect("this folder is refused").to_string()
}

fn logits(model: &Arc<CpuModel>, tokens: &[u32]) -> Vec<u32> {
    let mut sequence = model.sequence(tokens.len()).unwrap();
    let found = sequence.forward(&TokenTree::chain(tokens), LogitRows::All).unwrap();
    found.logits.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_folder_computes_what_its_gguf_file_does() {
    let tokens = Rng(1).tokens(20, 75);
    for architecture in ["qwen2", "qwen3"] {
        for (dtype, is_tied) in [(DType::F32, false), (DType::F16, true), (DType::BF16, false)] {
            let model = TinyModel { dtype, is_tied, ..TinyModel::new(architecture) };
            let folder = folder();
            write(folder.path(), &config(&model), &folder::tensors(&model, Stored::Plain(dtype)).0);
            let found = logits(&load(folder.path()).unwrap(), &tokens);
            assert!(found == logits(&model.load(&LoadOptions::default()), &tokens), "{architecture} {dtype}");
        }
    }
}

/// Llama's heads are in halves here, where GGUF files have neighbours.
#[test]
fn a_llama_folder_equals_a_naive_pass() {
    let tokens = Rng(2).tokens(20, 75);
    for model_type in ["llama", "mistral"] {
        let (folder, model) = (folder(), TinyModel::new("llama"));
        let mut config = config(&model);
        config["model_type"] = json!(model_type);
        write(folder.path(), &config, &folder::tensors(&model, Stored::Plain(DType::F32)).0);
        let halves = TinyModel { architecture: "llama in halves", ..model };
        let theirs = naive::forward(&halves, &tokens, &naive::plain_angle(&halves), 1.0);
        compare_loaded(&load(folder.path()).unwrap(), &halves, &tokens, &theirs, 1e-3);
    }
}

/// Each embedding is scale · code + bias to the last bit but one; logits are as close as 8-bit activations
/// allow (see `golden.rs`).
#[test]
fn affine_weights_are_the_sources() {
    let tokens = Rng(3).tokens(12, 75);
    for (bits, group_len, is_bf16) in [
        (4, 32, false),
        (4, 32, true),
        (4, 64, false),
        (4, 64, true),
        (4, 128, true),
        (8, 32, true),
        (8, 64, false),
        (8, 128, false),
    ] {
        let tiny = TinyModel::new("qwen2");
        let model = TinyModel { hidden_dim: 128, ffn_dim: 256, head_dim: 64, n_rot: 64, n_heads: 4, ..tiny };
        let stored = Stored::Affine { bits, group_len, is_bf16 };
        let (files, meant) = folder::tensors(&model, stored);
        let (folder, mut config) = (folder(), config(&model));
        config["quantization"] = json!({ "group_size": group_len, "bits": bits });
        config["quantization_config"] = config["quantization"].clone();
        write(folder.path(), &config, &files);
        let loaded = load(folder.path()).unwrap();
        let mut embedding = vec![0.0; 128];
        for token in 0..75 {
            loaded.embed(token, &mut embedding);
            let wanted = &meant["token_embd.weight"].1[token as usize * 128..][..128];
            for (found, wanted) in embedding.iter().zip(wanted) {
                let tolerance = if bits == 8 { 1e-6 } else { 1e-7 };
                assert!((found - wanted).abs() <= tolerance, "{stored:?}: {found}, wanted {wanted}");
            }
        }
        let meant = TinyModel { instead: Some(meant), ..model };
        let theirs = naive::forward(&meant, &tokens, &naive::plain_angle(&meant), 1.0);
        compare_loaded(&loaded, &meant, &tokens, &theirs, 0.1);
    }
}

#[test]
fn affine_weights_take_the_sources_memory() {
    let model = TinyModel { vocab_size: 80, is_tied: true, ..TinyModel::new("llama") };
    for group_len in [32, 64] {
        let model = TinyModel { ffn_dim: 128, ..model.clone() };
        let stored = Stored::Affine { bits: 4, group_len, is_bf16: true };
        let (folder, (files, _)) = (folder(), folder::tensors(&model, stored));
        write(folder.path(), &config(&model), &files);
        let source: usize =
            files.iter().filter(|file| file.1 != safetensors::Dtype::F32).map(|f| f.3.len()).sum();
        assert_eq!(load(folder.path()).unwrap().weights_bytes(), source, "groups of {group_len}");
    }
}

#[test]
fn an_index_names_the_files() {
    let model = TinyModel::new("qwen3");
    let (files, _) = folder::tensors(&model, BF16);
    let (whole, split) = (folder(), folder());
    write(whole.path(), &config(&model), &files);
    std::fs::write(split.path().join("config.json"), config(&model).to_string()).unwrap();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let (first, second) = files.split_at(files.len() / 2);
    let mut weight_map = serde_json::Map::new();
    for (name, tensors) in names.into_iter().zip([first, second]) {
        write_safetensors(&split.path().join(name), tensors);
        weight_map.extend(tensors.iter().map(|tensor| (tensor.0.clone(), json!(name))));
    }
    let index = split.path().join("model.safetensors.index.json");
    std::fs::write(&index, json!({ "metadata": {}, "weight_map": weight_map }).to_string()).unwrap();
    let tokens = Rng(4).tokens(9, 75);
    let wanted = logits(&load(whole.path()).unwrap(), &tokens);
    assert!(logits(&load(split.path()).unwrap(), &tokens) == wanted);

    std::fs::remove_file(split.path().join(names[1])).unwrap();
    let message = load(split.path()).err().unwrap().to_string();
    assert!(message.starts_with("cannot read '") && message.contains(names[1]), "{message}");

    weight_map["model.norm.weight"] = json!("../secret.safetensors");
    std::fs::write(&index, json!({ "weight_map": weight_map }).to_string()).unwrap();
    let message = load(split.path()).err().unwrap().to_string();
    assert!(message.contains("is '../secret.safetensors', wanted names of files"), "{message}");
}

#[test]
fn names_the_file_that_is_missing_or_broken() {
    let model = TinyModel::new("llama");
    let folder = folder();
    let message = || load(folder.path()).err().unwrap().to_string();
    assert!(message().contains("config.json': No such file"), "{}", message());
    std::fs::write(folder.path().join("config.json"), "{\n  \"model_type\": qwen2\n}").unwrap();
    assert!(message().contains("config.json': expected value at line 2 column 17"), "{}", message());
    std::fs::write(folder.path().join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    assert!(message().contains("missing field `hidden_size`"), "{}", message());
    std::fs::write(folder.path().join("config.json"), config(&model).to_string()).unwrap();
    assert!(message().contains("model.safetensors': No such file"), "{}", message());
    write_safetensors(&folder.path().join("model.safetensors"), &folder::tensors(&model, BF16).0);
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
    assert!(message().contains("is no whole safetensors file"), "{}", message());
}

#[test]
fn refuses_features_it_does_not_compute() {
    let model = TinyModel::new("qwen3");
    for (key, value, wanted) in [
        ("model_type", json!("gemma3"), "architecture 'gemma3' is not supported"),
        ("hidden_act", json!("gelu"), "'hidden_act' is gelu"),
        ("attention_bias", json!(true), "'attention_bias' is true"),
        ("mlp_bias", json!(true), "'mlp_bias' is true"),
        ("num_attention_heads", json!(5), "'num_key_value_heads' is 2"),
        ("num_hidden_layers", json!(0), "'num_hidden_layers' is 0"),
        ("partial_rotary_factor", json!(1.5), "'partial_rotary_factor · head_dim' is 48"),
        ("rope_scaling", json!({ "type": "dynamic", "factor": 2.0 }), "'rope_scaling.rope_type' is dynamic"),
        ("rope_scaling", json!({ "rope_type": "linear" }), "'rope_scaling.factor' is missing"),
        ("rope_scaling", json!({ "rope_type": "linear", "factor": 0 }), "'rope scaling' is 0"),
        ("quantization", json!({ "bits": 4, "mode": "mxfp4" }), "'quantization.mode' is mxfp4"),
        (
            "quantization_config",
            json!({ "quant_method": "awq" }),
            "'quantization_config.quant_method' is awq",
        ),
        ("vocab_size", json!(76), "'model.embed_tokens.weight' has shape [75, 64], wanted [76, 64]"),
    ] {
        let message = refusal(&model, &[(key, value)]);
        assert!(message.contains(wanted), "{message}, wanted {wanted}");
    }
}

#[test]
fn refuses_tensors_that_do_not_fit_together() {
    let model = TinyModel { is_tied: true, ffn_dim: 128, ..TinyModel::new("llama") };
    let stored = Stored::Affine { bits: 4, group_len: 32, is_bf16: true };
    let up = folder_name("blk.1.ffn_up.weight").replace(".weight", "");
    let refused = |change: &dyn Fn(&mut Vec<folder::StoredTensor>)| {
        let (folder, (mut files, _)) = (folder(), folder::tensors(&model, stored));
        change(&mut files);
        write(folder.path(), &config(&model), &files);
        load(folder.path()).err().expect("this folder is refused").to_string()
    };
    let at = |files: &[folder::StoredTensor], name: &str| {
        files.iter().position(|file| file.0 == format!("{up}.{name}")).unwrap()
    };
    let message = refused(&|files| drop(files.remove(at(files, "scales"))));
    assert!(message.contains(&format!("no tensor '{up}.scales', which llama needs; it has")), "{message}");
    let message = refused(&|files| {
        let at = at(files, "weight");
        // 3 bits: six words for 64 columns.
        (files[at].2, files[at].3) = (vec![128, 6], vec![0; 128 * 24]);
    });
    assert!(message.contains("stored as 3-bit codes in groups of 32 with BF16 scales"), "{message}");
    let message = refused(&|files| {
        let at = at(files, "biases");
        (files[at].2, files[at].3) = (vec![128, 1], vec![0; 256]);
    });
    assert!(message.contains("biases' has shape [128, 1], wanted [128, 2]"), "{message}");
    let message = refused(&|files| {
        files.push(("model.visual.weight".into(), safetensors::Dtype::U8, vec![1], vec![0]))
    });
    assert!(message.contains("has a tensor 'model.visual.weight' that llama does not compute"), "{message}");
}

#[test]
fn a_window_counts_only_where_it_is_used() {
    let used = json!({ "sliding_window": 50, "use_sliding_window": true });
    for (architecture, model_type, keys, wanted) in [
        ("qwen2", "qwen2", json!({ "sliding_window": 50, "use_sliding_window": false }), 700),
        ("qwen2", "qwen2", used.clone(), 50),
        ("llama", "mistral", json!({ "sliding_window": 50 }), 50),
        ("llama", "mistral", json!({ "sliding_window": null }), 700),
    ] {
        let (folder, model) = (folder(), TinyModel::new(architecture));
        let mut config = config(&model);
        config["model_type"] = json!(model_type);
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        write(folder.path(), &config, &folder::tensors(&model, BF16).0);
        let sequence = load(folder.path()).unwrap().sequence(1000).unwrap();
        assert_eq!(sequence.shape().context_len, wanted, "{model_type} {keys}");
    }
}

/// Llama 3.1's scaling, from its definition: wavelengths above `original / low` are divided, those below
/// `original / high` kept, and between the share goes with `original / wavelength`.
#[test]
fn llama3_scaling_divides_long_waves() {
    let tokens = Rng(5).tokens(30, 75);
    let (folder, model) = (folder(), TinyModel { theta: 500.0, ..TinyModel::new("qwen2") });
    let mut config = config(&model);
    config["rope_scaling"] = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    });
    write(folder.path(), &config, &folder::tensors(&model, Stored::Plain(DType::F32)).0);
    let plain = naive::plain_angle(&model);
    let mut n_between = 0;
    for i in 0..16 {
        let share = 256.0 * plain(1, i) / std::f64::consts::TAU;
        n_between += usize::from((1.0..4.0).contains(&share));
    }
    assert!(n_between > 0, "some frequency is on the ramp");
    let angle = |position: usize, i: usize| {
        let wavelength = std::f64::consts::TAU / plain(1, i);
        let kept = ((256.0 / wavelength - 1.0) / (4.0 - 1.0)).clamp(0.0, 1.0);
        plain(position, i) * (kept + (1.0 - kept) / 8.0)
    };
    let theirs = naive::forward(&model, &tokens, &angle, 1.0);
    compare_loaded(&load(folder.path()).unwrap(), &model, &tokens, &theirs, 1e-3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is in a header, loading ends in a model or an error.
    #[test]
    fn changed_headers_do_not_panic(changes in prop::collection::vec((0usize..1500, any::<u8>()), 1..4)) {
        load_or_refuse(|bytes| changes.iter().for_each(|&(at, byte)| bytes[at] = byte))?;
    }

    /// However long the header says it is, and wherever the file ends. A length is believed only as far as there are
    /// bytes, so that no allocation follows from it.
    #[test]
    fn wrong_lengths_do_not_panic(
        header_len in any::<u64>(),
        shift in 0..64_u32,
        is_cut in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        load_or_refuse(|bytes| match is_cut {
            true => bytes.truncate(cut.index(bytes.len())),
            false => bytes[..8].copy_from_slice(&(header_len >> shift).to_le_bytes()),
        })?;
    }

    /// Numbers of the header, which are shapes and offsets, become others.
    #[test]
    fn wrong_numbers_do_not_panic(which in any::<prop::sample::Index>(), number in any::<u64>(), shift in 0..64_u32) {
        load_or_refuse(|bytes| {
            let end = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
            let header = String::from_utf8(bytes[8..end].to_vec()).unwrap();
            let is_start = |at: usize, c: char| c.is_ascii_digit() && "[,".contains(&header[at - 1..at]);
            let starts: Vec<usize> = header.char_indices().filter(|&(at, c)| is_start(at, c)).map(|(at, _)| at).collect();
            let start = starts[which.index(starts.len())];
            let n_digits = header[start..].find(|c: char| !c.is_ascii_digit()).unwrap();
            let changed = format!("{}{}{}", &header[..start], number >> shift, &header[start + n_digits..]);
            let data = bytes[end..].to_vec();
            *bytes = (changed.len() as u64).to_le_bytes().to_vec();
            bytes.extend(changed.bytes().chain(data));
        })?;
    }
}

/// Loads a small model from a file with `change` made to it; an error is told on one printable line.
fn load_or_refuse(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), TestCaseError> {
    let model = TinyModel { n_layers: 1, is_tied: true, ffn_dim: 128, ..TinyModel::new("llama") };
    let folder = folder();
    let stored = Stored::Affine { bits: 4, group_len: 64, is_bf16: false };
    write(folder.path(), &config(&model), &folder::tensors(&model, stored).0);
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    if let Err(error) = load(folder.path()) {
        let message = error.to_string();
        prop_assert!(!message.contains(char::is_control) && message.len() < 2000, "{message:?}");
    }
    Ok(())
}
