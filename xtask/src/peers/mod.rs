//! `cargo xtask peers`: llama.cpp and this project beside each other, on one machine and one GGUF file.
//!
//! Both run as whole processes, in turns, with the same number of threads. Each figure is the best of its
//! rounds, as other work on a machine can only make a run slower; the spread stands beside it.

mod commands;
mod correctness;
mod eagle3;
mod exact;
mod llama_cpp;
mod measure;
mod prompts;
mod report;
mod rows;
mod samples;
mod server;
mod speculation;

use crate::ours::{Model, Ours};
use anyhow::Context;
use commands::Commands;
use llama_cpp::LlamaCpp;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Models: names that `nano-reasoning models` lists, or .gguf files
    #[arg(long, value_delimiter = ',', default_value = "qwen2.5-coder-1.5b,qwen2.5-coder-0.5b,smollm2-135m")]
    models: Vec<String>,
    /// How often each side is timed; 0 for no timing
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of either side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Tokens in the cache when long context is measured, for the 1.5B model; 0 leaves that out
    #[arg(long, default_value_t = 8000)]
    long_context: usize,
    /// Compare answers and distributions, too
    #[arg(long)]
    correctness: bool,
    #[command(flatten)]
    speculation: speculation::SpeculationOptions,
    /// Write everything measured, round by round, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// What the parts need.
struct Bench {
    ours: Ours,
    theirs: LlamaCpp,
    commands: Commands,
    n_threads: usize,
    n_rounds: usize,
    long_context: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let bench = Bench {
        theirs: LlamaCpp::ready()?,
        ours: Ours::build(options.correctness)?,
        commands: Commands::default(),
        n_threads: options.threads.max(1),
        n_rounds: options.rounds,
        long_context: options.long_context,
    };
    let models = options.models.iter().map(|name| bench.ours.model(name));
    let models = models.collect::<anyhow::Result<Vec<Model>>>()?;
    let machine = report::Machine::look(&bench)?;
    if machine.load_average.is_some_and(|load| load > 0.5) {
        println!("note: other work runs on this machine; figures will be too low, and not alike");
    }
    let mut rows = Vec::new();
    let mut details = Vec::new();
    let mut speculation_tables = String::new();
    for model in &models {
        println!("--- {}", model.name);
        let mut detail = json!({ "model": model.name });
        if options.speculation.is_wanted {
            let compared = speculation::run(&bench, model, &options.speculation)?;
            println!("{}", compared.markdown());
            speculation_tables += &format!("\n## {}\n\n{}", model.name, compared.markdown());
            detail["speculation"] = compared.json();
            details.push(detail);
            continue;
        }
        if bench.n_rounds > 0 {
            let measured = measure::run(&bench, model)?;
            rows.extend(rows::of_speed(model, &measured));
            detail["speed"] = measured.json();
        }
        if options.correctness {
            let compared = correctness::run(&bench, model)?;
            rows.extend(rows::of_correctness(model, &compared));
            detail["correctness"] = compared.json();
        }
        details.push(detail);
    }
    let table = report::markdown(&machine, &bench, &rows) + &speculation_tables;
    println!("---\n{table}");
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    if let Some(path) = &options.json {
        let json = report::json(&machine, &bench, &rows, details);
        write(path, serde_json::to_string_pretty(&json)? + "\n")?;
    }
    if let Some(path) = &options.markdown {
        write(path, table)?;
    }
    Ok(())
}
