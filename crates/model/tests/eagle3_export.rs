//! Heads written for other programs: what the files say, and that a head comes back as it was.

mod common;

use common::head::{TinyHead, drafts};
use common::head_folder::{self, Names};
use common::{TinyModel, encode};
use half::bf16;
use nano_reasoning_engine::DraftHead;
use nano_reasoning_gguf::{DType, GgufFile};
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadFile, HeadOptions, LoadOptions};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::sync::Arc;

/// A target with a tokenizer, of six layers, and its file.
fn target(dtype: DType) -> (TinyModel, GgufFile, Arc<CpuModel>) {
    let target = TinyModel { n_layers: 6, dtype, ..TinyModel::new("qwen2") };
    let mut writer = target.writer();
    let tokens: Vec<String> = (0..75).map(|i| format!("t{i}")).collect();
    writer.metadata("tokenizer.ggml.model", "gpt2").unwrap();
    writer.metadata("tokenizer.ggml.tokens", tokens.as_slice()).unwrap();
    for (name, (shape, values)) in target.tensors() {
        let dtype = if shape.len() == 2 { dtype } else { DType::F32 };
        writer.tensor(&name, dtype, &shape, encode(&values, dtype)).unwrap();
    }
    let file = GgufFile::from_bytes(&writer.to_bytes()).unwrap();
    let options = LoadOptions { n_threads: Some(1), ..LoadOptions::default() };
    let model = CpuModel::from_gguf(&file, &options).unwrap();
    (target, file, model)
}

fn tiny(target: &TinyModel, dtype: DType, has_output: bool) -> TinyHead {
    TinyHead { taps: vec![1, 2, 5], dtype, has_output, ..TinyHead::new(target) }
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let (target, _, model) = target(DType::BF16);
    for has_output in [false, true] {
        let tiny = tiny(&target, DType::BF16, has_output);
        let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        HeadFile::Gguf(tiny.to_file()).write_folder(&model, &folder.path().join("a/b")).unwrap();
        let file = HeadFile::open(folder.path().join("a/b")).unwrap();
        let mut again = file.load(&model, 700, &HeadOptions::default()).unwrap();
        assert!(again.has_output(), "the target's rows are written out");
        assert_eq!((again.taps(), again.draft_vocab()), (head.taps(), head.draft_vocab()));
        assert!(drafts(&mut again, &model) == drafts(&mut head, &model), "{has_output}");
    }
}

/// The names, types, shapes and rows that SpecForge's trainer writes, as vLLM and SGLang read them.
#[test]
fn a_folder_is_as_specforge_writes_it() {
    let (target, _, model) = target(DType::F32);
    let tiny = tiny(&target, DType::BF16, true);
    let folder = tempfile::tempdir().unwrap();
    HeadFile::Gguf(tiny.to_file()).write_folder(&model, folder.path()).unwrap();
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let written = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = written.names().into_iter().map(str::to_string).collect();
    names.sort();
    let mut wanted = head_folder::tensors(&tiny, Names::SpecForge);
    wanted.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    assert_eq!(names, wanted.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>());
    for (name, dtype, shape, bytes) in wanted {
        let tensor = written.tensor(&name).unwrap();
        assert_eq!(tensor.shape(), shape, "{name}");
        let bytes = match dtype {
            Dtype::F32 => {
                let values = bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x));
                values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect()
            }
            _ => bytes,
        };
        let dtype = if dtype == Dtype::F32 { Dtype::BF16 } else { dtype };
        assert_eq!(tensor.dtype(), dtype, "{name}");
        assert!(tensor.data() == bytes, "{name}");
    }
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    let wanted = json!({
        "architectures": ["LlamaForCausalLMEagle3"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 700,
        "vocab_size": 75,
        "draft_vocab_size": 40,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5000.0,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "eagle_aux_hidden_state_layer_ids": [1, 2, 5],
        "eagle_config": { "use_aux_hidden_state": true, "eagle_aux_hidden_state_layer_ids": [0, 1, 4] },
    });
    assert_eq!(config, wanted);
}

/// Weights of a GGUF file are copied, quantized or not; the target's rows and tokenizer join them.
#[test]
fn a_gguf_file_comes_back_as_it_was() {
    for dtype in [DType::F32, DType::Q8_0] {
        let (target, file, model) = target(dtype);
        let tiny = tiny(&target, dtype, false);
        let to = tempfile::tempdir().unwrap().path().with_extension("gguf");
        HeadFile::Gguf(tiny.to_file()).write_gguf(&model, &file, &to).unwrap();
        let written = GgufFile::open(&to).unwrap();
        std::fs::remove_file(&to).unwrap();
        let tokens = written.metadata().strs("tokenizer.ggml.tokens").unwrap();
        assert_eq!(tokens.len(), 75);
        let output = written.tensor("output.weight").unwrap();
        assert_eq!((output.dtype(), output.shape()), (dtype, &[40, 64][..]));
        let mut again = Eagle3Head::from_gguf(&written, &model, 700, &HeadOptions::default()).unwrap();
        assert!(again.has_output());
        let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
        assert!(drafts(&mut again, &model) == drafts(&mut head, &model), "{dtype}");
    }
}

#[test]
fn a_folder_becomes_a_gguf_file() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for has_output in [false, true] {
            let (target, file, model) = target(DType::F16);
            let tiny = tiny(&target, dtype, has_output);
            let folder = tempfile::tempdir().unwrap();
            head_folder::write(&tiny, Names::Speculators, folder.path());
            let to = folder.path().join("head.gguf");
            HeadFile::open(folder.path()).unwrap().write_gguf(&model, &file, &to).unwrap();
            let written = GgufFile::open(&to).unwrap();
            for (name, (shape, values)) in tiny.tensors() {
                let tensor = written.tensor(&name).unwrap();
                let dtype = if shape.len() == 2 { dtype } else { DType::F32 };
                assert_eq!((tensor.dtype(), tensor.shape()), (dtype, &shape[..]), "{name}");
                assert!(written.tensor_bytes(tensor) == encode(&values, dtype), "{name}");
            }
            let mut again = Eagle3Head::from_gguf(&written, &model, 700, &HeadOptions::default()).unwrap();
            let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
            assert!(drafts(&mut again, &model) == drafts(&mut head, &model), "{dtype}, {has_output}");
        }
    }
}

#[test]
fn refuses_what_other_programs_do_not_compute() {
    let (target, file, model) = target(DType::F32);
    let folder = tempfile::tempdir().unwrap();
    let (to_folder, to_file) = (folder.path().join("out"), folder.path().join("out.gguf"));
    let two = TinyHead { taps: vec![1, 2], ..tiny(&target, DType::F32, false) };
    let error = HeadFile::Gguf(two.to_file()).write_folder(&model, &to_folder).unwrap_err();
    let wanted =
        "a head with target layers [1, 2] cannot be exported to such a file; wanted three, as servers read";
    assert_eq!(error.to_string(), wanted);

    let head = tiny(&target, DType::F32, false);
    let mut config = head_folder::config(&head, Names::SpecForge);
    config["rope_scaling"] = json!({ "rope_type": "linear", "factor": 4.0 });
    let scaled = folder.path().join("scaled");
    std::fs::create_dir(&scaled).unwrap();
    common::folder::write(&scaled, &config, &head_folder::tensors(&head, Names::SpecForge));
    // A head without rows of its own is SpecForge's only in name, but nothing speaks against it.
    let scaled = HeadFile::open(&scaled).unwrap();
    let wanted =
        "a head with rope scaling Linear { factor: 4.0 } cannot be exported to such a file; wanted none";
    assert_eq!(scaled.write_folder(&model, &to_folder).unwrap_err().to_string(), wanted);
    assert_eq!(scaled.write_gguf(&model, &file, &to_file).unwrap_err().to_string(), wanted);

    // A target without a tokenizer.
    let bare = GgufFile::from_bytes(&target.to_bytes()).unwrap();
    let error = HeadFile::Gguf(head.to_file()).write_gguf(&model, &bare, &to_file).unwrap_err();
    assert!(error.to_string().contains("tokenizer.ggml.tokens"), "{error}");
    assert!(!to_folder.exists() && !to_file.exists(), "nothing is written");
}

#[test]
fn counts_what_a_head_has_learnt() {
    let (target, _, model) = target(DType::F32);
    let n_layer = 64 * 3 * 64 + (128 + 64 + 64) * 128 + 64 * 128 + 3 * 96 * 64 + 4 * 64;
    for (has_output, n) in [(false, n_layer), (true, n_layer + 40 * 64)] {
        let head = tiny(&target, DType::F32, has_output).load(&model, &HeadOptions::default()).unwrap();
        assert_eq!((head.n_parameters(), head.has_output()), (n, has_output));
    }
}
