//! A trainer of a draft model beside a decoder: answers go in, adapters come out, the text stays the target's.

#[path = "../../model/tests/common/mod.rs"]
mod common;
mod session;

use std::sync::{Arc, Mutex};

use common::TinyModel;
use nano_reasoning_model::{CpuModel, LoadOptions};
use nano_reasoning_speculate::{Drafter, ModelDrafter};
use nano_reasoning_train::{
    AdamW, Allowance, Checkpoint, DraftModel, DraftModelTraining, Profile, TaskOptions, TrainerStatus,
    TrainerTask,
};
use session::{Session, prompt};

fn load(seed: u64) -> Arc<CpuModel> {
    let tiny = TinyModel { seed, ..TinyModel::new("qwen2") };
    tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() })
}

/// A target, and a draft model that knows nothing of it.
fn tiny() -> (Arc<CpuModel>, Box<dyn Drafter>, DraftModel) {
    let (target, model) = (load(1), load(2));
    let core_vocab: Vec<u32> = (0..75).collect();
    let sequence = model.sequence(400).unwrap();
    let slot = sequence.slot().clone();
    let drafter = ModelDrafter::new("model", Box::new(sequence), core_vocab.clone());
    (target.clone(), Box::new(drafter), DraftModel { target, model, core_vocab, slot })
}

/// Answers prompts with a trainer beside; its status, the texts, and what it kept.
fn run(
    n_answers: u32,
    checkpoints: Vec<(String, Checkpoint)>,
) -> (TrainerStatus, Vec<Vec<u32>>, Vec<Checkpoint>) {
    let (target, drafter, parts) = tiny();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let kept = kept.clone();
        move |checkpoint: &Checkpoint| kept.lock().unwrap().push(checkpoint.clone())
    };
    let options = TaskOptions {
        training: DraftModelTraining {
            adamw: AdamW { learning_rate: 1e-2, ..AdamW::default() },
            ..DraftModelTraining::default()
        },
        n_passes: 6.0,
        ..TaskOptions::default()
    };
    let profile = Profile {
        checkpoints: Box::new(move || Box::new(checkpoints.clone().into_iter())),
        keep: Box::new(keep),
        ..Profile::default()
    };
    let may_work = Box::new(|| Allowance::ALL);
    let task = TrainerTask::start_draft_model(parts, options, vec![profile], may_work).unwrap();
    let mut session = Session::new(&target, Some(drafter));
    session.decoder.add_observer(Box::new(task.recorder()));
    let mut texts = Vec::new();
    for i in 0..n_answers {
        let pause = task.pause();
        texts.push(session.answer(&prompt(i)));
        drop(pause);
        task.wait();
    }
    let status = task.status();
    drop(task);
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    (status, texts, kept)
}

#[test]
fn held_out_answers_are_guessed_better_and_texts_are_the_targets() {
    let (status, texts, kept) = run(20, Vec::new());
    let mut plain = Session::new(&load(1), None);
    for (i, text) in (0..).zip(&texts) {
        assert_eq!(*text, plain.answer(&prompt(i)), "answer {i}");
    }
    assert_eq!((status.n_answers, status.error.clone()), (20, None));
    let first = status.decisions.first().unwrap().published_length;
    let accepted: Vec<_> = status.decisions.iter().filter(|decision| decision.is_accepted).collect();
    assert!(accepted.iter().all(|decision| decision.candidate_length >= decision.published_length));
    let last = accepted.last().unwrap().candidate_length;
    assert!(last > first + 0.5, "{first} {last}");
    assert_eq!(kept.len(), accepted.len());
    assert_eq!(kept.last().unwrap().info.mean_accepted_length, last);
    assert!(status.state_bytes > 0 && status.buffer_bytes > 0);
}

#[test]
fn a_run_repeats_and_goes_on_from_its_checkpoint() {
    let (first, _, kept) = run(8, Vec::new());
    let (again, _, kept_again) = run(8, Vec::new());
    assert_eq!(first.decisions, again.decisions);
    assert_eq!(kept, kept_again);
    let last = Checkpoint::from_bytes(&kept.last().unwrap().to_bytes()).unwrap();
    assert_eq!(last, *kept.last().unwrap());
    let (more, ..) = run(4, vec![("the last".into(), last.clone())]);
    assert_eq!(more.n_answers, last.info.n_answers + 4);
    assert!(more.n_steps > last.info.n_steps);
    // What was published before counts from the start.
    let before = &more.decisions[0];
    assert!(before.published_length > first.decisions[0].published_length, "{before:?}");
}

#[test]
fn a_checkpoint_of_something_else_is_left_alone() {
    let (_, _, kept) = run(8, Vec::new());
    let good = kept.last().unwrap();
    let mut foreign = [good.clone(), good.clone(), good.clone()];
    foreign[0].info.belongs_to.target = "0123456789abcdef".into();
    foreign[1].info.belongs_to.drafter = "0123456789abcdef".into();
    foreign[2].info.strategy = "lora".into();
    let mut named: Vec<_> =
        foreign.into_iter().map(|checkpoint| ("foreign".to_owned(), checkpoint)).collect();
    let (base, ..) = run(1, named.clone());
    assert_eq!(base.n_answers, 1);
    named.push(("good".into(), good.clone()));
    let (more, ..) = run(1, named);
    assert_eq!(more.n_answers, good.info.n_answers + 1);
}
