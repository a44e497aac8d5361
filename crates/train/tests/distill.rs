//! A head learnt from files: held-out answers are guessed better, a run goes on as if it had never stopped, and files of
//! something else are refused.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Rng, TinyModel};
use half::f16;
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadConfig, HeadValues, LoadOptions};
use nano_reasoning_train::{
    Checkpoint, DistillOptions, Distillation, HeadTrainer, HeadTraining, Sample, SampleFile, SampleInfo,
    Strategy, TokenCounts,
};

const N_TOKENS: usize = 40;

fn model(seed: u64) -> Arc<CpuModel> {
    let tiny = TinyModel { seed, ..TinyModel::new("llama") };
    tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() })
}

/// An answer of the target, now and then led astray.
fn answer(model: &Arc<CpuModel>, taps: &[usize], seed: u64) -> Sample {
    let mut rng = Rng(seed);
    let mut tokens = rng.tokens(4, 75);
    let mut sequence = model.sequence(N_TOKENS).unwrap();
    sequence.set_taps(taps);
    let first_hidden = tokens.len();
    let mut sample = Sample { first_hidden, ..Sample::default() };
    let mut n_passed = 0;
    while n_passed < N_TOKENS {
        let forward = sequence.forward(&TokenTree::chain(&tokens[n_passed..]), LogitRows::Last).unwrap();
        let top = (0..75).max_by(|&a: &usize, &b| forward.logits[a].total_cmp(&forward.logits[b])).unwrap();
        sample.states.extend(forward.taps.iter().map(|&x| f16::from_f32(x)));
        if n_passed >= first_hidden {
            sample.hidden.extend(forward.hidden.iter().map(|&x| f16::from_f32(x)));
        }
        n_passed = tokens.len();
        let next = if rng.normal() > 0.7 { rng.tokens(1, 75)[0] } else { top as u32 };
        if n_passed < N_TOKENS {
            tokens.push(next);
        }
    }
    sample.is_answer = (0..N_TOKENS).map(|i| i >= first_hidden).collect();
    sample.tokens = tokens;
    sample
}

fn collect(folder: &Path, model: &Arc<CpuModel>, taps: &[usize], n: u64) -> Vec<SampleFile> {
    let file = |seed| {
        let info = SampleInfo {
            id: format!("answer/{seed}"),
            task: "tiny".into(),
            target: format!("{:016x}", model.fingerprint()),
            taps: taps.to_vec(),
            hidden_dim: 64,
        };
        let path = folder.join(format!("{seed}.safetensors"));
        std::fs::write(&path, answer(model, taps, seed + 10).to_bytes(&info)).unwrap();
        SampleFile::open(&path).unwrap().0
    };
    (0..n).map(file).collect()
}

/// A trainer of a new head for `model` over the tokens of `files`.
fn trainer(model: &Arc<CpuModel>, files: &[SampleFile], n_threads: usize, strategy: Strategy) -> HeadTrainer {
    let mut rng = Rng(3);
    let config = HeadConfig::for_target(model).unwrap();
    let values = HeadValues::warm_start(model, &config, &mut || rng.normal());
    let mut counts = TokenCounts::default();
    files.iter().for_each(|file| counts.add(&file.load().unwrap()));
    let head = Eagle3Head::from_values(model, &config, &values, &counts.most_frequent(30), 0).unwrap();
    let training = HeadTraining { strategy, ..HeadTraining::default() };
    HeadTrainer::new(&head, Arc::new(Pool::new(n_threads)), training).unwrap()
}

fn options() -> DistillOptions {
    DistillOptions {
        n_steps: 24,
        step_chunks: 2,
        chunk_rows: 16,
        learning_rate: 2e-3,
        hold_out: 4,
        ..DistillOptions::default()
    }
}

fn run(distillation: &mut Distillation, n_steps: usize) -> Vec<f32> {
    (0..n_steps).map(|_| distillation.step().unwrap().loss).collect()
}

#[test]
fn a_run_goes_on_from_a_checkpoint_bit_for_bit() {
    let model = model(1);
    let folder = tempfile::tempdir().unwrap();
    let files = collect(folder.path(), &model, &[0, 1, 2], 8);
    let new = |n_threads| {
        let trainer = trainer(&model, &files, n_threads, Strategy::All);
        Distillation::new(trainer, files.clone(), options()).unwrap()
    };
    let mut straight = new(1);
    let losses = run(&mut straight, 14);
    let evaluation = straight.evaluate().unwrap();

    // It stops in the middle of an epoch, and is evaluated there, which changes nothing.
    let mut first = new(1);
    assert!(first.steps_of_epoch() > 2 && 7 % first.steps_of_epoch() != 0);
    let mut halves = run(&mut first, 7);
    first.evaluate().unwrap();
    let bytes = first.checkpoint().to_bytes();
    drop(first);
    let mut second = new(3);
    second.restore(&Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
    halves.extend(run(&mut second, 7));
    assert_eq!(halves, losses);
    assert_eq!(second.evaluate().unwrap(), evaluation);
    assert!(second.checkpoint().to_bytes() == straight.checkpoint().to_bytes());
    assert!(!second.is_done());
    run(&mut second, 10);
    assert!(second.is_done());
}

#[test]
fn held_out_answers_are_guessed_better_and_the_head_that_is_written_is_the_one_that_learnt() {
    let model = model(1);
    let folder = tempfile::tempdir().unwrap();
    let files = collect(folder.path(), &model, &[0, 1, 2], 40);
    let trainer = trainer(&model, &files, 1, Strategy::All);
    let mut distillation = Distillation::new(
        trainer,
        files.clone(),
        DistillOptions { n_steps: 160, learning_rate: 5e-3, ..options() },
    )
    .unwrap();
    let (n_samples, n_held_out) = distillation.n_samples();
    assert!(n_held_out > 0 && n_samples + n_held_out == 40);
    let before = distillation.evaluate().unwrap();
    run(&mut distillation, 160);
    let after = distillation.evaluate().unwrap();
    assert!(after.loss < 0.85 * before.loss, "{before:?} {after:?}");
    assert!(after.mean_accepted_length > before.mean_accepted_length, "{before:?} {after:?}");

    // A head made of what was learnt starts where the other one is.
    let values = distillation.trainer().head_values();
    let config = HeadConfig::for_target(&model).unwrap();
    let core = distillation.trainer().core_vocab().to_vec();
    let head = Eagle3Head::from_values(&model, &config, &values, &core, 0).unwrap();
    let training = HeadTraining { strategy: Strategy::All, ..HeadTraining::default() };
    let again = HeadTrainer::new(&head, Arc::new(Pool::new(1)), training).unwrap();
    let mut again = Distillation::new(again, files, options()).unwrap();
    assert_eq!(again.evaluate().unwrap(), after);
}

#[test]
fn checkpoints_and_files_of_something_else_are_refused() {
    let (model, other) = (model(1), model(2));
    let folder = tempfile::tempdir().unwrap();
    let files = collect(folder.path(), &model, &[0, 1, 2], 4);
    let new = |model, strategy, options| {
        Distillation::new(trainer(model, &files, 1, strategy), files.clone(), options).unwrap()
    };
    let mut of_model = new(&model, Strategy::All, options());
    run(&mut of_model, 1);
    let checkpoint = of_model.checkpoint();
    let refusal = |mut by: Distillation| by.restore(&checkpoint).unwrap_err().to_string();
    assert!(refusal(new(&other, Strategy::All, options())).contains("found a checkpoint for the target "));
    let low_rank = new(&model, Strategy::LowRank { rank: 2, alpha: 2.0 }, options());
    assert_eq!(refusal(low_rank), "found a checkpoint of the strategy eagle; wanted lora");
    let seed = new(&model, Strategy::All, DistillOptions { seed: 5, ..options() });
    assert_eq!(refusal(seed), "found the seed 1; wanted 5");

    let target = format!("{:016x}", other.fingerprint());
    let message = files[0].check(&target, &[0, 1, 2], 64).unwrap_err().to_string();
    assert!(
        message.starts_with("sample '") && message.contains("0.safetensors': found an answer of the model ")
    );
    // A file that is replaced during the run is not silently another text.
    std::fs::write(&files[1].path, b"{}").unwrap();
    let failure = (0..8).find_map(|_| of_model.step().err()).map(|error| error.to_string());
    assert!(failure.is_some_and(|message| message.contains("1.safetensors': found ")));

    let few =
        Distillation::new(trainer(&model, &files[2..], 1, Strategy::All), files[2..3].to_vec(), options());
    assert!(
        few.err()
            .unwrap()
            .to_string()
            .contains("found 1 answers, wanted some to train on and some to hold out")
    );
}
