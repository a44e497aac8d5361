//! Whether both say the same: greedy answers, and the distribution of every next token.

use super::prompts::PROMPTS;
use super::server::Server;
use super::{Bench, Model, exact, llama_cpp};
use crate::workspace;
use anyhow::Context;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const MAX_TOKENS: usize = 48;
/// Eight chunks of 512 tokens, of each of which the second half is compared: 2,040 tokens.
const CHUNKS: &str = "8";
const CHUNK_TOKENS: &str = "512";
/// Bytes of prose and of source to take those tokens from; they take some 16,000.
const TEXT_BYTES: [(&str, usize); 2] = [("md", 8_000), ("rs", 16_000)];

/// What the comparison found.
pub(super) struct Compared {
    pub(super) answers: Vec<Answers>,
    /// Ours to llama.cpp, in nats.
    pub(super) mean_kl: f64,
    /// llama.cpp's own, between its two ways to compute attention: how far apart rounding alone takes
    /// two engines that are both right.
    pub(super) their_mean_kl: f64,
    /// Ours to llama.cpp with the same weights as 32-bit numbers, for which it rounds nothing.
    pub(super) mean_kl_to_exact: f64,
    /// llama.cpp's to the same.
    pub(super) their_mean_kl_to_exact: f64,
    /// All that the comparison of distributions says.
    kl: String,
}

/// Both answers to a prompt.
pub(super) struct Answers {
    prompt: &'static str,
    ours: String,
    theirs: String,
    /// The first token that differs, counted from 0; nothing if none does.
    first_difference: Option<usize>,
}

impl Compared {
    pub(super) fn n_equal(&self) -> usize {
        self.answers.iter().filter(|answers| answers.first_difference.is_none()).count()
    }

    pub(super) fn json(&self) -> Value {
        let answers = self.answers.iter().map(|answers| {
            json!({
                "prompt": answers.prompt,
                "ours": answers.ours,
                "llama_cpp": answers.theirs,
                "first_different_token": answers.first_difference,
            })
        });
        json!({
            "n_equal": self.n_equal(),
            "answers": answers.collect::<Vec<_>>(),
            "mean_kl": self.mean_kl,
            "llama_cpp_mean_kl_without_flash_attention": self.their_mean_kl,
            "mean_kl_to_exact": self.mean_kl_to_exact,
            "llama_cpp_mean_kl_to_exact": self.their_mean_kl_to_exact,
            "kl": self.kl,
        })
    }
}

/// Compares a model's answers and distributions.
///
/// # Errors
/// If a program fails or prints what is not expected.
pub(super) fn run(bench: &Bench, model: &Model) -> anyhow::Result<Compared> {
    let answers = greedy(bench, model)?;
    let between = kl_divergence(bench, model)?;
    let to_exact = kl_to_exact(bench, model)?;
    println!("{}\nto exact: {}", between.ours, to_exact.ours);
    Ok(Compared {
        answers,
        mean_kl: mean_of_ours(&between.ours)?,
        their_mean_kl: mean_of_theirs(&between.theirs)?,
        mean_kl_to_exact: mean_of_ours(&to_exact.ours)?,
        their_mean_kl_to_exact: mean_of_theirs(&to_exact.theirs)?,
        kl: between.ours,
    })
}

fn greedy(bench: &Bench, model: &Model) -> anyhow::Result<Vec<Answers>> {
    let server = Server::start(bench, model)?;
    let mut all = Vec::new();
    for (number, prompt) in (1..).zip(PROMPTS) {
        let theirs = server.complete(&server.apply_template(prompt)?, MAX_TOKENS)?;
        let mut command = bench.ours.command("generate");
        command.arg("--model").arg(&model.path).args(["--threads", &bench.n_threads.to_string()]);
        command.args(["--no-speculation", "-t", "0", "-m", &MAX_TOKENS.to_string(), "--", prompt]);
        let ours = bench.commands.run(&mut command)?.stdout;
        // Our command ends the last line.
        let [ours, theirs] = [ours, theirs].map(|text| text.trim_end_matches('\n').to_owned());
        let first_difference = match ours == theirs {
            true => None,
            false => Some(first_difference(&server.tokenize(&ours)?, &server.tokenize(&theirs)?)),
        };
        match first_difference {
            None => println!("prompt {number:2}: same"),
            Some(at) => {
                println!("prompt {number:2}: token {at} differs\n  ours   {ours:?}\n  theirs {theirs:?}")
            }
        }
        all.push(Answers { prompt, ours, theirs, first_difference });
    }
    Ok(all)
}

/// Where two lists begin to differ.
fn first_difference(a: &[u64], b: &[u64]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// What both programs print of their distance to a base.
struct Divergence {
    ours: String,
    theirs: String,
}

/// Our distance to llama.cpp, and its own to itself without flash attention.
fn kl_divergence(bench: &Bench, model: &Model) -> anyhow::Result<Divergence> {
    let base = base(bench, &model.path, &[])?;
    divergence(bench, model, &base, &["-fa", "off"])
}

/// Both distances to llama.cpp with the weights as 32-bit numbers: neither they, activations nor the cache are rounded.
fn kl_to_exact(bench: &Bench, model: &Model) -> anyhow::Result<Divergence> {
    let exact = Removed(llama_cpp::peers_folder()?.join(format!("exact-{}.tmp", std::process::id())));
    exact::write_as_f32(&model.path, &exact.0)?;
    let base = base(bench, &exact.0, &["-fa", "off", "-ctk", "f32", "-ctv", "f32"])?;
    drop(exact);
    divergence(bench, model, &base, &[])
}

/// llama.cpp's distributions of `model` on the text.
fn base(bench: &Bench, model: &Path, options: &[&str]) -> anyhow::Result<Removed> {
    let folder = llama_cpp::peers_folder()?;
    let text = folder.join("kl-text.txt");
    std::fs::write(&text, repository_text()?).with_context(|| format!("writing {}", text.display()))?;
    let base = Removed(folder.join(format!("kl-base-{}.tmp", std::process::id())));
    let mut command = perplexity(bench, model);
    bench
        .commands
        .run(command.args(options).arg("-f").arg(&text).arg("--kl-divergence-base").arg(&base.0))?;
    Ok(base)
}

fn divergence(bench: &Bench, model: &Model, base: &Removed, options: &[&str]) -> anyhow::Result<Divergence> {
    let mut command = perplexity(bench, &model.path);
    command.args(options).args(["--kl-divergence", "--kl-divergence-base"]).arg(&base.0);
    let theirs = bench.commands.run(&mut command)?.stdout;
    let mut command = bench.ours.kl_divergence();
    let ours = bench.commands.run(command.arg(&model.path).arg(&base.0))?.stdout;
    Ok(Divergence { ours: ours.trim().to_owned(), theirs })
}

fn perplexity(bench: &Bench, model: &Path) -> Command {
    let mut command = bench.theirs.command("llama-perplexity");
    command.arg("-m").arg(model).args(["-t", &bench.n_threads.to_string()]);
    command.args(["-c", CHUNK_TOKENS, "--chunks", CHUNKS]);
    command
}

/// From `2040 tokens: mean KL 1.37e-3, median …`.
fn mean_of_ours(printed: &str) -> anyhow::Result<f64> {
    let mean = printed.split_once("mean KL ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    mean.with_context(|| format!("no mean KL in '{printed}'"))
}

/// From `Mean    KLD:   0.004372 ±   0.000101`.
fn mean_of_theirs(printed: &str) -> anyhow::Result<f64> {
    let is_mean = |line: &&str| line.starts_with("Mean") && line.contains("KLD:");
    let value = |line: &str| line.split_once(':')?.1.split_whitespace().next()?.parse().ok();
    printed.lines().find(is_mean).and_then(value).context("llama-perplexity gives no mean KLD")
}

/// A file that goes with this value: half a gigabyte, for a large vocabulary.
struct Removed(std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It is not there if the command that writes it failed.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The beginning of the repository's documents and of its source.
fn repository_text() -> anyhow::Result<String> {
    let files = workspace::files()?;
    let mut all = String::new();
    for (extension, n_bytes) in TEXT_BYTES {
        let mut part = String::new();
        for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == extension)) {
            if part.len() >= n_bytes {
                break;
            }
            part += &read(file)?;
        }
        let end = (0..=n_bytes.min(part.len())).rev().find(|&end| part.is_char_boundary(end));
        part.truncate(end.unwrap_or(0));
        all += &part;
    }
    Ok(all)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let path = workspace::root().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_difference() {
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2, 4]), 2);
        assert_eq!(first_difference(&[1, 2], &[1, 2, 4]), 2);
    }

    #[test]
    fn reads_llama_cpp_s_mean() {
        let printed = "chunk  KL Divergence\nMean PPL(Q) : 12.3\nMean    KLD:   0.004372 ±   0.000101\n";
        assert_eq!(mean_of_theirs(printed).unwrap(), 0.004372);
        assert!(mean_of_theirs("Median  KLD:   0.003414").is_err());
    }

    #[test]
    fn the_repository_has_text_enough() {
        let text = repository_text().unwrap();
        assert!(text.len() >= 20_000, "{} bytes", text.len());
    }
}
