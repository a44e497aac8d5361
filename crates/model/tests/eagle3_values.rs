//! Heads from numbers: what a new one starts as, and that a trained one is written and read again.

mod common;

use common::TinyModel;
use common::head::{TinyHead, drafts};
use nano_reasoning_engine::DraftHead;
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_model::{Eagle3Head, Error, HeadConfig, HeadOptions, HeadValues, LoadOptions};

fn load(target: &TinyModel) -> std::sync::Arc<nano_reasoning_model::CpuModel> {
    target.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() })
}

fn draw() -> impl FnMut() -> f32 {
    let mut rng = common::Rng(9);
    move || rng.normal()
}

#[test]
fn numbers_of_a_head_make_the_same_head() {
    let target = TinyModel::new("llama");
    let model = load(&target);
    let mut head = TinyHead::new(&target).load(&model, &HeadOptions::default()).unwrap();
    let values = HeadValues::of(head.layer());
    let core = head.core_vocab().to_vec();
    let config = head.layer().config().clone();
    let mut again = Eagle3Head::from_values(&model, &config, &values, &core, 700).unwrap();
    assert_eq!(HeadValues::of(again.layer()), values);
    assert!(drafts(&mut again, &model) == drafts(&mut head, &model));
}

#[test]
fn a_written_head_drafts_nearly_the_same() {
    let target = TinyModel { n_layers: 6, ..TinyModel::new("qwen2") };
    let model = load(&target);
    let config = HeadConfig::for_target(&model).unwrap();
    assert_eq!(config.taps, [2, 3], "the middle of six layers is the third from the end");
    let config = HeadConfig { taps: vec![1, 2, 3], ..config };
    let values = HeadValues::warm_start(&model, &config, &mut draw());
    let core: Vec<u32> = (0..40).rev().collect();
    let mut head = Eagle3Head::from_values(&model, &config, &values, &core, 700).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, servers) = (folder.path().join("head.gguf"), folder.path().join("servers"));
    head.write_own_gguf(&file).unwrap();
    head.write_folder(&servers).unwrap();
    // Written again over what is there, and nothing is left beside.
    head.write_folder(&servers).unwrap();
    assert_eq!(std::fs::read_dir(&servers).unwrap().count(), 2);
    let file = GgufFile::open(&file).unwrap();
    assert!(
        file.find_tensor("output.weight").is_none()
            && file.metadata().value("tokenizer.ggml.tokens").is_none()
    );
    let wanted = drafts(&mut head, &model);
    let options = HeadOptions::default();
    let mut of_file = Eagle3Head::from_gguf(&file, &model, 700, &options).unwrap();
    let mut of_folder = Eagle3Head::from_folder(&servers, &model, 700, &options).unwrap();
    for again in [&mut of_file, &mut of_folder] {
        assert_eq!((again.taps(), again.draft_vocab()), (&[1, 2, 3][..], &core[..]));
        let found = drafts(again, &model);
        let pairs = found.iter().zip(&wanted).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)));
        let (mut error, mut size) = (0.0, 0.0);
        pairs.for_each(|(a, b)| {
            error += f64::from(a - b).powi(2);
            size += f64::from(b).powi(2);
        });
        // Weights and activations in 8 bits are each exact to some 0.7 % of their spread (a 254th of a block's largest
        // number, evenly spread), and a token passes through six products: 2.4 %, and as much again for the norms between.
        assert!(error < 0.05 * 0.05 * size, "{error} of {size}");
    }
}

#[test]
fn a_new_head_begins_as_the_last_layer() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let target = TinyModel::new(architecture);
        let model = load(&target);
        let config = HeadConfig::for_target(&model).unwrap();
        assert_eq!(config.taps, [0, 1, 2]);
        let values = HeadValues::warm_start(&model, &config, &mut draw());
        let of_target = target.tensors();
        assert_eq!(values.ffn_gate, of_target["blk.2.ffn_gate.weight"].1);
        assert_eq!(values.output_norm, of_target["output_norm.weight"].1);
        let (hidden_dim, head_dim) = (target.hidden_dim, target.head_dim);
        let wanted = &of_target["blk.2.attn_q.weight"].1;
        // Row 1 of a head is paired with row 0: where the file pairs halves, it comes from the middle.
        let from = if architecture == "llama" { 1 } else { head_dim / 2 };
        let second = &values.attn_q[2 * hidden_dim + hidden_dim..][..hidden_dim];
        assert_eq!(second, &wanted[from * hidden_dim..][..hidden_dim], "{architecture}");
        assert!(Eagle3Head::from_values(&model, &config, &values, &[3, 4], 16).is_ok());
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let target = TinyModel::new("llama");
    let model = load(&target);
    let config = HeadConfig::for_target(&model).unwrap();
    let values = HeadValues::warm_start(&model, &config, &mut draw());
    let refusal = |values: &HeadValues, core: &[u32]| {
        Eagle3Head::from_values(&model, &config, values, core, 16).err().expect("it is refused")
    };
    let mut short = values.clone();
    short.ffn_norm.pop();
    assert!(matches!(refusal(&short, &[1]), Error::WrongShape { tensor, .. } if tensor == "ffn_norm"));
    let mut short = values.clone();
    short.attn_v.pop();
    assert!(matches!(refusal(&short, &[1]), Error::WrongShape { tensor, .. } if tensor == "attn_v"));
    assert!(refusal(&values, &[1, 1]).to_string().contains("'d2t'"));
    assert!(refusal(&values, &[75]).to_string().contains("'d2t'"));
}
