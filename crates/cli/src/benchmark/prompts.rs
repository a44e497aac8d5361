//! Prompts of a file, answered greedily: decode speed for each task and overall.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, bail};
use nano_reasoning::{Answer, GenerationConfig, Message};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Report;
use crate::arguments::BenchmarkArgs;
use crate::progress::Spinner;
use crate::session::Session;

const MAX_TOKENS: usize = 256;

/// A line of the file; other keys are allowed and not read.
#[derive(Debug, Deserialize)]
struct Prompt {
    id: Value,
    task: String,
    /// What the user says, one message after the other.
    turns: Vec<String>,
}

/// Sums over answers.
#[derive(Default)]
struct Sums {
    n_answers: usize,
    n_tokens: usize,
    n_passes: usize,
    decode_s: f64,
    n_prefill_tokens: usize,
    prefill_s: f64,
}

pub(super) fn run(
    config: GenerationConfig,
    arguments: &BenchmarkArgs,
    path: &Path,
) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    let prompts = parse(&text, path)?;
    let mut session = Session::open(config)?;
    let max_tokens = arguments.max_tokens.unwrap_or(MAX_TOKENS);
    let n_rounds = arguments.iterations.unwrap_or(1);
    let mut all = Sums::default();
    let mut tasks: BTreeMap<&str, Sums> = BTreeMap::new();
    for round in 1..=n_rounds {
        for (i, prompt) in (1..).zip(&prompts) {
            let what =
                format!("round {round} of {n_rounds}, prompt {i} of {}: {}", prompts.len(), prompt.task);
            let _spinner = Spinner::new(what);
            session.orchestrator.engine().expect("it is initialized").reset()?;
            let mut messages = Vec::new();
            for turn in &prompt.turns {
                messages.push(Message::user(turn));
                let answer = session.orchestrator.chat(&messages, max_tokens, |_| true);
                let answer = answer.map_err(|error| anyhow!("prompt {}: {error}", prompt.id))?;
                all.add(&answer);
                tasks.entry(&prompt.task).or_default().add(&answer);
                messages.push(Message::assistant(answer.text));
            }
        }
    }

    let info = &session.orchestrator.engine().expect("it is initialized").info;
    let mut table = format!("{}, {}, {} threads\n", info.model, info.device, info.n_threads);
    let width = tasks.keys().map(|task| task.len()).max().unwrap_or(0).max("overall".len());
    for (task, sums) in tasks.iter().map(|(task, sums)| (*task, sums)).chain([("overall", &all)]) {
        let (n_tokens, n_answers) = (sums.n_tokens, sums.n_answers);
        let speed = sums.tokens_per_second();
        table +=
            &format!("{task:width$} {speed:7.1} tokens/s   ({n_tokens} tokens in {n_answers} answers)\n");
    }
    let by_task: BTreeMap<&str, Value> = tasks.iter().map(|(task, sums)| (*task, sums.json())).collect();
    let mut json = all.json();
    let common = json!({
        "model": info.model,
        "device": info.device,
        "n_threads": info.n_threads,
        "iterations": n_rounds,
        "n_prompts": prompts.len(),
        "max_tokens": max_tokens,
        "tasks": by_task,
    });
    if let (Value::Object(json), Value::Object(common)) = (&mut json, common) {
        json.extend(common);
    }
    Ok(Report { table, json })
}

fn parse(text: &str, path: &Path) -> anyhow::Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let prompt: Prompt = serde_json::from_str(line)
            .map_err(|error| anyhow!("{}:{number}: {error}; wanted id, task and turns", path.display()))?;
        if prompt.turns.is_empty() {
            bail!("{}:{number}: turns is empty", path.display());
        }
        prompts.push(prompt);
    }
    if prompts.is_empty() {
        bail!("{} has no prompts", path.display());
    }
    Ok(prompts)
}

impl Sums {
    fn add(&mut self, answer: &Answer) {
        self.n_answers += 1;
        self.n_tokens += answer.tokens.len();
        self.n_passes += answer.n_decode_passes;
        self.decode_s += answer.decode_s;
        self.n_prefill_tokens += answer.n_prompt_tokens - answer.n_cached_tokens;
        self.prefill_s += answer.prefill_s;
    }

    fn tokens_per_second(&self) -> f64 {
        if self.decode_s > 0.0 { self.n_passes as f64 / self.decode_s } else { 0.0 }
    }

    fn json(&self) -> Value {
        let prefill = if self.prefill_s > 0.0 { self.n_prefill_tokens as f64 / self.prefill_s } else { 0.0 };
        json!({
            "standard": {
                "tokens_per_second": self.tokens_per_second(),
                "prefill_tokens_per_second": prefill,
                "n_tokens": self.n_tokens,
                "decode_s": self.decode_s,
            },
            "speculative": null,
            "n_answers": self.n_answers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let parse = |text: &str| parse(text, Path::new("p.jsonl")).map_err(|error| error.to_string());
        let good = "{\"id\":1,\"task\":\"code\",\"turns\":[\"a\",\"b\"],\"more\":0}\n\n";
        let prompts = parse(good).unwrap();
        assert_eq!((prompts.len(), prompts[0].turns.len()), (1, 2));
        let error = parse(&format!("{good}{{\"id\":2}}")).unwrap_err();
        assert!(error.starts_with("p.jsonl:3: missing field `task`"), "{error}");
        assert_eq!(parse("\n").unwrap_err(), "p.jsonl has no prompts");
    }
}
