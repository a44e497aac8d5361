//! Heads in folders of safetensors: the same head written both ways gives the same drafts, bit for bit.

mod common;

use common::head::{TinyHead, drafts};
use common::head_folder::{self, Names};
use common::{TinyModel, folder};
use nano_reasoning_engine::DraftHead;
use nano_reasoning_gguf::DType;
use nano_reasoning_model::{CpuModel, Eagle3Head, Error, HeadOptions, LoadOptions};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::sync::Arc;

fn load_target(target: &TinyModel) -> Arc<CpuModel> {
    target.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() })
}

fn from_folder(
    config: &Value,
    tensors: &[folder::StoredTensor],
    model: &Arc<CpuModel>,
) -> Result<Eagle3Head, Error> {
    let folder = tempfile::tempdir().unwrap();
    folder::write(folder.path(), config, tensors);
    Eagle3Head::from_folder(folder.path(), model, 700, &HeadOptions::default())
}

#[test]
fn the_same_head_written_both_ways_gives_the_same_drafts() {
    let target = TinyModel { n_layers: 6, ..TinyModel::new("qwen2") };
    let model = load_target(&target);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for has_output in [false, true] {
            let tiny = TinyHead { dtype, has_output, taps: vec![1, 2, 5], ..TinyHead::new(&target) };
            let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
            let wanted = drafts(&mut head, &model);
            for names in [Names::SpecForge, Names::Speculators] {
                let tensors = head_folder::tensors(&tiny, names);
                let mut head = from_folder(&head_folder::config(&tiny, names), &tensors, &model).unwrap();
                assert_eq!(head.taps(), tiny.taps);
                assert_eq!(head.draft_vocab(), tiny.core);
                assert!(drafts(&mut head, &model) == wanted, "{dtype}, {names:?}");
            }
        }
    }
}

/// The inputs of layers 2, n / 2 and n − 3.
#[test]
fn taps_have_a_default() {
    let target = TinyModel { n_layers: 8, ..TinyModel::new("qwen2") };
    let tiny = TinyHead { taps: vec![2, 4, 5], ..TinyHead::new(&target) };
    for names in [Names::SpecForge, Names::Speculators] {
        let mut config = head_folder::config(&tiny, names);
        config["eagle_aux_hidden_state_layer_ids"] = Value::Null;
        config["eagle_config"] = Value::Null;
        let head = from_folder(&config, &head_folder::tensors(&tiny, names), &load_target(&target)).unwrap();
        assert_eq!(head.taps(), [2, 4, 5]);
    }
}

/// A head for three layers, and what a change of it is refused with.
fn refusal(names: Names, change: impl FnOnce(&mut Value, &mut Vec<folder::StoredTensor>)) -> String {
    let target = TinyModel::new("qwen2");
    let tiny = TinyHead { has_output: true, taps: vec![1, 2], ..TinyHead::new(&target) };
    let (mut config, mut tensors) = (head_folder::config(&tiny, names), head_folder::tensors(&tiny, names));
    change(&mut config, &mut tensors);
    from_folder(&config, &tensors, &load_target(&target)).err().expect("this head is refused").to_string()
}

#[test]
fn refuses_another_architecture() {
    let error = refusal(Names::SpecForge, |config, _| config["architectures"] = json!(["LlamaForCausalLM"]));
    let wanted = "model architecture 'LlamaForCausalLM' is not supported; supported are LlamaForCausalLMEagle3 and \
                  Eagle3Speculator for a drafting head";
    assert_eq!(error, wanted);
    let error = refusal(Names::SpecForge, |config, _| config["architectures"] = Value::Null);
    assert!(error.starts_with("model architecture 'none' is not supported"), "{error}");
}

#[test]
fn refuses_variants_of_the_architecture_by_name() {
    for flag in ["norm_before_residual", "norm_before_fc", "norm_output", "fc_norm"] {
        let wanted = |key: &str| format!("'{key}' is on, which this engine does not compute; wanted off");
        let error = refusal(Names::Speculators, |config, _| config[flag] = true.into());
        assert_eq!(error, wanted(flag));
        let error = refusal(Names::SpecForge, |config, _| config["eagle_config"][flag] = json!("rms"));
        assert_eq!(error, wanted(&format!("eagle_config.{flag}")));
    }
}

#[test]
fn refuses_a_configuration_that_does_not_fit() {
    for (key, value, wanted) in [
        ("hidden_size", json!(32), "'hidden_size' of the head is 32, of the target 64; was the head trained"),
        ("vocab_size", json!(76), "'vocab_size' of the head is 76, of the target 75; was the head trained"),
        ("target_hidden_size", json!(80), "'target_hidden_size' of the head is 80, of the target 64"),
        (
            "num_hidden_layers",
            json!(2),
            "'num_hidden_layers' is 2, which this engine does not compute; wanted 1",
        ),
        (
            "hidden_act",
            json!("gelu"),
            "'hidden_act' is gelu, which this engine does not compute; wanted silu",
        ),
        ("attention_bias", json!(true), "'attention_bias' is true, which this engine does not compute"),
        (
            "num_key_value_heads",
            json!(3),
            "'num_key_value_heads' is 3, wanted a divisor of the 4 query heads",
        ),
        ("rope_theta", json!(0), "'rope_theta' is 0, wanted a number above 1"),
        ("draft_vocab_size", json!(41), "'draft_vocab_size' is 41, wanted 40, the length of 'd2t'"),
        (
            "eagle_aux_hidden_state_layer_ids",
            json!([1, 3]),
            "'eagle_aux_hidden_state_layer_ids' is [1, 3], wanted ascending layers of the target's 3",
        ),
        (
            "eagle_aux_hidden_state_layer_ids",
            json!([-1, 1]),
            "'eagle_aux_hidden_state_layer_ids' is [-1,1], wanted layers of the target's 3",
        ),
    ] {
        let error = refusal(Names::SpecForge, |config, _| config[key] = value);
        assert!(error.starts_with(wanted), "{error}");
    }
    let error = refusal(Names::SpecForge, |config, _| {
        config.as_object_mut().unwrap().remove("hidden_size");
    });
    assert!(error.contains("config.json") && error.contains("missing field `hidden_size`"), "{error}");
    let error = refusal(Names::Speculators, |config, _| {
        config["transformer_layer_config"]["hidden_size"] = json!(32);
    });
    assert!(error.starts_with("'transformer_layer_config.hidden_size' of the head is 32"), "{error}");
}

#[test]
fn refuses_tensors_that_are_not_a_heads() {
    type Tensors = Vec<folder::StoredTensor>;
    let replace = |tensors: &mut Tensors, name: &str, with: Option<folder::StoredTensor>| {
        tensors.retain(|(other, ..)| other != name);
        tensors.extend(with);
    };
    let vector = |name: &str, n: usize| (name.to_string(), Dtype::F32, vec![n], vec![0; 4 * n]);
    let list = |ids: &[i64]| {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        Some(("d2t".to_string(), Dtype::I64, vec![ids.len()], bytes))
    };
    let name = "midlayer.hidden_norm.weight";
    let error = refusal(Names::SpecForge, |_, tensors| replace(tensors, name, None));
    assert!(
        error.starts_with(&format!("model has no tensor '{name}', which eagle3 needs; it has ")),
        "{error}"
    );
    let error = refusal(Names::SpecForge, |_, tensors| tensors.push(vector("fc_norm.weight", 64)));
    let wanted =
        "model has a tensor 'fc_norm.weight' that eagle3 does not compute; its output would be wrong";
    assert_eq!(error, wanted);
    let error = refusal(Names::SpecForge, |_, tensors| {
        tensors.push(("embed_tokens.weight".into(), Dtype::F32, vec![70, 64], vec![0; 70 * 64 * 4]));
    });
    assert_eq!(error, "tensor 'embed_tokens.weight' has shape [70, 64], wanted [75, 64]");
    // Offsets: 0 + 5 and 1 + 4 are the same token.
    for (ids, id) in [(&[5, 4][..], 5), (&[0, 74], 75), (&[-1], -1), (&[0, i64::MAX], -1)] {
        let error = refusal(Names::SpecForge, |config, tensors| {
            config["draft_vocab_size"] = Value::Null;
            replace(tensors, "d2t", list(ids));
        });
        assert!(error.starts_with(&format!("'d2t' is a list with {id} in it, unknown or again")), "{error}");
    }
    let error = refusal(Names::SpecForge, |_, tensors| {
        replace(tensors, "d2t", Some(("d2t".into(), Dtype::I32, vec![40], vec![0; 160])));
    });
    assert_eq!(error, "tensor 'd2t' is stored as I32, wanted one of I64; choose another file");
    let error = refusal(Names::SpecForge, |_, tensors| {
        replace(tensors, "t2d", Some(("t2d".into(), Dtype::BOOL, vec![75], vec![0; 75])));
    });
    assert!(error.starts_with("'t2d' is 0 marks among 75 tokens, wanted one on each of the 40"), "{error}");
    let error = refusal(Names::SpecForge, |config, tensors| {
        config["draft_vocab_size"] = Value::Null;
        replace(tensors, "d2t", None);
    });
    assert!(error.contains("t2d"), "{error}");
    let error = refusal(Names::SpecForge, |_, tensors| {
        replace(tensors, "d2t", None);
        replace(tensors, "lm_head.weight", None);
    });
    assert!(error.starts_with("model has no tensor 'd2t', which eagle3 needs"), "{error}");
}

#[test]
fn an_embedding_as_the_targets_is_passed_over() {
    let target = TinyModel::new("qwen2");
    let tiny = TinyHead { taps: vec![1, 2], ..TinyHead::new(&target) };
    let mut tensors = head_folder::tensors(&tiny, Names::SpecForge);
    tensors.push(("embed_tokens.weight".into(), Dtype::BF16, vec![75, 64], vec![0; 75 * 64 * 2]));
    let config = head_folder::config(&tiny, Names::SpecForge);
    assert!(from_folder(&config, &tensors, &load_target(&target)).is_ok());
}
