//! Adapters on a draft model: their gradients are those of differences of the loss, for each architecture, and they learn.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{Rng, TinyModel};
use half::f16;
use nano_reasoning_gguf::DType;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{LoadOptions, Projection};
use nano_reasoning_train::{AdamW, DraftModel, DraftModelTrainer, DraftModelTraining, Sample};

const TARGET_DIM: usize = 96;

/// A draft model with a target that is wider.
fn parts(tiny: &TinyModel) -> DraftModel {
    let options = LoadOptions { n_threads: Some(1), ..LoadOptions::default() };
    let target = TinyModel { hidden_dim: TARGET_DIM, seed: 9, ..TinyModel::new("qwen2") }.load(&options);
    DraftModel { target, model: tiny.load(&options), core_vocab: (0..60).collect(), slot: Arc::default() }
}

fn sample(rng: &mut Rng, n_tokens: usize, first_hidden: usize) -> Sample {
    let hidden = (0..(n_tokens - first_hidden) * TARGET_DIM).map(|_| f16::from_f32(rng.normal())).collect();
    Sample {
        position: 3,
        tokens: rng.tokens(n_tokens, 75),
        states: Vec::new(),
        first_hidden,
        hidden,
        is_answer: (0..n_tokens).map(|index| index >= first_hidden && index != 9).collect(),
    }
}

fn training() -> DraftModelTraining {
    DraftModelTraining { rank: 4, alpha: 8.0, ..DraftModelTraining::default() }
}

fn trainer(tiny: &TinyModel, training: DraftModelTraining, n_threads: usize) -> DraftModelTrainer {
    DraftModelTrainer::new(&parts(tiny), Arc::new(Pool::new(n_threads)), training).unwrap()
}

/// Moves all numbers a little, so that no adapter is zero.
fn shake(trainer: &mut DraftModelTrainer, rng: &mut Rng) {
    let mut values = trainer.values();
    values.iter_mut().flatten().for_each(|value| *value += 0.1 * rng.normal());
    trainer.set_values(&values);
}

/// Weights are plain, so that no product rounds what it takes to 8 bits.
fn check(tiny: &TinyModel, targets: &'static [Projection]) {
    let mut rng = Rng(5);
    let mut trainer = trainer(tiny, DraftModelTraining { targets, ..training() }, 2);
    shake(&mut trainer, &mut rng);
    let sample = sample(&mut rng, 14, 4);
    let bases = [3, 4, 6, 8, 10, 11];
    trainer.learn(&sample, &bases, 0.7).unwrap();
    let gradients: Vec<Vec<f32>> = trainer.parameters().map(|parameter| parameter.gradient.clone()).collect();
    assert_eq!(gradients.len(), 2 * targets.len() * tiny.n_layers);
    let values = trainer.values();
    for (number, gradient) in gradients.iter().enumerate() {
        // Where it points most, and some other places.
        let steepest = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
        let steepest = steepest.unwrap();
        assert!(gradient[steepest].abs() > 1e-4, "tensor {number} gets no gradient");
        for index in [steepest, 0, gradient.len() / 3, gradient.len() - 1] {
            let mut loss_at = |by: f32| {
                let mut moved = values.clone();
                moved[number][index] += by;
                trainer.set_values(&moved);
                f64::from(trainer.score(&sample, &bases).unwrap().loss)
            };
            let step = 4e-3;
            let slope = 0.7 * (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
            let found = f64::from(gradient[index]);
            let is_close = (slope - found).abs() < 2e-3 + 0.02 * slope.abs().max(found.abs());
            let what = format!("{}, tensor {number}, index {index}", tiny.architecture);
            assert!(is_close, "{what}: {found}, by differences {slope}");
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        check(&TinyModel::new(architecture), &Projection::ALL);
    }
    check(&TinyModel { is_tied: true, ..TinyModel::new("qwen2") }, &Projection::ALL);
    check(&TinyModel::new("qwen2"), &[Projection::Value, Projection::Gate]);
}

/// Through quantized weights the way back is that of the numbers they stand for; forwards what they take is rounded.
#[test]
fn gradients_through_quantized_weights_are_nearly_those_of_plain_ones() {
    let quantized = TinyModel { dtype: DType::Q8_0, ..TinyModel::new("qwen2") };
    let plain = TinyModel { dtype: DType::F32, instead: Some(quantized.tensors()), ..quantized.clone() };
    let sample = sample(&mut Rng(5), 20, 4);
    let [quantized, plain] = [quantized, plain].map(|tiny| {
        let mut trainer = trainer(&tiny, training(), 1);
        shake(&mut trainer, &mut Rng(6));
        trainer.learn(&sample, &[3, 4, 10, 11], 1.0).unwrap();
        trainer.parameters().map(|parameter| parameter.gradient.clone()).collect::<Vec<_>>()
    });
    for (number, (found, wanted)) in quantized.iter().zip(&plain).enumerate() {
        let difference: f32 = wanted.iter().zip(found).map(|(a, b)| (a - b) * (a - b)).sum();
        let square: f32 = wanted.iter().map(|a| a * a).sum();
        assert!(square > 0.0 && difference < 0.15 * 0.15 * square, "{number}: {difference} of {square}");
    }
}

#[test]
fn a_seed_fixes_the_loss_curve_for_any_number_of_threads() {
    let curve = |n_threads: usize| {
        let tiny = TinyModel { dtype: DType::Q8_0, ..TinyModel::new("qwen2") };
        let mut trainer = trainer(&tiny, training(), n_threads);
        let sample = sample(&mut Rng(7), 90, 4);
        let bases: Vec<usize> = sample.bases().step_by(2).collect();
        let step = |_| {
            let loss = trainer.learn(&sample, &bases, 1.0).unwrap().loss;
            trainer.step();
            loss
        };
        (0..6).map(step).collect::<Vec<f32>>()
    };
    let (one, three) = (curve(1), curve(3));
    assert_eq!(one, three);
    assert_eq!(one, curve(1));
}

#[test]
fn a_text_is_learnt_by_heart() {
    let adamw = AdamW { learning_rate: 1e-2, ..AdamW::default() };
    let mut trainer = trainer(&TinyModel::new("llama"), DraftModelTraining { adamw, ..training() }, 1);
    let mut sample = sample(&mut Rng(7), 24, 4);
    // What the target says most loudly is what comes.
    sample.hidden.iter_mut().for_each(|hidden| *hidden *= f16::from_f32(4.0));
    let bases: Vec<usize> = sample.bases().collect();
    let first = trainer.score(&sample, &bases).unwrap().loss;
    for _ in 0..100 {
        trainer.learn(&sample, &bases, 1.0).unwrap();
        trainer.step();
    }
    let last = trainer.score(&sample, &bases).unwrap().loss;
    assert!(last < 0.4 * first, "{first} {last}");
}

/// A text of more places than a window has, whose tokens are what the model itself would say now and then.
#[test]
fn windows_guess_as_one_pass_does() {
    let mut trainer = trainer(&TinyModel::new("qwen2"), training(), 1);
    let mut sample = Sample { position: 0, ..sample(&mut Rng(8), 240, 4) };
    // Every twelfth token becomes the model's own guess, by trying.
    for index in (12..240).step_by(12) {
        let mut n_right = |token: u32, sample: &mut Sample| {
            sample.tokens[index] = token;
            trainer.guess(sample, &[index - 2]).unwrap()[0]
        };
        let found = (0..75).find(|&token| n_right(token, &mut sample) > 0);
        assert!(found.is_some());
    }
    let bases: Vec<usize> = sample.bases().collect();
    let all = trainer.guess(&sample, &bases).unwrap();
    assert!(all.iter().filter(|&&n| n > 0).count() >= 19);
    // One by one, and from the loss.
    for (i, &base) in bases.iter().enumerate().step_by(23) {
        assert_eq!(trainer.guess(&sample, &[base]).unwrap(), [all[i]], "{base}");
    }
    let some: Vec<usize> = bases.iter().copied().step_by(3).collect();
    let scored = trainer.score(&sample, &some).unwrap();
    assert_eq!(scored.n_right, all.iter().copied().step_by(3).collect::<Vec<_>>());
    assert!(scored.loss.is_finite() && scored.n_rows == some.len());
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let mut trainer = trainer(&TinyModel::new("qwen2"), training(), 1);
    let good = sample(&mut Rng(7), 14, 4);
    let mut bad = [good.clone(), good.clone(), good.clone()];
    bad[0].tokens[2] = 75;
    bad[1].hidden.pop();
    bad[2].is_answer.pop();
    for sample in &bad {
        assert!(trainer.score(sample, &[4]).is_err());
    }
    for bases in [&[12][..], &[2], &[7], &[5, 4]] {
        assert!(trainer.score(&good, bases).is_err(), "{bases:?}");
    }
    assert!(trainer.score(&Sample::default(), &[]).unwrap().n_right.is_empty());
}
