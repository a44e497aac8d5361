//! The loss of the Rust trainer is that of `tools/train_head.py`, which computed it for a tiny target, head and answer in
//! float64: each step's share, guesses, and the length of each tensor's gradient.
//!
//! `python tools/train_head.py golden crates/train/tests/golden` writes `losses.json` again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nano_reasoning_gguf::GgufFile;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, HeadFile, HeadOptions, LoadOptions};
use nano_reasoning_train::{HeadTrainer, HeadTraining, Loss, SampleFile, Strategy};
use serde::Deserialize;

/// Target and head are in F32 and all of the head is learnt, so no product rounds its input to 8 bits: what is left is
/// the rounding of sums of at most a hundred numbers in f32, a few 1e-7 of each.
const TOLERANCE: f64 = 1e-5;
/// A gradient has gone through all steps, and adds up over rows.
const GRADIENT_TOLERANCE: f64 = 1e-4;

/// The tensors in the order of [`HeadTrainer::parameters`], by the script's names.
const TENSORS: [&str; 12] =
    ["q", "k", "v", "o", "gate", "up", "down", "fc", "input_norm", "hidden_norm", "post_norm", "norm"];

#[derive(Deserialize)]
struct Case {
    n_steps: usize,
    decay: f32,
    acceptance: f32,
    /// Loss of each step, weighted.
    steps: Vec<f64>,
    n_right: Vec<usize>,
    gradient_norms: BTreeMap<String, f64>,
}

fn assert_close(found: f64, wanted: f64, tolerance: f64, what: &str) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{what}: {found}, the script has {wanted}");
}

#[test]
fn losses_and_gradients_are_those_of_the_script() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = GgufFile::open(folder.join("target.gguf")).unwrap();
    let options = LoadOptions { n_threads: Some(1), ..LoadOptions::default() };
    let model = CpuModel::from_gguf(&file, &options).unwrap();
    let head = HeadFile::open(folder.join("head")).unwrap();
    let head = head.load(&model, 0, &HeadOptions::default()).unwrap();
    let (_, sample) = SampleFile::open(&folder.join("sample.safetensors")).unwrap();
    let bases: Vec<usize> = sample.bases().collect();
    let cases = std::fs::read(folder.join("losses.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 8);
    for case in cases {
        let Case { n_steps, decay, acceptance, .. } = case;
        let what = format!("{n_steps} steps, decay {decay}, acceptance {acceptance}");
        let loss = Loss { acceptance };
        let training = |n_steps| HeadTraining {
            strategy: Strategy::All,
            n_steps,
            decay,
            loss,
            ..HeadTraining::default()
        };
        let trainer = |n_steps| HeadTrainer::new(&head, Arc::new(Pool::new(1)), training(n_steps)).unwrap();
        assert_eq!(case.steps.len(), n_steps, "{what}");
        // The loss of one step more is that step's.
        let mut wanted = 0.0;
        for (i, step) in case.steps.iter().enumerate() {
            wanted += step;
            let found = trainer(i + 1).score(&sample, &bases).unwrap().loss;
            assert_close(f64::from(found), wanted, TOLERANCE, &format!("{what}: loss of steps 0..={i}"));
        }
        let mut trainer = trainer(n_steps);
        let scored = trainer.learn(&sample, &bases, 1.0).unwrap();
        assert_eq!(scored.n_right, case.n_right, "{what}");
        assert_eq!(trainer.parameters().count(), TENSORS.len());
        for (name, parameter) in TENSORS.into_iter().zip(trainer.parameters()) {
            let squares = parameter.gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
            let what = format!("{what}: gradient of {name}");
            assert_close(squares.sqrt(), case.gradient_norms[name], GRADIENT_TOLERANCE, &what);
        }
    }
}
