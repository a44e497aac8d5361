//! A chore in named steps, each timed, each skippable.

use anyhow::{Context, bail};
use clap::ValueEnum;
use std::process::Command;
use std::time::Instant;

/// Runs the steps in order, the later ones also after a failure.
///
/// # Errors
/// If a step failed; the message names them all.
pub(crate) fn run_all<S: ValueEnum + PartialEq>(
    skip: &[S],
    run: impl Fn(&S) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for step in S::value_variants() {
        let name = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        if skip.contains(step) {
            lines.push(format!("{name:14} skipped"));
            continue;
        }
        println!("--- {name}");
        let start = Instant::now();
        let result = run(step);
        let seconds = start.elapsed().as_secs_f64();
        let word = if result.is_ok() { "ok" } else { "failed" };
        lines.push(format!("{name:14} {seconds:7.1} s  {word}"));
        if let Err(error) = result {
            println!("{name}: {error:#}");
            failed.push(name);
        }
    }
    println!("---\n{}", lines.join("\n"));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs a command whose output is for the reader.
///
/// # Errors
/// If it does not start or does not succeed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// Runs a command and returns what it prints.
///
/// # Errors
/// If it does not start, does not succeed or does not print UTF-8.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", words(command), output.status, stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what {command:?} prints"))
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
