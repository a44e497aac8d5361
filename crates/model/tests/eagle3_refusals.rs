//! What the loader of a head refuses: one clear error each.

mod common;

use common::TinyModel;
use common::head::TinyHead;
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
use nano_reasoning_model::{CpuModel, Eagle3Head, Error, HeadOptions, LoadOptions};
use std::sync::Arc;

fn target() -> (TinyModel, Arc<CpuModel>) {
    let target = TinyModel::new("qwen2");
    let model = target.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() });
    (target, model)
}

fn load(writer: &GgufWriter<'_>) -> Result<Eagle3Head, Error> {
    let file = GgufFile::from_bytes(&writer.to_bytes())?;
    Eagle3Head::from_gguf(&file, &target().1, 100, &HeadOptions::default())
}

fn refusal(writer: &GgufWriter<'_>) -> String {
    load(writer).err().expect("this head is refused").to_string()
}

fn tiny() -> TinyHead {
    TinyHead::new(&target().0)
}

/// The head with other metadata.
fn with(instead: &[(&str, Option<u32>)]) -> GgufWriter<'static> {
    let mut writer = tiny().writer(instead);
    tiny().add_tensors(&mut writer, "");
    writer
}

/// The head with another list.
fn with_list(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> GgufWriter<'static> {
    let mut writer = tiny().writer(&[]);
    tiny().add_tensors(&mut writer, "d2t");
    writer.tensor("d2t", dtype, shape, bytes).unwrap();
    writer
}

#[test]
fn refuses_another_architecture() {
    let file = GgufFile::from_bytes(&target().0.to_bytes()).unwrap();
    let error = Eagle3Head::from_gguf(&file, &target().1, 100, &HeadOptions::default()).err().unwrap();
    let wanted = "model architecture 'qwen2' is not supported; supported are eagle3 for a drafting head";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn refuses_sizes_that_are_not_the_targets() {
    for (key, found, target) in
        [("embedding_length", 32, 64), ("vocab_size", 76, 75), ("target_hidden_size", 128, 64)]
    {
        let wanted = format!(
            "'eagle3.{key}' of the head is {found}, of the target {target}; was the head trained for another model?"
        );
        assert_eq!(refusal(&with(&[(key, Some(found))])), wanted);
    }
    let minimal = with(&[("vocab_size", None), ("target_hidden_size", None), ("context_length", None)]);
    assert!(load(&minimal).is_ok(), "these may be left out");
}

#[test]
fn refuses_sizes_that_make_no_sense() {
    for (instead, wanted) in [
        (("attention.head_count", 0), "'eagle3.attention.head_count' is 0, wanted 1 to 1024"),
        (("attention.head_count_kv", 3), "'eagle3.attention.head_count_kv' is 3, wanted a divisor of the 4"),
        (("attention.head_count_kv", 0), "'eagle3.attention.head_count_kv' is 0, wanted a divisor of the 4"),
        (("attention.key_length", 31), "'eagle3.attention.value_length' is 32, which this engine does not"),
        (("feed_forward_length", 0), "'eagle3.feed_forward_length' is 0, wanted at least 1"),
        (("block_count", 2), "'eagle3.block_count' is 2, which this engine does not compute; wanted 1 layer"),
        (("rope.dimension_count", 16), "'eagle3.rope.dimension_count' is 16, which this engine does not"),
        (("feed_forward_length", 64), "tensor 'blk.0.ffn_gate.weight' has shape [96, 64], wanted [64, 64]"),
    ] {
        let error = refusal(&with(&[(instead.0, Some(instead.1))]));
        assert!(error.starts_with(wanted), "{error}");
    }
    let odd = with(&[("attention.key_length", Some(31)), ("attention.value_length", None)]);
    assert!(
        refusal(&odd).starts_with("'eagle3.attention.key_length' is 31, wanted an even number up to 256")
    );
    let mut writer = TinyHead { eps: f32::NAN, ..tiny() }.writer(&[]);
    tiny().add_tensors(&mut writer, "");
    assert!(refusal(&writer).starts_with("'eagle3.attention.layer_norm_rms_epsilon' is NaN, wanted 0 to 1"));
}

#[test]
fn refuses_taps_that_the_target_has_not() {
    for taps in [vec![0, 3], vec![2, 1], vec![1, 1], vec![]] {
        let found = format!("{taps:?}");
        let mut writer = TinyHead { taps, ..tiny() }.writer(&[]);
        tiny().add_tensors(&mut writer, "");
        let wanted = format!(
            "'eagle3.target_layers' is {found}, wanted ascending layers of the target's 3; is the model file damaged?"
        );
        assert_eq!(refusal(&writer), wanted);
    }
}

#[test]
fn refuses_a_missing_tensor() {
    for name in ["fc.weight", "blk.0.attn_norm_2.weight", "blk.0.ffn_down.weight", "output_norm.weight"] {
        let mut writer = tiny().writer(&[]);
        tiny().add_tensors(&mut writer, name);
        let error = refusal(&writer);
        assert!(
            error.starts_with(&format!("model has no tensor '{name}', which eagle3 needs; it has ")),
            "{error}"
        );
    }
    let mut writer = tiny().writer(&[]);
    tiny().add_tensors(&mut writer, "d2t");
    assert!(refusal(&writer).contains("'d2t'"), "a head without rows of its own needs its list");
}

/// With an output matrix of its own and no list, a head drafts over all tokens.
#[test]
fn a_list_may_be_left_out_where_there_is_a_row_for_each_token() {
    let all = TinyHead { has_output: true, core: (0..75).collect(), ..tiny() };
    let mut writer = all.writer(&[]);
    all.add_tensors(&mut writer, "d2t");
    let head = load(&writer).unwrap();
    assert_eq!(nano_reasoning_engine::DraftHead::draft_vocab(&head), all.core);
    let part = TinyHead { has_output: true, ..tiny() };
    let mut writer = part.writer(&[]);
    part.add_tensors(&mut writer, "d2t");
    assert_eq!(refusal(&writer), "tensor 'output.weight' has shape [40, 64], wanted [75, 64]");
}

#[test]
fn refuses_a_list_of_other_things_than_tokens() {
    let list = |ids: &[i64]| {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        with_list(DType::I64, &[ids.len()], bytes)
    };
    assert!(load(&list(&[74, 0, 3])).is_ok());
    for (ids, id) in
        [(&[5, 6, 5][..], 5), (&[5, 75], 75), (&[-1], -1), (&[1 << 32], 1 << 32), (&[i64::MIN], i64::MIN)]
    {
        let wanted = format!(
            "'d2t' is a list with {id} in it, unknown or again, wanted a list of tokens below 75, each at most once; \
             is the model file damaged?"
        );
        assert_eq!(refusal(&list(ids)), wanted);
    }
    let error = refusal(&with_list(DType::I32, &[2], vec![0; 8]));
    assert_eq!(error, "tensor 'd2t' is stored as I32, wanted one of I64; choose another file");
    let error = refusal(&with_list(DType::I64, &[2, 2], vec![0; 32]));
    assert!(error.contains("'d2t'"), "{error}");
}

#[test]
fn refuses_variants_of_the_architecture_by_name() {
    for flag in ["norm_before_residual", "norm_before_fc", "norm_output", "fc_norm"] {
        let key = format!("eagle3.{flag}");
        let mut writer = with(&[]);
        writer.metadata(&key, true).unwrap();
        let wanted = format!("'{key}' is on, which this engine does not compute; wanted off");
        assert_eq!(refusal(&writer), wanted);
        let mut writer = with(&[]);
        writer.metadata(&key, false).unwrap();
        assert!(load(&writer).is_ok(), "{flag} off is what is computed");
    }
}

#[test]
fn refuses_a_tensor_that_nothing_computes() {
    for name in ["fc_norm.weight", "blk.0.attn_q.bias", "blk.1.attn_norm.weight"] {
        let mut writer = with(&[]);
        writer.tensor(name, DType::F32, &[64], vec![0; 256]).unwrap();
        let wanted =
            format!("model has a tensor '{name}' that eagle3 does not compute; its output would be wrong");
        assert_eq!(refusal(&writer), wanted);
    }
}

/// A copy of the target's embedding is passed over; one of another size is no copy.
#[test]
fn an_embedding_may_be_there() {
    let mut writer = with(&[]);
    writer.tensor("token_embd.weight", DType::F32, &[75, 64], vec![0; 75 * 64 * 4]).unwrap();
    assert!(load(&writer).is_ok());
    let mut writer = with(&[]);
    writer.tensor("token_embd.weight", DType::F32, &[76, 64], vec![0; 76 * 64 * 4]).unwrap();
    assert_eq!(refusal(&writer), "tensor 'token_embd.weight' has shape [76, 64], wanted [75, 64]");
}

#[test]
fn refuses_rows_of_its_own_for_another_list() {
    let mut writer = with(&[]);
    writer.tensor("output.weight", DType::F32, &[75, 64], vec![0; 75 * 64 * 4]).unwrap();
    assert_eq!(refusal(&writer), "tensor 'output.weight' has shape [75, 64], wanted [40, 64]");
}
