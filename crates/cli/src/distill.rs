//! `distill`: the model's own answers, and a head that learns from them.

use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::DecimalBytes;
use nano_reasoning::{Collector, DistillFolder, DistillSettings, HeadDistiller};

use crate::arguments::{AnswerArgs, DistillArgs, GlobalArgs};
use crate::benchmark::prompts;
use crate::failure::{Stopped, Usage};
use crate::interrupt::Cancellation;
use crate::output::{self, note};
use crate::progress::Spinner;
use crate::session::Session;

/// Evaluations of a run.
const N_EVALUATIONS: u64 = 10;
/// The state of training is written at least so often.
const SAVE_EVERY: Duration = Duration::from_secs(300);

pub(crate) fn run(global: &GlobalArgs, arguments: &DistillArgs) -> anyhow::Result<()> {
    let mut config = global.config(&AnswerArgs::measured(None))?;
    // What is collected is nobody's conversation, and who drafts meanwhile shall not learn beside.
    config.speculation.is_history_off = true;
    config.overrides.is_training_enabled = Some(false);
    config.overrides.strategy = None;
    let prompts = match &arguments.prompts {
        Some(path) => prompts::read(path)?,
        None => Vec::new(),
    };
    let has_prompts = !prompts.is_empty() || arguments.self_prompted.is_some();
    if arguments.is_collecting_only && !has_prompts {
        bail!(Usage("there is nothing to collect; give --prompts or --self-prompted".into()));
    }
    let folder = DistillFolder::open(&arguments.out)?;
    let mut session = Session::open(config)?;
    if has_prompts {
        collect(&mut session, &folder, arguments, prompts)?;
    }
    if arguments.is_collecting_only {
        return Ok(());
    }
    train(session, &folder, arguments)
}

fn collect(
    session: &mut Session,
    folder: &DistillFolder,
    arguments: &DistillArgs,
    prompts: Vec<prompts::Prompt>,
) -> anyhow::Result<()> {
    let cancellation = Cancellation::new();
    let mut collector = Collector::new(&mut session.orchestrator, folder)?;
    let mut goes_on = || cancellation.signal().is_none();
    let n_self = arguments.self_prompted.unwrap_or(0);
    let n_all = prompts.len() + n_self;
    let mut is_whole = true;
    for (i, prompt) in (1..).zip(prompts) {
        let _spinner = Spinner::new(format!("answer {i} of {n_all}"));
        is_whole = is_whole
            && goes_on()
            && collector.prompt(&prompt.into_distill(), arguments.max_tokens, &mut goes_on)?;
    }
    for number in 0..n_self {
        let _spinner = Spinner::new(format!("answer {} of {n_all}", n_all - n_self + number + 1));
        is_whole = is_whole
            && goes_on()
            && collector.self_prompt(number, arguments.seed, arguments.max_tokens, &mut goes_on)?;
    }
    let statistics = collector.statistics();
    note(&format!(
        "{} answers collected, {} dropped, {} there before: {} tokens in {:.1} s, {:.1} tokens/s, {}",
        statistics.n_kept,
        statistics.n_dropped,
        statistics.n_there,
        statistics.n_tokens,
        statistics.collect_s,
        statistics.n_tokens as f64 / statistics.collect_s.max(1e-9),
        DecimalBytes(statistics.n_bytes),
    ));
    match cancellation.signal() {
        Some(signal) => Err(Stopped(signal).into()),
        None => Ok(()),
    }
}

fn train(mut session: Session, folder: &DistillFolder, arguments: &DistillArgs) -> anyhow::Result<()> {
    let settings = DistillSettings {
        is_from_scratch: arguments.is_from_scratch,
        n_steps: arguments.steps.map(|n| n as u64),
        n_passes: arguments.passes as f64,
        draft_len: arguments.draft_len,
        seed: arguments.seed,
    };
    let mut distiller = HeadDistiller::open(&mut session.orchestrator, folder, &settings)?;
    // Weights stay, shared; the cache and the drafters are needed no more.
    drop(session);
    let summary = distiller.summary().clone();
    note(&format!(
        "{}: {:.1} M numbers, {} tokens of its own; {} answers to learn from with {} places, {} held out; steps {} to {}",
        if summary.is_of_head { "the head that there is" } else { "a new head" },
        summary.n_parameters as f64 / 1e6,
        summary.n_core_tokens,
        summary.n_samples,
        summary.n_rows,
        summary.n_held_out,
        summary.n_done,
        summary.n_steps,
    ));
    let cancellation = Cancellation::new();
    let every = summary.n_steps.div_ceil(N_EVALUATIONS);
    let mut saved = Instant::now();
    let mut losses = Vec::new();
    if summary.n_done == 0 {
        evaluate(&mut distiller, summary.n_done, &losses)?;
    }
    while !distiller.is_done() {
        let step = {
            let _spinner = Spinner::new("training".to_owned());
            distiller.step()?
        };
        losses.push(step.loss);
        let is_evaluated = step.step.is_multiple_of(every) || distiller.is_done();
        if is_evaluated {
            evaluate(&mut distiller, step.step, &losses)?;
            losses.clear();
        }
        let signal = cancellation.signal();
        if is_evaluated || signal.is_some() || saved.elapsed() > SAVE_EVERY {
            distiller.save()?;
            saved = Instant::now();
        }
        if let Some(signal) = signal {
            note(&format!("stopped after step {}; the same command goes on from there", step.step));
            return Err(Stopped(signal).into());
        }
    }
    let text = format!(
        "{} brings {:.2} tokens a pass with drafts of {}; {:.0} places learnt from a second; try it with --head {}\n",
        folder.head().display(),
        distiller.best().unwrap_or(0.0),
        arguments.draft_len,
        distiller.rows_per_second(),
        folder.head().display(),
    );
    Ok(output::print(&text)?)
}

/// Says how well held-out answers are guessed, and the mean loss of the steps since.
fn evaluate(distiller: &mut HeadDistiller, step: u64, losses: &[f32]) -> anyhow::Result<()> {
    let evaluation = {
        let _spinner = Spinner::new("evaluating".to_owned());
        distiller.evaluate()?
    };
    let n_steps = distiller.summary().n_steps;
    let mut line = format!("step {step:>5} of {n_steps}");
    if !losses.is_empty() {
        line += &format!(", loss {:.3}", losses.iter().sum::<f32>() / losses.len() as f32);
    }
    line += &format!(
        "; held out: loss {:.3}, τ {:.3} ({} places)",
        evaluation.loss, evaluation.mean_accepted_length, evaluation.n_rows
    );
    if distiller.rows_per_second() > 0.0 {
        line += &format!("; {:.0} places a second", distiller.rows_per_second());
    }
    note(&line);
    Ok(())
}
