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
    AdamW, Allowance, Checkpoint, HeadTraining, Profile, Strategy, TaskOptions, TrainableHead, TrainerStatus,
    TrainerTask,
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

/// Answers the first prompts with a trainer beside; its status, the texts, and what it kept.
fn run(
    strategy: Strategy,
    n_answers: u32,
    checkpoints: Vec<(String, Checkpoint)>,
) -> (TrainerStatus, Vec<Vec<u32>>, Vec<Checkpoint>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let profile = profile("default", checkpoints, &kept);
    let (mut statuses, texts) = answer(strategy, 0..n_answers, vec![profile]);
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    (statuses.pop().unwrap(), texts, kept)
}

type Kept = Arc<Mutex<Vec<Checkpoint>>>;

fn profile(name: &str, checkpoints: Vec<(String, Checkpoint)>, kept: &Kept) -> Profile {
    let kept = kept.clone();
    Profile {
        name: name.into(),
        checkpoints: Box::new(move || Box::new(checkpoints.clone().into_iter())),
        keep: Box::new(move |checkpoint| kept.lock().unwrap().push(checkpoint.clone())),
    }
}

/// Answers prompts with a trainer beside; its status after each, and the texts.
fn answer(
    strategy: Strategy,
    prompts: impl IntoIterator<Item = u32>,
    profiles: Vec<Profile>,
) -> (Vec<TrainerStatus>, Vec<Vec<u32>>) {
    let (model, head) = tiny();
    let task = TrainerTask::start(
        TrainableHead::of(&head),
        options(strategy),
        profiles,
        Box::new(|| Allowance::ALL),
    )
    .unwrap();
    let mut session = Session::new(&model, Some(drafter(head)));
    session.decoder.add_observer(Box::new(task.recorder()));
    let (mut statuses, mut texts) = (Vec::new(), Vec::new());
    for i in prompts {
        let pause = task.pause();
        texts.push(session.answer(&prompt(i)));
        drop(pause);
        task.wait();
        statuses.push(task.status());
    }
    (statuses, texts)
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
    let task = TrainerTask::start(
        TrainableHead::of(&head),
        options(LOW_RANK),
        Vec::new(),
        Box::new(|| Allowance::ALL),
    )
    .unwrap();
    let mut session = Session::new(&model, Some(drafter(head)));
    session.decoder.add_observer(Box::new(task.recorder()));
    task.set_listening(false);
    session.answer(&prompt(1));
    task.wait();
    let TrainerStatus { profile, state_bytes, .. } = task.status();
    let nothing = TrainerStatus { profile, state_bytes, ..TrainerStatus::default() };
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
    let task = TrainerTask::start(
        TrainableHead::of(&head),
        options(LOW_RANK),
        Vec::new(),
        Box::new(move || on_battery),
    )
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

#[test]
fn the_profile_that_guesses_recent_answers_best_is_drafted_with_and_learns() {
    for strategy in [LOW_RANK, Strategy::AllInt8] {
        check_choice(strategy);
    }
}

fn check_choice(strategy: Strategy) {
    let learn = |i: u32| {
        let kept = Kept::default();
        answer(strategy, [i; 12], vec![profile("alone", Vec::new(), &kept)]);
        let last = kept.lock().unwrap().last().expect("something was learnt").clone();
        vec![("learnt before".to_owned(), last)]
    };
    let (kept_a, kept_b) = (Kept::default(), Kept::default());
    let profiles = vec![
        profile("new", Vec::new(), &Kept::default()),
        profile("a", learn(0), &kept_a),
        profile("b", learn(1), &kept_b),
    ];
    let (statuses, texts) = answer(strategy, [1, 1, 1, 1, 1, 1, 0, 0, 0], profiles);
    let names: Vec<&str> = statuses.iter().map(|status| &*status.profile).collect();
    assert_eq!(names[0], "b", "{strategy:?}");
    assert!(names[..6].iter().all(|name| *name == "b"), "{strategy:?}: {names:?}");
    assert_eq!(names[8], "a", "{strategy:?}: {names:?}");
    let (model, _) = tiny();
    let mut plain = Session::new(&model, None);
    assert_eq!(texts[0], plain.answer(&prompt(1)));
    assert_eq!(texts[8], plain.answer(&prompt(0)));
    // What came in was counted on top of what the profile had seen before, and kept under its name.
    assert_eq!(statuses[5].n_answers, statuses[0].n_answers + 5);
    let belongs = |kept: &Kept, counts: std::ops::RangeInclusive<u64>| {
        kept.lock().unwrap().iter().all(|checkpoint| counts.contains(&checkpoint.info.n_answers))
    };
    assert!(belongs(&kept_b, statuses[0].n_answers..=statuses[5].n_answers));
    assert!(belongs(&kept_a, statuses[8].n_answers - 2..=statuses[8].n_answers));
}
