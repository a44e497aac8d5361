//! Prompts answered, with and without speculation in turns: decode speed for each task and overall.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, bail};
use nano_reasoning::{Answer, DistillPrompt, GenerationConfig, Message, SpeculationStatistics};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Report;
use crate::arguments::BenchmarkArgs;
use crate::progress::Spinner;
use crate::session::Session;

pub(super) const MAX_TOKENS: usize = 256;

/// A line of the file; other keys are allowed and not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Prompt {
    id: Value,
    task: String,
    /// What the user says, one message after the other.
    turns: Vec<String>,
}

/// Sums over answers given in one way.
#[derive(Default, Clone)]
pub(super) struct Sums {
    pub(super) n_answers: usize,
    pub(super) n_tokens: usize,
    decode_s: f64,
    n_prefill_tokens: usize,
    prefill_s: f64,
    speculation: SpeculationStatistics,
}

/// Answers without speculation, with it, and whether they were the same.
#[derive(Default, Clone)]
struct Both {
    standard: Sums,
    speculative: Sums,
    n_different: usize,
}

impl Prompt {
    pub(super) fn task(&self) -> &str {
        &self.task
    }

    /// As one to learn from.
    pub(crate) fn into_distill(self) -> DistillPrompt {
        let id = self.id.as_str().map_or_else(|| self.id.to_string(), str::to_owned);
        DistillPrompt { id, task: self.task, turns: self.turns }
    }
}

/// The prompts of a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Prompt>> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    parse(&text, path)
}

/// A few prompts of several kinds, for when no file is given.
pub(super) fn own() -> Vec<Prompt> {
    parse(include_str!("prompts.jsonl"), Path::new("prompts.jsonl")).expect("the own prompts are sound")
}

pub(super) fn run(
    config: GenerationConfig,
    arguments: &BenchmarkArgs,
    prompts: Vec<Prompt>,
) -> anyhow::Result<Report> {
    let mut session = Session::open(config)?;
    let max_tokens = arguments.max_tokens.unwrap_or(MAX_TOKENS);
    let n_rounds = arguments.iterations.unwrap_or(1);
    let mut tasks: BTreeMap<String, Both> = BTreeMap::new();
    for round in 1..=n_rounds {
        for (i, prompt) in (1..).zip(&prompts) {
            let what =
                format!("round {round} of {n_rounds}, prompt {i} of {}: {}", prompts.len(), prompt.task);
            let _spinner = Spinner::new(what);
            let both = tasks.entry(prompt.task.clone()).or_default();
            // In turns, and the first turn in turns, so that neither gets the machine's better moments.
            let plain_first = (i + round) % 2 == 0;
            let mut texts = [None, None];
            for is_plain in if plain_first { [true, false] } else { [false, true] } {
                if is_plain || arguments.compares {
                    let sums = if is_plain { &mut both.standard } else { &mut both.speculative };
                    let answers =
                        answer(&mut session, prompt, max_tokens, is_plain && arguments.compares, sums)?;
                    texts[usize::from(is_plain)] = Some(answers);
                }
            }
            both.n_different += usize::from(arguments.compares && texts[0] != texts[1]);
        }
    }
    let mut all = Both::default();
    tasks.values().for_each(|both| all.add(both));

    let info = &session.orchestrator.engine().expect("it is initialized").info;
    let mut table = format!("{}, {}, {} threads\n", info.model, info.device, info.n_threads);
    let width = tasks.keys().map(|task| task.len()).max().unwrap_or(0).max("overall".len());
    for (task, both) in tasks.iter().map(|(task, both)| (&**task, both)).chain([("overall", &all)]) {
        table += &both.line(task, width, arguments.compares);
    }
    let by_task: BTreeMap<&str, Value> =
        tasks.iter().map(|(task, both)| (&**task, both.json(arguments.compares))).collect();
    let mut json = all.json(arguments.compares);
    let common = json!({
        "model": info.model,
        "device": info.device,
        "n_threads": info.n_threads,
        "iterations": n_rounds,
        "n_prompts": prompts.len(),
        "max_tokens": max_tokens,
        "temperature": arguments.temperature.unwrap_or(0.0),
        "tasks": by_task,
    });
    if let (Value::Object(json), Value::Object(common)) = (&mut json, common) {
        json.extend(common);
    }
    Ok(Report { table, json })
}

/// Answers all turns of a prompt in a new conversation; their tokens.
pub(super) fn answer(
    session: &mut Session,
    prompt: &Prompt,
    max_tokens: usize,
    is_plain: bool,
    sums: &mut Sums,
) -> anyhow::Result<Vec<Vec<u32>>> {
    session.orchestrator.set_speculating(!is_plain);
    session.orchestrator.engine().expect("it is initialized").reset()?;
    let (mut messages, mut answers) = (Vec::new(), Vec::new());
    for turn in &prompt.turns {
        messages.push(Message::user(turn));
        let answer = session.orchestrator.chat(&messages, max_tokens, |_| true);
        let answer = answer.map_err(|error| anyhow!("prompt {}: {error}", prompt.id))?;
        sums.add(&Sums::of(&answer));
        messages.push(Message::assistant(answer.text));
        answers.push(answer.tokens);
    }
    session.orchestrator.set_speculating(true);
    Ok(answers)
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
    fn of(answer: &Answer) -> Self {
        Self {
            n_answers: 1,
            n_tokens: answer.tokens.len(),
            decode_s: answer.decode_s,
            n_prefill_tokens: answer.n_prompt_tokens - answer.n_cached_tokens,
            prefill_s: answer.prefill_s,
            speculation: answer.speculation.clone(),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.n_answers += other.n_answers;
        self.n_tokens += other.n_tokens;
        self.decode_s += other.decode_s;
        self.n_prefill_tokens += other.n_prefill_tokens;
        self.prefill_s += other.prefill_s;
        self.speculation.merge(&other.speculation);
    }

    /// An answer of `n_tokens` at 10 tokens a second.
    #[cfg(test)]
    pub(super) fn made_up(n_tokens: u64, n_drafted: u64, n_accepted: u64) -> Self {
        let (n_emitted, decode_s) = (n_tokens, n_tokens as f64 / 10.0);
        let speculation = SpeculationStatistics { n_emitted, n_drafted, n_accepted, ..Default::default() };
        Self { n_tokens: n_tokens as usize, decode_s, speculation, ..Self::default() }
    }

    pub(super) fn tokens_per_second(&self) -> f64 {
        rate(self.speculation.n_emitted as f64, self.decode_s)
    }

    pub(super) fn acceptance_rate(&self) -> Option<f64> {
        self.speculation.acceptance_rate()
    }

    pub(super) fn mean_accepted_length(&self) -> f64 {
        self.speculation.mean_accepted_length().unwrap_or(0.0)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "tokens_per_second": self.tokens_per_second(),
            "prefill_tokens_per_second": rate(self.n_prefill_tokens as f64, self.prefill_s),
            "n_tokens": self.n_tokens,
            "decode_s": self.decode_s,
            "acceptance_rate": self.acceptance_rate(),
            "mean_accepted_length": self.mean_accepted_length(),
        })
    }

    /// [`Self::json`], and who drafted what, how much of it was taken, and where the time went.
    fn drafted_json(&self) -> Value {
        let speculation = &self.speculation;
        let positions =
            speculation.positions.iter().map(|position| ratio(position.n_accepted, position.n_drafted));
        let drafters = speculation.drafters.iter().map(|drafter| {
            json!({
                "name": drafter.name,
                "n_drafts": drafter.n_drafts,
                "n_proposed": drafter.n_proposed,
                "n_accepted": drafter.n_accepted,
                "acceptance_rate": ratio(drafter.n_accepted, drafter.n_proposed),
                "share_of_accepted": ratio(drafter.n_accepted, speculation.n_accepted),
                "draft_s": drafter.draft_s,
            })
        });
        let share = |seconds: f64| rate(seconds, speculation.total_s());
        let mut json = self.json();
        json["n_drafts"] = speculation.positions.first().map_or(0, |first| first.n_drafted).into();
        json["n_draft_tokens"] = speculation.n_drafted.into();
        json["n_accepted_tokens"] = speculation.n_accepted.into();
        json["acceptance_rate_per_position"] = positions.collect();
        json["drafters"] = drafters.collect();
        json["time_share"] = json!({
            "draft": share(speculation.draft_s),
            "verify": share(speculation.verify_s),
            "sample": share(speculation.sample_s),
            "other": share(speculation.other_s),
        });
        json
    }
}

impl Both {
    fn add(&mut self, other: &Self) {
        self.standard.add(&other.standard);
        self.speculative.add(&other.speculative);
        self.n_different += other.n_different;
    }

    fn speedup(&self) -> f64 {
        rate(self.speculative.tokens_per_second(), self.standard.tokens_per_second())
    }

    fn line(&self, task: &str, width: usize, compares: bool) -> String {
        let Sums { n_tokens, n_answers, .. } = self.standard;
        let mut line = format!("{task:width$} {:7.1} tokens/s", self.standard.tokens_per_second());
        if compares {
            let speculative = &self.speculative;
            let tau = speculative.mean_accepted_length();
            let accepted = 100.0 * speculative.acceptance_rate().unwrap_or(0.0);
            line += &format!(
                ", {:7.1} with speculation: {:5.2} ×, τ {tau:4.2}, accepted {accepted:3.0} %, {}",
                speculative.tokens_per_second(),
                self.speedup(),
                if self.n_different == 0 { "same text" } else { "DIFFERENT TEXT" },
            );
        }
        line + &format!("   ({n_tokens} tokens in {n_answers} answers)\n")
    }

    fn json(&self, compares: bool) -> Value {
        let mut json = json!({
            "standard": self.standard.json(),
            "speculative": null,
            "n_answers": self.standard.n_answers,
        });
        if compares {
            json["speculative"] = self.speculative.drafted_json();
            json["speedup"] = self.speedup().into();
            json["identical_output"] = (self.n_different == 0).into();
        }
        json
    }
}

/// A part of all; `None` of nothing.
fn ratio(n: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| n as f64 / of as f64)
}

pub(super) fn rate(n: f64, per: f64) -> f64 {
    if per > 0.0 { n / per } else { 0.0 }
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
