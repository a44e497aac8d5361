//! A layer that was learnt takes the place of the head's own between two drafts, and gives it back.

mod common;

use std::sync::Arc;

use common::TinyModel;
use common::head::TinyHead;
use nano_reasoning_engine::DraftHead;
use nano_reasoning_model::{Eagle3Head, HeadOptions, LoadOptions, Projection, Snapshot};

/// Logits after three entries and one step.
fn logits(head: &mut Eagle3Head, width: usize) -> (Vec<f32>, Vec<f32>) {
    head.truncate(0).unwrap();
    let taps: Vec<f32> = (0..3 * width).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
    let first = head.extend(&taps, &[5, 9, 2], true).unwrap().logits.to_vec();
    let second = head.step(&[7], &[None]).unwrap().logits.to_vec();
    (first, second)
}

#[test]
fn a_whole_layer_is_taken_between_drafts_and_given_back() {
    let tiny = TinyModel::new("qwen2");
    let model = tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() });
    let load = |seed| {
        let head = TinyHead { seed, ..TinyHead::new(&tiny) };
        (head.load(&model, &HeadOptions::default()).unwrap(), head.taps.len() * head.hidden_dim)
    };
    let ((mut head, width), (other, _)) = (load(77), load(78));
    let own = logits(&mut head, width);

    // All that is another head's, but for the fusion of taps.
    let copy = |projection| {
        let matrix = other.layer().projection(projection);
        let mut copy = matrix.empty_like(matrix.n_rows()).unwrap();
        (0..matrix.n_rows()).for_each(|row| copy.push_row(matrix, row));
        copy
    };
    let weights = other.layer().weights();
    let norms = [&weights.attn_norm, &weights.attn_norm_2, &weights.ffn_norm, &weights.output_norm];
    let layer = Arc::new(head.layer().with(Projection::ALL.map(copy), norms.map(Clone::clone)));
    head.slot().publish(Some(Arc::new(Snapshot::Layer(layer.clone()))));
    let learnt = logits(&mut head, width);
    assert_ne!(learnt, own);

    // As a head that was loaded with them.
    let values = nano_reasoning_model::HeadValues::of(&layer);
    let config = layer.config();
    let mut whole = Eagle3Head::from_values(&model, config, &values, head.core_vocab(), 64).unwrap();
    assert_eq!(logits(&mut whole, width), learnt);

    head.slot().publish(None);
    assert_eq!(logits(&mut head, width), own);
}
