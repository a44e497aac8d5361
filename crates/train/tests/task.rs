//! A trainer beside a decoder: answers go in, adapters come out, the text stays the target's.

#[path = "../../model/tests/common/mod.rs"]
mod common;
mod session;

use std::sync::{Arc, Mutex};

use common::TinyModel;
use common::head::TinyHead;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadOptions, LoadOptions};
use nano_reasoning_speculate::{Drafter, HeadDrafter};
use nano_reasoning_train::{
    AdamW, Allowance, Checkpoint, HeadTraining, Memory, Strategy, TaskOptions, TrainerStatus, TrainerTask,
};
use session::{Session, prompt};

/// A target and its head.
fn tiny() -> (Arc<CpuModel>, Eagle3Head) {
    let tiny = TinyModel::new("qwen2");
    let model = tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() });
    let head = TinyHead::new(&tiny).load(&model, &HeadOptions::default()).unwrap();
    (model, head)
}

fn drafter(head: Eagle3Head) -> Box<dyn Drafter> {
    Box::new(HeadDrafter::new("head", Box::new(head)))
}

const LOW_RANK: Strategy = Strategy::LowRank { rank: 16, alpha: 16.0 };

fn options(strategy: Strategy) -> TaskOptions {
    // Of whole matrices so much changes at once that steps are shorter.
    let learning_rate = if strategy == LOW_RANK { 2e-2 } else { 5e-3 };
    TaskOptions {
        training: HeadTraining {
            strategy,
            adamw: AdamW { learning_rate, ..AdamW::default() },
            ..HeadTraining::default()
        },
        n_passes: 10.0,
        step_rows: 32,
        ..TaskOptions::default()
    }
}

/// Answers prompts with a trainer beside; its status, the texts, and what it kept.
fn run(
    strategy: Strategy,
    n_answers: u32,
    checkpoints: Vec<(String, Checkpoint)>,
) -> (TrainerStatus, Vec<Vec<u32>>, Vec<Checkpoint>) {
    let (model, head) = tiny();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let kept = kept.clone();
        move |checkpoint: &Checkpoint| kept.lock().unwrap().push(checkpoint.clone())
    };
    let task = TrainerTask::start(
        &head,
        options(strategy),
        Memory { checkpoints: Box::new(checkpoints.into_iter()), keep: Box::new(keep) },
        Box::new(|| Allowance::ALL),
    )
    .unwrap();
    let mut session = Session::new(&model, Some(drafter(head)));
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
    for strategy in [LOW_RANK, Strategy::AllInt8] {
        check_improvement(strategy);
    }
}

fn check_improvement(strategy: Strategy) {
    let (status, texts, kept) = run(strategy, 24, Vec::new());
    let (model, _) = tiny();
    let mut plain = Session::new(&model, None);
    for (i, text) in (0..).zip(&texts) {
        assert_eq!(*text, plain.answer(&prompt(i)), "answer {i}");
    }
    assert_eq!((status.n_answers, status.error.clone()), (24, None));
    let first = status.decisions.first().unwrap().published_length;
    let accepted: Vec<_> = status.decisions.iter().filter(|decision| decision.is_accepted).collect();
    assert!(accepted.iter().all(|decision| decision.candidate_length >= decision.published_length));
    let last = accepted.last().unwrap().candidate_length;
    assert!(last > first + 0.3, "{strategy:?}: {first} {last}");
    assert_eq!(kept.len(), accepted.len());
    assert_eq!(kept.last().unwrap().info.mean_accepted_length, last);
}

#[test]
fn a_run_repeats_and_goes_on_from_its_checkpoint() {
    for strategy in [LOW_RANK, Strategy::AllInt8] {
        check_repeat(strategy);
    }
}

fn check_repeat(strategy: Strategy) {
    let (first, _, kept) = run(strategy, 8, Vec::new());
    let (again, _, kept_again) = run(strategy, 8, Vec::new());
    assert_eq!(first.decisions, again.decisions);
    assert_eq!(kept, kept_again);
    let last = kept.last().unwrap().clone();
    let last = Checkpoint::from_bytes(&last.to_bytes()).unwrap();
    let (more, ..) = run(strategy, 4, vec![("the last".into(), last.clone())]);
    assert_eq!(more.n_answers, last.info.n_answers + 4);
    assert!(more.n_steps > last.info.n_steps);
    // What was published before counts from the start.
    let before = &more.decisions[0];
    assert!(before.published_length > first.decisions[0].published_length, "{before:?}");
}

#[test]
fn a_checkpoint_of_something_else_is_left_alone() {
    let (_, _, kept) = run(LOW_RANK, 8, Vec::new());
    let good = kept.last().unwrap();
    let mut foreign = good.clone();
    foreign.info.belongs_to.target = "0123456789abcdef".into();
    let (more, ..) =
        run(LOW_RANK, 1, vec![("foreign".into(), foreign.clone()), ("good".into(), good.clone())]);
    assert_eq!(more.n_answers, good.info.n_answers + 1);
    let (base, ..) = run(LOW_RANK, 1, vec![("foreign".into(), foreign)]);
    assert_eq!(base.n_answers, 1);
    // So is one of another strategy.
    let (base, ..) = run(Strategy::AllInt8, 1, vec![("adapters".into(), good.clone())]);
    assert_eq!(base.n_answers, 1);
}

#[test]
fn nothing_is_learnt_while_nobody_listens_or_somebody_waits() {
    let (model, head) = tiny();
    let task =
        TrainerTask::start(&head, options(LOW_RANK), Memory::default(), Box::new(|| Allowance::ALL)).unwrap();
    let mut session = Session::new(&model, Some(drafter(head)));
    session.decoder.add_observer(Box::new(task.recorder()));
    task.set_listening(false);
    session.answer(&prompt(1));
    task.wait();
    let nothing = TrainerStatus { state_bytes: task.status().state_bytes, ..TrainerStatus::default() };
    assert!(task.status() == nothing && nothing.state_bytes > 0);
    task.set_listening(true);
    let pause = task.pause();
    session.answer(&prompt(2));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(task.status().n_tokens_trained, 0);
    drop(pause);
    task.wait();
    assert!(task.status().n_tokens_trained > 0);
}

#[test]
fn a_trainer_that_may_not_work_says_why_and_works_for_who_waits() {
    let (model, head) = tiny();
    let on_battery = Allowance { share: 0.0, reason: Some("on battery") };
    let task = TrainerTask::start(&head, options(LOW_RANK), Memory::default(), Box::new(move || on_battery))
        .unwrap();
    let mut session = Session::new(&model, Some(drafter(head)));
    session.decoder.add_observer(Box::new(task.recorder()));
    session.answer(&prompt(1));
    while task.status().held_by.is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!((task.status().n_tokens_trained, task.status().held_by), (0, Some("on battery")));
    task.wait();
    assert!(task.status().n_tokens_trained > 0);
    assert_eq!(task.status().error, None);
}
