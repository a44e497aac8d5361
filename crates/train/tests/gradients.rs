//! Gradients of every number that can be learnt, against differences of the loss.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::head::TinyHead;
use common::{Rng, TinyModel};
use half::f16;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{Eagle3Head, HeadOptions, LoadOptions};
use nano_reasoning_train::{AdamW, HeadTrainer, HeadTraining, Loss, Sample, Strategy};

const N_TOKENS: usize = 14;

fn sample(rng: &mut Rng, width: usize, hidden_dim: usize) -> Sample {
    let mut states = |n: usize| (0..n).map(|_| f16::from_f32(rng.normal())).collect::<Vec<_>>();
    let first_hidden = 4;
    let (states, hidden) = (states(N_TOKENS * width), states((N_TOKENS - first_hidden) * hidden_dim));
    Sample {
        position: 3,
        tokens: (0..N_TOKENS as u32).map(|i| i * 37 % 75).collect(),
        states,
        first_hidden,
        hidden,
        is_answer: (0..N_TOKENS).map(|index| index >= first_hidden && index != 9).collect(),
    }
}

fn trainer(training: HeadTraining, n_threads: usize) -> (HeadTrainer, usize, usize) {
    let tiny = TinyModel::new("qwen2");
    let model = tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() });
    let head = TinyHead::new(&tiny);
    let width = head.taps.len() * head.hidden_dim;
    let loaded = head.load(&model, &HeadOptions::default()).unwrap();
    let trainer = HeadTrainer::new(&loaded, Arc::new(Pool::new(n_threads)), training).unwrap();
    (trainer, width, head.hidden_dim)
}

fn training(strategy: Strategy) -> HeadTraining {
    HeadTraining { strategy, n_steps: 3, loss: Loss { acceptance: 0.5 }, ..HeadTraining::default() }
}

/// Moves all numbers a little, so that no adapter is zero.
fn shake(trainer: &mut HeadTrainer, rng: &mut Rng) {
    let mut values = trainer.values();
    values.iter_mut().flatten().for_each(|value| *value += 0.1 * rng.normal());
    trainer.set_values(&values);
}

fn check(strategy: Strategy, has_taps: bool) {
    let mut rng = Rng(5);
    let (mut trainer, width, hidden_dim) = trainer(training(strategy), 1);
    shake(&mut trainer, &mut rng);
    let sample = sample(&mut rng, if has_taps { width } else { hidden_dim }, hidden_dim);
    let bases: Vec<usize> = sample.bases().collect();
    assert_eq!(bases, [3, 4, 5, 6, 8, 9, 10, 11]);
    trainer.learn(&sample, &bases, 1.0).unwrap();
    let gradients: Vec<Vec<f32>> = trainer.parameters().map(|parameter| parameter.gradient.clone()).collect();
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
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
            let found = f64::from(gradient[index]);
            let is_close = (slope - found).abs() < 2e-3 + 0.02 * slope.abs().max(found.abs());
            assert!(
                is_close,
                "{strategy:?}, tensor {number}, index {index}: {found}, by differences {slope}"
            );
        }
    }
}

#[test]
fn of_adapters() {
    check(Strategy::LowRank { rank: 4, alpha: 8.0 }, false);
    check(Strategy::LowRank { rank: 4, alpha: 8.0 }, true);
}

#[test]
fn of_everything() {
    check(Strategy::All, true);
    // Without taps the fusion is not asked.
    let (mut trainer, _, hidden_dim) = trainer(training(Strategy::All), 1);
    let sample = sample(&mut Rng(5), hidden_dim, hidden_dim);
    trainer.learn(&sample, &[4, 5], 1.0).unwrap();
}

/// Those of changes in 8 bits are those of the matrices themselves, which differences confirm: at first, and after some
/// steps, when what the changes do to later gradients counts.
#[test]
fn of_everything_in_8_bits() {
    let adamw = AdamW { learning_rate: 2e-3, ..AdamW::default() };
    let (mut changes, _, hidden_dim) = trainer(HeadTraining { adamw, ..training(Strategy::AllInt8) }, 1);
    let sample = sample(&mut Rng(5), hidden_dim, hidden_dim);
    let bases: Vec<usize> = sample.bases().collect();
    let tiny = TinyModel::new("qwen2");
    let model = tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() });
    // What changes multiply is rounded to 8 bits; while there is none, nothing is.
    for tolerance in [1e-4, 0.03, 0.03] {
        let head = TinyHead::new(&tiny).load(&model, &HeadOptions::default()).unwrap();
        let (config, core) = (head.layer().config().clone(), head.core_vocab().to_vec());
        let values = changes.head_values();
        let same = Eagle3Head::from_values(&model, &config, &values, &core, 0).unwrap();
        let mut whole = HeadTrainer::new(&same, Arc::new(Pool::new(1)), training(Strategy::All)).unwrap();
        let loss = whole.learn(&sample, &bases, 1.0).unwrap().loss;
        let found = changes.learn(&sample, &bases, 1.0).unwrap().loss;
        assert!((loss - found).abs() < 0.01 * loss, "{loss} {found}");
        let mut wanted = whole.gradients();
        // What fuses the taps is not learnt.
        wanted.remove(7);
        let found = changes.gradients();
        assert_eq!(wanted.len(), found.len());
        for (number, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            let difference: f32 = wanted.iter().zip(found).map(|(a, b)| (a - b) * (a - b)).sum();
            let square: f32 = wanted.iter().map(|a| a * a).sum();
            assert!(
                square > 0.0 && difference < tolerance * tolerance * square,
                "{number}: {difference} of {square}"
            );
        }
        for _ in 0..5 {
            changes.step().unwrap();
            changes.learn(&sample, &bases, 1.0).unwrap();
        }
        changes.step().unwrap();
    }
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let (mut adapted, width, hidden_dim) = trainer(training(Strategy::LowRank { rank: 4, alpha: 4.0 }), 1);
    let (mut whole, ..) = trainer(training(Strategy::All), 1);
    let sample = sample(&mut Rng(7), width, hidden_dim);
    let bases: Vec<usize> = sample.bases().collect();
    let (a, b) = (adapted.score(&sample, &bases).unwrap(), whole.score(&sample, &bases).unwrap());
    assert!((a.loss - b.loss).abs() < 1e-4 * a.loss, "{} {}", a.loss, b.loss);
    assert_eq!(a.n_right, b.n_right);
}

#[test]
fn a_seed_fixes_the_loss_curve_for_any_number_of_threads() {
    for strategy in [Strategy::LowRank { rank: 4, alpha: 4.0 }, Strategy::AllInt8] {
        check_curve(strategy);
    }
}

fn check_curve(strategy: Strategy) {
    let curve = |n_threads: usize| {
        let (mut trainer, width, hidden_dim) = trainer(training(strategy), n_threads);
        let sample = sample(&mut Rng(7), width, hidden_dim);
        let bases: Vec<usize> = sample.bases().collect();
        let step = |_| {
            let loss = trainer.learn(&sample, &bases, 1.0).unwrap().loss;
            trainer.step().unwrap();
            loss
        };
        (0..12).map(step).collect::<Vec<f32>>()
    };
    let (one, three) = (curve(1), curve(3));
    assert_eq!(one, three);
    assert_eq!(one, curve(1));
}

#[test]
fn everything_learns_a_text_by_heart() {
    for strategy in [Strategy::LowRank { rank: 8, alpha: 8.0 }, Strategy::All, Strategy::AllInt8] {
        let adamw = AdamW { learning_rate: 1e-2, ..AdamW::default() };
        let (mut trainer, width, hidden_dim) = trainer(HeadTraining { adamw, ..training(strategy) }, 1);
        let mut sample = sample(&mut Rng(7), width, hidden_dim);
        // What the target says most loudly is what comes.
        sample.hidden.iter_mut().for_each(|hidden| *hidden *= f16::from_f32(4.0));
        let bases: Vec<usize> = sample.bases().collect();
        let first = trainer.score(&sample, &bases).unwrap().loss;
        for _ in 0..150 {
            trainer.learn(&sample, &bases, 1.0).unwrap();
            trainer.step().unwrap();
        }
        let last = trainer.score(&sample, &bases).unwrap().loss;
        assert!(last < 0.4 * first, "{strategy:?}: {first} {last}");
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let (mut trainer, width, hidden_dim) = trainer(training(Strategy::LowRank { rank: 2, alpha: 2.0 }), 1);
    let good = sample(&mut Rng(7), width, hidden_dim);
    let mut bad = [good.clone(), good.clone(), good.clone(), good.clone()];
    bad[0].tokens[2] = 75;
    bad[1].states.pop();
    bad[2].hidden.pop();
    bad[3].is_answer.pop();
    for sample in &bad {
        assert!(trainer.score(sample, &[4]).is_err());
    }
    assert!(trainer.score(&good, &[N_TOKENS - 2]).is_err());
    assert!(trainer.score(&good, &[2]).is_err());
    assert!(trainer.score(&Sample::default(), &[]).is_err());
}
