//! `cargo xtask identity`: whether greedy answers are the same with speculation and without, in every way of drafting.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use serde_json::Value;

use crate::ours::{Model, Ours};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Model: a name that `nano-reasoning models` lists, or a .gguf file
    #[arg(long, default_value = "smollm2-135m")]
    model: String,
    /// Draft model of --drafters model
    #[arg(long, default_value = "smollm2-135m")]
    draft_model: String,
    /// Prompts: lines of JSON with id, task and turns
    #[arg(long, value_name = "FILE", default_value = "crates/cli/src/benchmark/prompts.jsonl")]
    prompts: PathBuf,
    /// Values of --drafter
    #[arg(long, value_delimiter = ',', default_value = "ngram,model,head,auto")]
    drafters: Vec<String>,
    /// Alternatives a draft may hold for one token; 1 makes chains
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    widths: Vec<usize>,
    /// Lengths of all drafts
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,3,4,5,6,7,8")]
    lengths: Vec<usize>,
    /// Longest answer in tokens
    #[arg(long, default_value_t = 24)]
    max_tokens: usize,
    /// Instruction set, of all this machine has
    #[arg(long)]
    isa: Option<String>,
}

/// # Errors
/// If an answer differs, or a run fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let ours = Ours::build(false)?;
    let [model, draft_model] = [&options.model, &options.draft_model].map(|name| ours.model(name));
    let (model, draft_model) = (model?, draft_model?);
    let (mut n_settings, mut different) = (0, Vec::new());
    for drafter in &options.drafters {
        for &width in &options.widths {
            for &length in &options.lengths {
                let report =
                    ours.json(&mut command(options, &ours, &model, &draft_model, drafter, width, length))?;
                n_settings += 1;
                let setting = format!("{drafter}, width {width}, length {length}");
                println!("{setting}: {}", described(&report));
                if report["identical_output"] != true {
                    different.push(setting);
                }
            }
        }
    }
    if !different.is_empty() {
        bail!("answers differ in {} of {n_settings} settings: {}", different.len(), different.join("; "));
    }
    println!("the same answers in all {n_settings} settings");
    Ok(())
}

fn command(
    options: &Options,
    ours: &Ours,
    model: &Model,
    draft_model: &Model,
    drafter: &str,
    width: usize,
    length: usize,
) -> Command {
    let mut command = ours.command("benchmark");
    command
        .args(["--compare", "--json", "--fixed-draft", "--drafter", drafter])
        .arg("--model")
        .arg(&model.path);
    command.arg("--prompts").arg(&options.prompts).arg(format!("--tree={width}"));
    command.args(["--draft-count", &length.to_string(), "--max-tokens", &options.max_tokens.to_string()]);
    if drafter == "model" {
        command.arg("--drafter-model").arg(&draft_model.path);
    }
    if let Some(isa) = &options.isa {
        command.args(["--isa", isa]);
    }
    command
}

fn described(report: &Value) -> String {
    let speculative = &report["speculative"];
    let word = if report["identical_output"] == true { "the same" } else { "DIFFERENT" };
    format!(
        "{word}, {} answers, {} tokens, τ {:.2}",
        report["n_answers"],
        speculative["n_tokens"],
        speculative["mean_accepted_length"].as_f64().unwrap_or(f64::NAN)
    )
}
