//! What learning brings: held-out prompts answered before and after a domain's prompts were, with what was learnt and
//! with the history alone.
//!
//! ```text
//! before    plain · nothing learnt                  in turns, prompt by prompt
//! train     the domain's prompts, training in the gaps between them
//! after     plain · history alone · all learnt      in turns, prompt by prompt
//! ```
//! While it measures, nothing is learnt and nothing is kept. For a chart the domain's prompts are answered twice more, in
//! other ways (`curves.rs`).

use std::collections::BTreeMap;

use anyhow::anyhow;
use nano_reasoning::config::LearningStrategy;
use nano_reasoning::{GenerationConfig, TrainerStatus};
use serde_json::json;

use super::curves::{self, Curve};
use super::prompts::{MAX_TOKENS, Prompt, Sums, answer, rate};
use super::{Report, plot};
use crate::arguments::BenchmarkArgs;
use crate::failure::Usage;
use crate::output;
use crate::progress::Spinner;
use crate::session::Session;

/// Answers to one task's held-out prompts.
#[derive(Default)]
struct Task {
    plain_before: Sums,
    before: Sums,
    plain_after: Sums,
    frozen: Sums,
    after: Sums,
    n_different: usize,
}

/// Finds out before anything is read or measured what would be in vain.
pub(super) fn check(config: &GenerationConfig, arguments: &BenchmarkArgs) -> anyhow::Result<()> {
    if arguments.adapts && config.overrides.strategy == Some(LearningStrategy::Frozen) {
        let message = "--strategy is frozen; --adapt wants lora or eagle: it measures what gradients bring";
        return Err(Usage(message.into()).into());
    }
    arguments.plot.as_deref().map_or(Ok(()), plot::check_folder)
}

pub(super) fn run(
    mut config: GenerationConfig,
    arguments: &BenchmarkArgs,
    train: &[Prompt],
    held_out: &[Prompt],
) -> anyhow::Result<Report> {
    let store = tempfile::tempdir()?;
    config.overrides.is_training_enabled = Some(true);
    // A frozen strategy of environment, file or tier is about other sessions.
    config.overrides.strategy.get_or_insert(LearningStrategy::Lora);
    config.speculation.memory_dir = Some(store.path().into());
    config.speculation.is_history_off = false;
    let mut session = Session::open(config.clone())?;
    if session.orchestrator.trainer().is_none() {
        return Err(anyhow!(
            "there is nothing that learns: the model has neither head nor draft model; --head or --drafter-model names one"
        ));
    }
    let max_tokens = arguments.max_tokens.unwrap_or(MAX_TOKENS);
    let mut tasks: BTreeMap<&str, Task> = BTreeMap::new();

    learns(&mut session, false);
    for (i, prompt) in (1..).zip(held_out) {
        let _spinner = Spinner::new(format!("before, prompt {i} of {}", held_out.len()));
        let task = tasks.entry(prompt.task()).or_default();
        let plain = answer(&mut session, prompt, max_tokens, true, &mut task.plain_before)?;
        let cold = answer(&mut session, prompt, max_tokens, false, &mut task.before)?;
        task.n_different += usize::from(plain != cold);
    }

    learns(&mut session, true);
    let mut trained = Sums::default();
    let mut answers = Vec::new();
    for (i, prompt) in (1..).zip(train) {
        let _spinner = Spinner::new(format!("training, prompt {i} of {}", train.len()));
        let mut sums = Sums::default();
        answer(&mut session, prompt, max_tokens, false, &mut sums)?;
        trained.add(&sums);
        answers.push(sums);
        trainer(&session).wait();
    }
    let status = trainer(&session).status();
    if let Some(error) = status.error {
        return Err(anyhow!("the trainer stopped: {error}"));
    }

    learns(&mut session, false);
    for (i, prompt) in (1..).zip(held_out) {
        let _spinner = Spinner::new(format!("after, prompt {i} of {}", held_out.len()));
        let task = tasks.entry(prompt.task()).or_default();
        let plain = answer(&mut session, prompt, max_tokens, true, &mut task.plain_after)?;
        for is_frozen in if i % 2 == 0 { [true, false] } else { [false, true] } {
            trainer(&session).set_publishing(!is_frozen);
            let sums = if is_frozen { &mut task.frozen } else { &mut task.after };
            let drafted = answer(&mut session, prompt, max_tokens, false, sums)?;
            task.n_different += usize::from(plain != drafted);
        }
    }
    let mut report = report(&mut session, &tasks, &trained, &status);
    if let Some(path) = &arguments.plot {
        let info = &session.orchestrator.engine().expect("it is initialized").info;
        let title = format!("{}: what learning brings", info.model);
        let details = format!(
            "{} answers, {}, {} threads; lines: means of five",
            train.len(),
            info.device,
            info.n_threads
        );
        drop(session);
        let [off, ngram] = curves::without_training(&config, max_tokens, train, held_out)?;
        let all = [Curve { name: "training on", answers }, off, ngram];
        let svg = plot::svg(&all, [&title, &details])?;
        let written = output::write_file(path, &svg);
        written.map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
        report.json["curves"] = all.iter().map(Curve::json).collect();
    }
    Ok(report)
}

/// Whether answers are kept and learnt from, from now on.
fn learns(session: &mut Session, learns: bool) {
    trainer(session).set_listening(learns);
    session.orchestrator.engine().expect("it is initialized").set_remembering(learns);
}

fn trainer(session: &Session) -> &nano_reasoning::TrainerTask {
    session.orchestrator.trainer().expect("it was there at the start")
}

fn report(
    session: &mut Session,
    tasks: &BTreeMap<&str, Task>,
    trained: &Sums,
    status: &TrainerStatus,
) -> Report {
    let info = &session.orchestrator.engine().expect("it is initialized").info;
    let mut table = format!("{}, {}, {} threads\n", info.model, info.device, info.n_threads);
    let mut by_task = serde_json::Map::new();
    for (name, task) in tasks {
        let rows = [
            ("before", &task.before, &task.plain_before),
            ("frozen", &task.frozen, &task.plain_after),
            ("after", &task.after, &task.plain_after),
        ];
        let mut json =
            json!({ "tokens_trained": trained.n_tokens, "identical_output": task.n_different == 0 });
        for (label, sums, plain) in rows {
            let speedup = rate(sums.tokens_per_second(), plain.tokens_per_second());
            table += &format!(
                "{name} {label:6} {:6.1} tokens/s, {speedup:4.2} × plain, τ {:4.2}, accepted {:4.1} %\n",
                sums.tokens_per_second(),
                sums.mean_accepted_length(),
                100.0 * sums.acceptance_rate().unwrap_or(0.0),
            );
            json[label] = sums.json();
            json[label]["speedup"] = speedup.into();
        }
        by_task.insert((*name).to_owned(), json);
    }
    let n_accepted = status.decisions.iter().filter(|decision| decision.is_accepted).count();
    table += &format!(
        "trained on {} tokens of {} answers, {:.0} s, {} steps; {n_accepted} of {} snapshots published\n",
        trained.n_tokens,
        trained.n_answers,
        status.train_s,
        status.n_steps,
        status.decisions.len(),
    );
    let json = json!({
        "model": info.model,
        "device": info.device,
        "n_threads": info.n_threads,
        "tasks": by_task,
        "training": {
            "n_answers": trained.n_answers,
            "n_tokens": trained.n_tokens,
            "n_tokens_trained": status.n_tokens_trained,
            "n_steps": status.n_steps,
            "train_s": status.train_s,
            "buffer_bytes": status.buffer_bytes,
            "state_bytes": status.state_bytes,
            "decisions": status.decisions,
        },
    });
    Report { table, json }
}
