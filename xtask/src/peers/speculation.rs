//! Speculation of both sides on the same prompts: tokens a second, by task.

use super::measure::{json_of, number};
use super::server::Server;
use super::{Bench, Model, eagle3, llama_cpp};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is compared beside the model itself.
#[derive(clap::Args)]
pub(super) struct SpeculationOptions {
    /// Compare speculation instead: tokens a second of each side's kinds on prompts
    #[arg(long = "speculation")]
    pub(super) is_wanted: bool,
    /// Prompts: lines of JSON with id, task and turns
    #[arg(long, value_name = "FILE", default_value = "crates/cli/src/benchmark/prompts.jsonl")]
    prompts: PathBuf,
    /// At most so many prompts of each task; 0 for all
    #[arg(long, default_value_t = 0)]
    per_task: usize,
    /// Longest answer in tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Temperature of both sides
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// llama.cpp's draft model
    #[arg(long, default_value = "qwen2.5-coder-0.5b")]
    draft_model: String,
    /// EAGLE-3 head of both sides
    #[arg(long, value_name = "FILE", default_value = "assets/heads/qwen2.5-coder-1.5b.eagle3.gguf")]
    head: PathBuf,
    /// Kinds of llama.cpp's speculation
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "none,draft-simple,ngram-simple,ngram-mod,draft-eagle3"
    )]
    kinds: Vec<String>,
    /// Ways of our own: values of --drafter
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    drafters: Vec<String>,
    /// Let drafts on both sides always be chains of so many tokens, a head's over the
    /// file's whole list and nothing else, to compare acceptance
    #[arg(long, value_name = "N")]
    fixed_draft: Option<usize>,
}

/// What one way did on one task in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    tokens: f64,
    seconds: f64,
    drafted: f64,
    accepted: f64,
}

/// A way's sums: by task, one for each round.
type Speeds = BTreeMap<String, Vec<Sums>>;

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.seconds += other.seconds;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
    }
}

impl Sums {
    fn of<'a>(rounds: impl IntoIterator<Item = &'a Self>) -> Self {
        rounds.into_iter().fold(Self::default(), |mut sum, round| {
            sum += *round;
            sum
        })
    }

    fn speed(self) -> f64 {
        self.tokens / self.seconds
    }
}

/// All ways of a model, each with its speeds, ours first.
pub(super) struct Compared {
    ways: Vec<(String, Speeds)>,
    is_identical: bool,
}

/// Measures all ways in turns.
///
/// # Errors
/// If a program fails or prints what is not expected.
pub(super) fn run(bench: &Bench, model: &Model, options: &SpeculationOptions) -> anyhow::Result<Compared> {
    let prompts = read(&options.prompts, options.per_task)?;
    let draft_model = bench.ours.model(&options.draft_model)?;
    let file = std::env::temp_dir().join(format!("nano-reasoning-peers-{}.jsonl", std::process::id()));
    std::fs::write(&file, prompts.iter().map(|prompt| format!("{prompt}\n")).collect::<String>())?;
    let mut ways: BTreeMap<(usize, String), Speeds> = BTreeMap::new();
    let mut is_identical = true;
    for round in 1..=bench.n_rounds.max(1) {
        for (i, drafter) in options.drafters.iter().enumerate() {
            println!("round {round}: ours, {drafter}");
            let report = ours(bench, model, &draft_model, options, drafter, &file)?;
            for (task, both) in report["tasks"].as_object().into_iter().flatten() {
                for (i, way, side) in
                    [(0, "plain".to_owned(), "standard"), (i + 1, drafter.clone(), "speculative")]
                {
                    let tokens = number(both, &format!("/{side}/n_tokens"))?;
                    let seconds = tokens / number(both, &format!("/{side}/tokens_per_second"))?;
                    let mut sums = Sums { tokens, seconds, ..Sums::default() };
                    if i > 0 {
                        // Each verify brings a token of its own beside the accepted ones.
                        let tau = number(both, "/speculative/mean_accepted_length")?;
                        let rate = number(both, "/speculative/acceptance_rate")?;
                        sums.accepted = tokens * (1.0 - 1.0 / tau);
                        sums.drafted = if rate > 0.0 { sums.accepted / rate } else { 0.0 };
                    }
                    // Plain decoding is measured with each drafter.
                    let rounds = ways.entry((i, format!("ours, {way}"))).or_default();
                    add(rounds.entry(task.clone()).or_default(), round, sums);
                }
            }
            is_identical &= report["identical_output"] == true;
        }
        for (i, kind) in options.kinds.iter().enumerate() {
            println!("round {round}: llama.cpp, {kind}");
            let speeds = ways.entry((100 + i, format!("llama.cpp, {kind}"))).or_default();
            let round_sums = theirs(bench, model, &draft_model, options, kind, &prompts)?;
            for (task, sums) in round_sums {
                add(speeds.entry(task).or_default(), round, sums);
            }
        }
    }
    std::fs::remove_file(&file)?;
    let ways = ways.into_iter().map(|((_, way), speeds)| (way, speeds)).collect();
    Ok(Compared { ways, is_identical })
}

/// Adds to a task's sums of `round`, counted from 1.
fn add(rounds: &mut Vec<Sums>, round: usize, sums: Sums) {
    rounds.resize(round.max(rounds.len()), Sums::default());
    rounds[round - 1] += sums;
}

fn ours(
    bench: &Bench,
    model: &Model,
    draft_model: &Model,
    options: &SpeculationOptions,
    drafter: &str,
    file: &Path,
) -> anyhow::Result<Value> {
    let mut command = bench.ours.command("benchmark");
    command.arg("--model").arg(&model.path).args(["--threads", &bench.n_threads.to_string()]);
    // A model that is named by its path has no drafters of its own.
    match drafter {
        "model" => command.arg("--drafter-model").arg(&draft_model.path),
        "head" | "auto" => command.arg("--head").arg(&options.head),
        _ => &mut command,
    };
    command.args(["--compare", "--iterations", "1", "--drafter", drafter, "--json"]);
    if let Some(n) = options.fixed_draft {
        command.args(["--fixed-draft", "--tree=1", "--draft-count", &n.to_string()]);
        // As llama.cpp does: 1,000,000 is more than any list has.
        command.args(["--fixed-vocab", "--core-vocab", "1000000"]);
    }
    command.args([
        "-m",
        &options.max_tokens.to_string(),
        "-t",
        &options.temperature.to_string(),
        "--prompts",
    ]);
    json_of(bench, command.arg(file))
}

fn theirs(
    bench: &Bench,
    model: &Model,
    draft_model: &Model,
    options: &SpeculationOptions,
    kind: &str,
    prompts: &[Value],
) -> anyhow::Result<BTreeMap<String, Sums>> {
    let mut of_task: BTreeMap<String, Sums> = BTreeMap::new();
    let mut arguments = vec!["--spec-type".to_owned(), kind.to_owned()];
    if let Some(n) = options.fixed_draft.filter(|_| kind.starts_with("draft-")) {
        let limits = ["--spec-draft-n-max", &n.to_string(), "--spec-draft-p-min", "0"].map(str::to_owned);
        arguments.extend(limits);
    }
    if kind == "draft-simple" {
        let path = draft_model.path.to_string_lossy().into_owned();
        arguments.extend(["-md".to_owned(), path, "-td".to_owned(), bench.n_threads.to_string()]);
    }
    let mut as_llama = None;
    if kind == "draft-eagle3" {
        let folder = llama_cpp::peers_folder()?;
        let target = folder.join(format!("{}-as-llama.gguf", model.name));
        let head = folder.join(format!("{}-head.gguf", model.name));
        eagle3::write_as_llama(&model.path, &target)?;
        export_head(bench, model, &options.head, &head)?;
        arguments.extend(["-md".to_owned(), head.to_string_lossy().into_owned()]);
        arguments.extend(["-td".to_owned(), bench.n_threads.to_string()]);
        as_llama = Some(Model { name: model.name.clone(), path: target });
    }
    let server = Server::start_with(bench, as_llama.as_ref().unwrap_or(model), &arguments)?;
    for prompt in prompts {
        let task = prompt["task"].as_str().unwrap_or_default().to_owned();
        let mut messages = Vec::new();
        for turn in prompt["turns"].as_array().into_iter().flatten() {
            messages.push(json!({ "role": "user", "content": turn }));
            let request = json!({
                "messages": messages, "max_tokens": options.max_tokens, "temperature": options.temperature,
                "top_k": 40, "top_p": 0.9, "min_p": 0.0, "seed": 1,
            });
            let reply = server.post("/v1/chat/completions", &request)?;
            // Only a reply with a draft in it counts drafts.
            let count = |key: &str| reply["timings"][key].as_f64().unwrap_or(0.0);
            *of_task.entry(task.clone()).or_default() += Sums {
                tokens: number(&reply, "/timings/predicted_n")?,
                seconds: number(&reply, "/timings/predicted_ms")? / 1e3,
                drafted: count("draft_n"),
                accepted: count("draft_n_accepted"),
            };
            let text = reply.pointer("/choices/0/message/content").and_then(Value::as_str);
            messages.push(json!({ "role": "assistant", "content": text.context("an answer without text")? }));
        }
    }
    Ok(of_task)
}

/// Writes our head as a user would for llama.cpp.
fn export_head(bench: &Bench, model: &Model, head: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        std::fs::remove_file(to).with_context(|| format!("removing {}", to.display()))?;
    }
    let mut command = bench.ours.command("head");
    command.args(["export", "--to"]).arg(to).arg("--model").arg(&model.path).arg("--head").arg(head);
    bench.commands.run(&mut command).map(|_| ())
}

fn read(path: &Path, per_task: usize) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut n_of_task: BTreeMap<String, usize> = BTreeMap::new();
    let mut prompts = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let prompt: Value = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let n = n_of_task.entry(prompt["task"].to_string()).or_default();
        *n += 1;
        if per_task == 0 || *n <= per_task {
            prompts.push(prompt);
        }
    }
    if prompts.is_empty() {
        bail!("{} has no prompts", path.display());
    }
    Ok(prompts)
}

impl Compared {
    /// A table: a line a task, a column a way; tokens a second, and each relative to our plain decoding. Below it the
    /// means, their spread over the rounds, and the share of drafted tokens that were accepted.
    pub(super) fn markdown(&self) -> String {
        let tasks: Vec<&String> = self.ways[0].1.keys().collect();
        let mut text = String::from("| task |");
        self.ways.iter().for_each(|(way, _)| text += &format!(" {way} |"));
        text += &format!("\n|---|{}\n", "---|".repeat(self.ways.len()));
        let all = |speeds: &Speeds, task: &str| Sums::of(&speeds[task]).speed();
        let plain = &self.ways[0].1;
        for &task in &tasks {
            text += &format!("| {task} |");
            for (_, speeds) in &self.ways {
                let speed = all(speeds, task);
                text += &format!(" {speed:.1} ({:.2} ×) |", speed / all(plain, task));
            }
            text += "\n";
        }
        let mean = |ratio: &dyn Fn(&str) -> f64| {
            tasks.iter().map(|task| ratio(task)).sum::<f64>() / tasks.len() as f64
        };
        let means: Vec<f64> =
            self.ways.iter().map(|(_, speeds)| mean(&|task| all(speeds, task) / all(plain, task))).collect();
        text += "| mean |";
        means.iter().for_each(|mean| text += &format!(" {mean:.2} × |"));
        text += "\n| mean by round |";
        for (_, speeds) in &self.ways {
            let n_rounds = speeds.values().map(Vec::len).max().unwrap_or(0);
            let of_round = |i: usize| mean(&|task| speeds[task][i].speed() / plain[task][i].speed());
            let rounds: Vec<String> = (0..n_rounds).map(|i| format!("{:.2}", of_round(i))).collect();
            text += &format!(" {} |", rounds.join(", "));
        }
        text += "\n| accepted of drafted |";
        for (_, speeds) in &self.ways {
            let sums = Sums::of(speeds.values().flatten());
            text += &match sums.drafted {
                0.0 => " |".to_owned(),
                drafted => format!(" {:.1} % |", 100.0 * sums.accepted / drafted),
            };
        }
        let best = |side: &str| {
            let of_side = self.ways.iter().zip(&means).filter(|((way, _), _)| way.starts_with(side));
            of_side.map(|(_, mean)| *mean).fold(f64::NAN, f64::max)
        };
        text += &format!(
            "\n\nOur best ÷ llama.cpp's best, mean over tasks: {:.2}. Our text with and without speculation: {}.\n",
            best("ours") / best("llama.cpp"),
            if self.is_identical { "identical" } else { "DIFFERENT" },
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        let ways = self.ways.iter().map(|(way, speeds)| {
            let tasks: BTreeMap<&String, Value> = speeds
                .iter()
                .map(|(task, rounds)| {
                    let speeds: Vec<f64> = rounds.iter().map(|round| round.speed()).collect();
                    let all = Sums::of(rounds);
                    (task, json!({ "tokens_per_second": speeds, "drafted": all.drafted, "accepted": all.accepted }))
                })
                .collect();
            json!({ "way": way, "tasks": tasks })
        });
        json!({ "ways": ways.collect::<Vec<_>>(), "identical_output": self.is_identical })
    }
}
