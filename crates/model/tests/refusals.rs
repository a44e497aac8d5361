//! What a sequence refuses, and what a loader does.

mod common;

use common::{Extra, TinyModel};
use nano_reasoning_engine::{Error as EngineError, LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::{DType, GgufFile};
use nano_reasoning_model::{CpuModel, CpuSequence, Error, LoadOptions};
use proptest::prelude::*;

fn sequence(context_len: usize) -> CpuSequence {
    TinyModel::new("qwen2").load(&LoadOptions::default()).sequence(context_len).unwrap()
}

fn load(bytes: &[u8]) -> Result<std::sync::Arc<CpuModel>, Error> {
    CpuModel::from_gguf(&GgufFile::from_bytes(bytes)?, &LoadOptions::default())
}

fn refusal(model: &TinyModel) -> String {
    load(&model.to_bytes()).err().expect("this model is refused").to_string()
}

/// The file without `name`, or with other tensors instead.
fn with_tensor(model: &TinyModel, name: &str, instead: &[(&str, DType, &[usize])]) -> Vec<u8> {
    let mut writer = model.writer();
    for (other, (shape, values)) in model.tensors() {
        if other != name {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.tensor(&other, DType::F32, &shape, bytes).unwrap();
        }
    }
    for &(name, dtype, shape) in instead {
        let n_bytes = dtype.bytes_for(shape.iter().product()).unwrap();
        writer.tensor(name, dtype, shape, vec![0; n_bytes]).unwrap();
    }
    writer.to_bytes()
}

#[test]
fn a_full_context_is_an_error_and_changes_nothing() {
    let mut sequence = sequence(10);
    assert_eq!(sequence.shape().context_len, 10);
    sequence.forward(&TokenTree::chain(&[1; 7]), LogitRows::None).unwrap();
    let error = sequence.forward(&TokenTree::chain(&[1; 4]), LogitRows::Last).unwrap_err();
    assert!(matches!(error, EngineError::ContextFull { wanted: 4, used: 7, context_len: 10 }));
    assert_eq!(sequence.len(), 7);
    sequence.forward(&TokenTree::chain(&[1; 3]), LogitRows::Last).unwrap();
    assert!(sequence.forward(&TokenTree::chain(&[1]), LogitRows::Last).is_err());
}

#[test]
fn a_context_ends_where_the_models_does() {
    assert_eq!(sequence(1 << 40).shape().context_len, 700);
    let mut none = sequence(0);
    assert!(none.forward(&TokenTree::chain(&[1]), LogitRows::Last).is_err());
    assert!(none.forward(&TokenTree::chain(&[]), LogitRows::Last).unwrap().logits.is_empty());
}

#[test]
fn refuses_an_unknown_token() {
    let error = sequence(10).forward(&TokenTree::chain(&[3, 75]), LogitRows::Last).unwrap_err();
    assert!(matches!(error, EngineError::UnknownToken { token: 75, vocab_size: 75 }));
}

#[test]
fn refuses_a_path_that_is_none() {
    let mut sequence = sequence(20);
    sequence.forward(&TokenTree::chain(&[1, 2]), LogitRows::None).unwrap();
    let mut tree = TokenTree::default();
    for parent in [None, Some(0), Some(0), None, Some(3)] {
        tree.push(5, parent).unwrap();
    }
    sequence.forward(&tree, LogitRows::All).unwrap();
    assert_eq!(sequence.len(), 7);
    for path in [&[1][..], &[0, 4], &[0, 1, 2], &[3, 3], &[0, 5], &[4]] {
        assert!(matches!(sequence.keep(path), Err(EngineError::BadRollback { .. })), "{path:?}");
    }
    // Its nodes are no sequence: nothing follows them, and no count of them can stay.
    assert!(matches!(
        sequence.forward(&TokenTree::chain(&[1]), LogitRows::Last),
        Err(EngineError::BadRollback { .. })
    ));
    assert!(matches!(sequence.truncate(3), Err(EngineError::BadRollback { .. })));
    sequence.keep(&[3, 4]).unwrap();
    assert_eq!(sequence.len(), 4);
    sequence.keep(&[0]).unwrap();
    assert_eq!(sequence.len(), 3);
    assert!(matches!(sequence.truncate(4), Err(EngineError::BadRollback { .. })));
    sequence.truncate(1).unwrap();
    sequence.keep(&[]).unwrap();
    assert_eq!(sequence.len(), 1);
}

#[test]
fn refuses_a_tree_too_large_for_a_mask() {
    let mut tree = TokenTree::default();
    (0..65).for_each(|_| assert!(tree.push(1, None).is_ok()));
    let error = sequence(100).forward(&tree, LogitRows::All).unwrap_err();
    assert!(matches!(error, EngineError::TreeTooLarge { n_nodes: 65, max: 64 }));
}

#[test]
fn names_what_is_missing_and_what_there_is() {
    let bytes = with_tensor(&TinyModel::new("qwen2"), "blk.1.attn_q.weight", &[]);
    let message = load(&bytes).err().unwrap().to_string();
    assert!(message.starts_with("model has no tensor 'blk.1.attn_q.weight', which qwen2 needs"), "{message}");
    assert!(message.contains("blk.1.attn_q.bias"), "{message}");
}

#[test]
fn names_both_shapes() {
    let tensor = [("blk.1.attn_q.weight", DType::F32, &[64, 64][..])];
    let error = load(&with_tensor(&TinyModel::new("llama"), tensor[0].0, &tensor)).err().unwrap();
    assert_eq!(error.to_string(), "tensor 'blk.1.attn_q.weight' has shape [64, 64], wanted [192, 64]");
}

#[test]
fn refuses_a_tensor_it_would_not_compute() {
    let tensor = [("blk.1.attn_q.bias", DType::F32, &[192][..])];
    let error = load(&with_tensor(&TinyModel::new("llama"), "", &tensor)).err().unwrap();
    assert!(matches!(error, Error::UnexpectedTensor { ref tensor, .. } if tensor == "blk.1.attn_q.bias"));
}

#[test]
fn names_a_quantization_without_kernels() {
    let tensor = [("blk.0.ffn_up.weight", DType::Q5_1, &[96, 64][..])];
    let message =
        load(&with_tensor(&TinyModel::new("qwen3"), tensor[0].0, &tensor)).err().unwrap().to_string();
    assert!(message.contains("'blk.0.ffn_up.weight' is stored as Q5_1, wanted one of F32, "), "{message}");
}

#[test]
fn names_supported_architectures() {
    let message = refusal(&TinyModel { architecture: "gemma3", ..TinyModel::new("llama") });
    assert_eq!(message, "model architecture 'gemma3' is not supported; supported are llama, qwen2, qwen3");
}

#[test]
fn names_an_unknown_instruction_set() {
    let options = LoadOptions { isa: Some("avx9"), ..LoadOptions::default() };
    let file = GgufFile::from_bytes(&TinyModel::new("llama").to_bytes()).unwrap();
    let message = CpuModel::from_gguf(&file, &options).err().unwrap().to_string();
    assert!(message.starts_with("no kernels for 'avx9' on this machine; available are scalar"), "{message}");
}

#[test]
fn refuses_configurations_that_make_no_sense() {
    let base = TinyModel::new("llama");
    for (model, wanted) in [
        (TinyModel { n_heads: 0, ..base.clone() }, "'llama.attention.head_count' is 0"),
        (TinyModel { n_kv_heads: 0, ..base.clone() }, "'llama.attention.head_count_kv' is 0"),
        (TinyModel { n_kv_heads: 4, ..base.clone() }, "'llama.attention.head_count_kv' is 4"),
        (TinyModel { n_heads: 130, n_kv_heads: 1, ..base.clone() }, "'llama.attention.head_count_kv' is 1"),
        (TinyModel { head_dim: 31, ..base.clone() }, "'llama.attention.key_length' is 31"),
        (TinyModel { head_dim: 258, ..base.clone() }, "'llama.attention.key_length' is 258"),
        (TinyModel { n_rot: 34, ..base.clone() }, "'llama.rope.dimension_count' is 34"),
        (TinyModel { n_rot: 0, ..base.clone() }, "'llama.rope.dimension_count' is 0"),
        (TinyModel { n_layers: 0, ..base.clone() }, "'llama.block_count' is 0"),
        (
            TinyModel { context_len: u32::MAX as usize, ..base.clone() },
            "'llama.context_length' is 4294967295",
        ),
        (TinyModel { eps: f32::NAN, ..base.clone() }, "layer_norm_rms_epsilon' is NaN"),
        (TinyModel { theta: 0.0, ..base.clone() }, "'llama.rope.freq_base' is 0"),
    ] {
        // The tensors stay as they were: it is the metadata that is refused.
        let mut writer = model.writer();
        for (name, (shape, values)) in base.tensors() {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.tensor(&name, DType::F32, &shape, bytes).unwrap();
        }
        let message = load(&writer.to_bytes()).err().expect(wanted).to_string();
        assert!(message.contains(wanted), "{message}, wanted {wanted}");
    }
}

#[test]
fn refuses_features_it_does_not_compute() {
    use Extra::*;
    for (key, value, wanted) in [
        ("expert_count", Integer(8), "'qwen2.expert_count' is 8"),
        ("attention.scale", Float(0.5), "'qwen2.attention.scale' is 0.5"),
        ("logit_scale", Float(0.5), "'qwen2.logit_scale' is 0.5"),
        ("rope.scaling.type", Text("longrope"), "'qwen2.rope.scaling.type' is 'longrope'"),
        ("rope.scaling.factor", Float(-1.0), "'qwen2.rope.scaling.factor' is -1"),
    ] {
        let message = refusal(&TinyModel { extra: vec![(key, value)], ..TinyModel::new("qwen2") });
        assert!(message.contains(wanted), "{message}, wanted {wanted}");
    }
}

#[test]
fn a_sliding_window_bounds_the_context() {
    let extra = vec![("attention.sliding_window", Extra::Integer(50))];
    let model = TinyModel { extra, ..TinyModel::new("qwen2") };
    assert_eq!(model.load(&LoadOptions::default()).sequence(1000).unwrap().shape().context_len, 50);
}

/// A layer count far beyond the tensors ends at the first missing one, without room for all.
#[test]
fn a_false_layer_count_takes_no_memory() {
    let message = refusal(&TinyModel { claimed_layers: Some(1 << 23), ..TinyModel::new("llama") });
    assert!(message.contains("'blk.3.attn_norm.weight'"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is in the metadata and the tensor table, loading ends in a model or an error.
    #[test]
    fn changed_files_do_not_panic(changes in prop::collection::vec((0usize..2500, any::<u8>()), 1..4)) {
        let mut bytes = TinyModel { n_layers: 1, ..TinyModel::new("qwen3") }.to_bytes();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(mut sequence) = load(&bytes).and_then(|model| model.sequence(4)) {
            drop(sequence.forward(&TokenTree::chain(&[0, 1]), LogitRows::Last));
        }
    }
}
