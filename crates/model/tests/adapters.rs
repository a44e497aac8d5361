//! Adapters beside a model: none of weight changes a bit, others are what changed matrices are, and they are taken when that is
//! asked for alone.

mod common;

use std::sync::Arc;

use common::{Rng, TinyModel};
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::DType;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{
    Adapter, CpuModel, CpuSequence, LayerAdapters, LoadOptions, Projection, Snapshot,
};

const RANK: usize = 4;

/// `down`, `[RANK, n_cols]`, and `up`, `[n_rows, RANK]`, of a matrix of layer `layer`.
fn numbers(model: &CpuModel, layer: usize, projection: Projection, width: f32) -> (Vec<f32>, Vec<f32>) {
    let matrix = model.layers()[layer].projection(projection);
    let mut rng = Rng(1000 * layer as u64 + projection as u64);
    let down = (0..RANK * matrix.n_cols()).map(|_| 0.1 * rng.normal()).collect();
    let up = (0..RANK * matrix.n_rows()).map(|_| width * rng.normal()).collect();
    (down, up)
}

fn snapshot(model: &CpuModel, width: f32, projections: &[Projection]) -> Arc<Snapshot> {
    let layer = |layer| {
        let mut adapters = LayerAdapters::default();
        for &projection in projections {
            let (down, up) = numbers(model, layer, projection, width);
            adapters.set(projection, Adapter::new(&Pool::new(1), RANK, &down, &up).unwrap());
        }
        adapters
    };
    Arc::new(Snapshot::Adapters((0..model.config().n_layers).map(layer).collect()))
}

fn load(tiny: &TinyModel) -> Arc<CpuModel> {
    tiny.load(&LoadOptions { n_threads: Some(2), ..LoadOptions::default() })
}

/// Logits of some tokens, of which the last ones go one by one.
fn logits(sequence: &mut CpuSequence) -> Vec<f32> {
    sequence.truncate(0).unwrap();
    let tokens: Vec<u32> = (0..24).map(|i| i * 37 % 75).collect();
    let mut logits = sequence.forward(&TokenTree::chain(&tokens), LogitRows::All).unwrap().logits.to_vec();
    for token in [3, 71, 20] {
        logits.extend(sequence.forward(&TokenTree::chain(&[token]), LogitRows::Last).unwrap().logits);
    }
    logits
}

#[test]
fn adapters_of_zeros_change_no_bit() {
    for (architecture, dtype) in [("qwen2", DType::Q8_0), ("llama", DType::F32), ("qwen3", DType::F16)] {
        let model = load(&TinyModel { dtype, ..TinyModel::new(architecture) });
        let mut sequence = model.sequence(64).unwrap();
        let before = logits(&mut sequence);
        sequence.slot().publish(Some(snapshot(&model, 0.0, &Projection::ALL)));
        assert!(sequence.take_learnt());
        assert_eq!(logits(&mut sequence), before, "{architecture}");
    }
}

#[test]
fn adapters_are_what_changed_matrices_are() {
    let tiny = TinyModel::new("qwen2");
    let model = load(&tiny);
    for projections in [&Projection::ALL[..], &[Projection::Query, Projection::Value, Projection::Up]] {
        let mut sequence = model.sequence(64).unwrap();
        let before = logits(&mut sequence);
        sequence.slot().publish(Some(snapshot(&model, 0.2, projections)));
        sequence.take_learnt();
        let found = logits(&mut sequence);
        assert_ne!(found, before);

        let mut tensors = tiny.tensors();
        for layer in 0..tiny.n_layers {
            for &projection in projections {
                let (down, up) = numbers(&model, layer, projection, 0.2);
                let name = format!("blk.{layer}.{}.weight", projection.name());
                let (shape, values) = tensors.get_mut(&name).unwrap();
                for (i, value) in values.iter_mut().enumerate() {
                    let (row, column) = (i / shape[1], i % shape[1]);
                    let change = (0..RANK).map(|j| up[row * RANK + j] * down[j * shape[1] + column]);
                    *value += change.sum::<f32>();
                }
            }
        }
        let changed = load(&TinyModel { instead: Some(tensors), ..tiny.clone() });
        let wanted = logits(&mut changed.sequence(64).unwrap());
        let largest = wanted.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            // Keys and values are rounded to 16 bits, here and there.
            assert!((found - wanted).abs() < 2e-3 * largest, "{found} {wanted}");
        }
    }
}

#[test]
fn what_was_learnt_is_taken_when_that_is_asked_for_alone() {
    let model = load(&TinyModel::new("llama"));
    let mut sequence = model.sequence(64).unwrap();
    assert!(!sequence.take_learnt());
    let before = logits(&mut sequence);
    sequence.slot().publish(Some(snapshot(&model, 0.2, &Projection::ALL)));
    assert_eq!(logits(&mut sequence), before);
    assert!(sequence.take_learnt() && !sequence.take_learnt());
    assert_ne!(logits(&mut sequence), before);
    sequence.slot().publish(None);
    assert!(sequence.take_learnt());
    assert_eq!(logits(&mut sequence), before);
}
