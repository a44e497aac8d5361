//! A head made for a real model from its own answers. Needs SmolLM2 in the store (`nano-reasoning pull smollm2-135m`);
//! without it each test says so and passes.

#[path = "support/small_model.rs"]
mod small_model;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nano_reasoning::{
    Collector, DistillFolder, DistillPrompt, DistillSettings, DrafterChoice, HeadDistiller, Orchestrator,
    Speculation,
};

const PROMPT: &str = "Write a Python function that adds two numbers.";

/// An orchestrator that drafts with `drafter`; `None` where the model is not there.
fn open(folder: &Path, drafter: DrafterChoice, head: Option<PathBuf>) -> Option<Orchestrator> {
    let mut config = small_model::config(folder)?;
    config.overrides.temperature = Some(0.0);
    config.overrides.is_training_enabled = Some(false);
    config.speculation = Speculation { drafter, head, is_history_off: true, ..Speculation::default() };
    let mut orchestrator = Orchestrator::new(config);
    orchestrator.initialize().unwrap();
    Some(orchestrator)
}

fn prompts() -> Vec<DistillPrompt> {
    let prompt = |id: &str, turns: &[&str]| DistillPrompt {
        id: id.into(),
        task: "test".into(),
        turns: turns.iter().map(|&turn| turn.into()).collect(),
    };
    vec![
        prompt("1", &[PROMPT, "Now with three."]),
        prompt("2", &["List the days of the week, then the months."]),
    ]
}

/// Names of all files of answers, with when they were written.
fn samples(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(folder.join("samples")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect()
}

/// Collects the prompts and a request of the model's own.
fn collect(orchestrator: &mut Orchestrator, folder: &DistillFolder) -> nano_reasoning::CollectorStatistics {
    let mut collector = Collector::new(orchestrator, folder).unwrap();
    for prompt in prompts() {
        assert!(collector.prompt(&prompt, 24, &mut || true).unwrap());
    }
    assert!(collector.self_prompt(1, 5, 24, &mut || true).unwrap());
    *collector.statistics()
}

fn settings(n_steps: u64) -> DistillSettings {
    DistillSettings { is_from_scratch: true, n_steps: Some(n_steps), ..DistillSettings::default() }
}

fn train(orchestrator: &mut Orchestrator, folder: &DistillFolder, n_steps: u64, n_now: u64) -> HeadDistiller {
    let mut distiller = HeadDistiller::open(orchestrator, folder, &settings(n_steps)).unwrap();
    for _ in 0..n_now {
        distiller.step().unwrap();
    }
    distiller
}

#[test]
fn answers_are_collected_once_whoever_drafts_and_a_head_comes_of_them() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("made");
    let folder = DistillFolder::open(&root).unwrap();
    let Some(mut orchestrator) = open(temporary.path(), DrafterChoice::Auto, None) else { return };
    let mut collector = Collector::new(&mut orchestrator, &folder).unwrap();
    assert!(!collector.prompt(&prompts()[0], 24, &mut || false).unwrap(), "it is stopped");
    assert!(samples(&root).is_empty());
    let statistics = collect(&mut orchestrator, &folder);
    assert_eq!((statistics.n_kept, statistics.n_dropped, statistics.n_there), (4, 0, 0));
    let written = samples(&root);
    assert_eq!(written.len(), 4);
    let statistics = collect(&mut orchestrator, &folder);
    assert_eq!((statistics.n_kept, statistics.n_there), (0, 3));
    assert_eq!(samples(&root), written);

    // Without drafts the same files come out, all bits of them.
    let plain = DistillFolder::open(&temporary.path().join("plain")).unwrap();
    let mut without = open(temporary.path(), DrafterChoice::None, None).unwrap();
    collect(&mut without, &plain);
    let again = samples(&temporary.path().join("plain"));
    for (path, again) in written.keys().zip(again.keys()) {
        assert_eq!(path.file_name(), again.file_name());
        assert!(fs::read(path).unwrap() == fs::read(again).unwrap(), "{}", path.display());
    }
    drop(without);

    // Straight, and with a stop between: the same state.
    let mut straight = train(&mut orchestrator, &plain, 4, 4);
    straight.save().unwrap();
    let mut first = train(&mut orchestrator, &folder, 4, 2);
    first.evaluate().unwrap();
    first.save().unwrap();
    drop(first);
    let mut second = train(&mut orchestrator, &folder, 4, 0);
    assert_eq!(second.summary().n_done, 2);
    second.step().unwrap();
    second.step().unwrap();
    assert!(second.is_done());
    second.evaluate().unwrap();
    second.save().unwrap();
    let state =
        |folder: &str| fs::read(temporary.path().join(folder).join("checkpoint.safetensors")).unwrap();
    let evaluated = straight.evaluate().unwrap();
    straight.save().unwrap();
    assert!(evaluated.loss.is_finite());
    assert!(state("plain") == state("made"), "a stop changes the state");

    // The head drafts, and the text is the model's.
    let text = |orchestrator: &mut Orchestrator| orchestrator.generate(PROMPT, 24, |_| true).unwrap().tokens;
    let wanted = text(&mut orchestrator);
    for head in [folder.head(), root.join("head")] {
        let mut with = open(temporary.path(), DrafterChoice::Head, Some(head)).unwrap();
        assert_eq!(text(&mut with), wanted);
    }
}

#[test]
fn broken_and_foreign_files_are_refused_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("made");
    let folder = DistillFolder::open(&root).unwrap();
    let Some(mut orchestrator) = open(temporary.path(), DrafterChoice::Auto, None) else { return };
    let refusal = |orchestrator: &mut Orchestrator| {
        HeadDistiller::open(orchestrator, &folder, &settings(2)).err().expect("it is refused").to_string()
    };
    let nothing = refusal(&mut orchestrator);
    assert!(nothing.starts_with("there is nothing to learn from: found 0 answers"), "{nothing}");
    collect(&mut orchestrator, &folder);
    train(&mut orchestrator, &folder, 2, 1).save().unwrap();

    let damage = |path: &Path, change: &dyn Fn(&mut Vec<u8>), orchestrator: &mut Orchestrator| {
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(path, bad).unwrap();
        let message = refusal(orchestrator);
        fs::write(path, good).unwrap();
        assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
        message
    };
    let sample = samples(&root).keys().next().unwrap().clone();
    let halve = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    assert!(
        damage(&sample, &halve, &mut orchestrator)
            .contains("wanted an answer as this program collects it, whole")
    );
    let fingerprint = |bytes: &mut Vec<u8>| {
        let at = bytes
            .windows(9)
            .position(|window| window == b"\\\"target\\")
            .expect("the header names its target");
        bytes[at + 13..at + 17].copy_from_slice(b"0000");
    };
    assert!(damage(&sample, &fingerprint, &mut orchestrator).contains("found an answer of the model 0000"));
    let checkpoint = root.join("checkpoint.safetensors");
    let message = damage(&checkpoint, &halve, &mut orchestrator);
    assert!(message.ends_with("whole; remove it to start anew"), "{message}");
    let vocabulary = root.join("vocabulary.json");
    let twice = |bytes: &mut Vec<u8>| *bytes = b"[7, 7]".to_vec();
    fs::write(&vocabulary, {
        let mut bytes = Vec::new();
        twice(&mut bytes);
        bytes
    })
    .unwrap();
    assert!(refusal(&mut orchestrator).contains("'d2t'"));
}
