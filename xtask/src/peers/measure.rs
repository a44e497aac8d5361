//! Speed and memory of both sides, in turns.

use super::samples::Samples;
use super::server::Server;
use super::{Bench, Model};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

const N_DECODE: usize = 64;
const N_PREFILL: usize = 512;
/// Tokens of the passes whose cost is measured.
pub(super) const PASSES: [usize; 5] = [1, 2, 4, 8, 16];
/// Tokens in the cache at those passes; what our command takes by itself.
const N_CACHED: usize = 64;
/// Passes of each size that llama.cpp's program averages over.
const N_PASSES: usize = 8;
/// 16 tokens for Qwen's tokenizer; the chat template adds its own, for both sides.
const SHORT_PROMPT: &str = "Explain in two short sentences why the sky looks blue at noon in May.";
/// Context of the processes whose memory is measured. Both reserve it whole, so it is made just large
/// enough for [`LONG_PROMPT_WORDS`] and [`N_DECODE`]: a cache that is full is a cache that is resident.
const MEMORY_CONTEXT: usize = 640;
const LONG_PROMPT_WORDS: usize = 512;

/// What one side takes.
#[derive(Default)]
pub(super) struct Side {
    pub(super) decode_tokens_per_s: Samples,
    pub(super) prefill_tokens_per_s: Samples,
    /// By the number of tokens in a pass.
    pub(super) pass_ms: BTreeMap<usize, Samples>,
    pub(super) first_token_ms: Samples,
    pub(super) peak_bytes: Option<u64>,
}

/// What both take.
pub(super) struct Measured {
    pub(super) ours: Side,
    pub(super) theirs: Side,
    /// Time to read the weights of one token's pass, as our threads read memory.
    pub(super) read_ms: Samples,
    /// Our instruction set.
    pub(super) isa: String,
    /// Our weights and, for [`MEMORY_CONTEXT`], our KV cache.
    pub(super) weights_bytes: u64,
    pub(super) cache_bytes: u64,
    /// Tokens of the first token's prompt, chat template included.
    pub(super) n_prompt_tokens: usize,
    /// Tokens in the cache, and our passes then.
    pub(super) long_context: Option<(usize, BTreeMap<usize, f64>)>,
}

/// Measures a model.
///
/// # Errors
/// If a program fails or prints what is not expected.
pub(super) fn run(bench: &Bench, model: &Model) -> anyhow::Result<Measured> {
    let server = Server::start(bench, model)?;
    let prompt = server.apply_template(SHORT_PROMPT)?;
    let n_prompt_tokens = server.tokenize(&prompt)?.len();
    drop(server);
    let mut measured = Measured {
        ours: Side::default(),
        theirs: Side::default(),
        read_ms: Samples::default(),
        isa: String::new(),
        weights_bytes: 0,
        cache_bytes: 0,
        n_prompt_tokens,
        long_context: None,
    };
    // First, as it also brings the file into the system's cache.
    measured.memory(bench, model)?;
    for round in 1..=bench.n_rounds {
        println!("round {round} of {}", bench.n_rounds);
        // Whoever comes second may find a warmer or a hotter machine.
        for is_ours in if round % 2 == 1 { [false, true] } else { [true, false] } {
            if is_ours {
                measured.our_round(bench, model)?;
            } else {
                measured.their_round(bench, model, &prompt)?;
            }
        }
    }
    if bench.long_context > 0 && model.is_main() {
        measured.long_context = Some((bench.long_context, long_context(bench, model)?));
    }
    Ok(measured)
}

impl Measured {
    fn our_round(&mut self, bench: &Bench, model: &Model) -> anyhow::Result<()> {
        let mut command = ours(bench, model, "benchmark");
        let report = json_of(bench, command.args(["--iterations", "1", "--json"]))?;
        self.ours.decode_tokens_per_s.push(number(&report, "/decode_tokens_per_second/max")?);
        self.ours.prefill_tokens_per_s.push(number(&report, "/prefill_tokens_per_second/max")?);
        self.read_ms.push(number(&report, "/read_ms")?);
        self.isa = report["device"].as_str().unwrap_or_default().to_owned();

        let mut command = ours(bench, model, "benchmark");
        let report = json_of(bench, command.args(["--verify-cost", "--iterations", "3", "--json"]))?;
        for (n_tokens, ms) in passes(&report)? {
            self.ours.pass_ms.entry(n_tokens).or_default().push(ms);
        }
        self.read_ms.push(number(&report, "/read_ms")?);

        let mut command = ours(bench, model, "generate");
        command.args(["-m", "1", "-t", "0", SHORT_PROMPT]);
        self.ours.first_token_ms.push(bench.commands.run(&mut command)?.wall_ms);
        Ok(())
    }

    fn their_round(&mut self, bench: &Bench, model: &Model, prompt: &str) -> anyhow::Result<()> {
        let mut command = theirs(bench, model, "llama-bench");
        let (n_prefill, n_decode) = (N_PREFILL.to_string(), N_DECODE.to_string());
        // Two tests, one after the other.
        command.args(["-p", &n_prefill, "-n", &n_decode, "-r", "1", "-o", "json"]);
        let tests = json_of(bench, &mut command)?;
        for test in tests.as_array().into_iter().flatten() {
            let speed = number(test, "/avg_ts")?;
            match number(test, "/n_gen")? {
                0.0 => self.theirs.prefill_tokens_per_s.push(speed),
                _ => self.theirs.decode_tokens_per_s.push(speed),
            }
        }

        // A pass that verifies k tokens needs k rows of logits. `llama-bench -p k` computes one row only,
        // so the generation phase of k sequences side by side is taken: k tokens, k rows, one pass.
        let mut command = theirs(bench, model, "llama-batched-bench");
        let n_kv = PASSES[PASSES.len() - 1] * (N_CACHED + N_PASSES);
        command.args(["-c", &n_kv.to_string(), "-npp", &N_CACHED.to_string()]);
        command.args(["-ntg", &N_PASSES.to_string(), "-npl", &PASSES.map(|n| n.to_string()).join(",")]);
        let finished = bench.commands.run(command.args(["-pps", "--output-format", "jsonl"]))?;
        let mut n_found = 0;
        for line in finished.stdout.lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).context("reading llama-batched-bench's output")?;
            let ms = number(&line, "/t_tg")? * 1e3 / N_PASSES as f64;
            self.theirs.pass_ms.entry(number(&line, "/pl")? as usize).or_default().push(ms);
            n_found += 1;
        }
        if n_found != PASSES.len() {
            bail!("llama-batched-bench gave {n_found} results, {} are wanted", PASSES.len());
        }

        let mut command = theirs(bench, model, "llama-completion");
        // Its warm-up pass and its search for a context that fits only cost time here; 8192 is our default.
        command.args(["-c", "8192", "-fit", "off", "--no-warmup", "-no-cnv", "--temp", "0"]);
        let finished = bench.commands.run(command.args(["-n", "1", "-p", prompt]))?;
        self.theirs.first_token_ms.push(finished.wall_ms);
        Ok(())
    }

    fn memory(&mut self, bench: &Bench, model: &Model) -> anyhow::Result<()> {
        let context = MEMORY_CONTEXT.to_string();
        let n_decode = N_DECODE.to_string();
        let prompt = "one ".repeat(LONG_PROMPT_WORDS);
        let mut command = theirs(bench, model, "llama-completion");
        command.args(["-c", &context, "-no-cnv", "--ignore-eos", "--temp", "0", "-n", &n_decode]);
        self.theirs.peak_bytes = bench.commands.run_watched(command.args(["-p", &prompt]))?.1;

        // A drafter has weights of its own; theirs runs without one as well.
        let mut command = ours(bench, model, "generate");
        command.args(["--no-speculation", "--context", &context, "-m", &n_decode, "-t", "0", &prompt]);
        self.ours.peak_bytes = bench.commands.run_watched(&mut command)?.1;
        let mut command = ours(bench, model, "benchmark");
        command.args(["--context", &context, "--iterations", "1", "-m", "1", "--json"]);
        let report = json_of(bench, &mut command)?;
        self.weights_bytes = number(&report, "/weights_bytes")? as u64;
        self.cache_bytes = number(&report, "/cache_bytes")? as u64;
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let side = |side: &Side| {
            let passes: BTreeMap<String, Value> =
                side.pass_ms.iter().map(|(n_tokens, ms)| (n_tokens.to_string(), ms.json())).collect();
            json!({
                "decode_tokens_per_second": side.decode_tokens_per_s.json(),
                "prefill_tokens_per_second": side.prefill_tokens_per_s.json(),
                "pass_ms": passes,
                "first_token_ms": side.first_token_ms.json(),
                "peak_resident_bytes": side.peak_bytes,
            })
        };
        let long_context = self.long_context.as_ref().map(|(n_cached, passes)| {
            let passes: BTreeMap<String, f64> =
                passes.iter().map(|(n_tokens, ms)| (n_tokens.to_string(), *ms)).collect();
            json!({ "n_cached_tokens": n_cached, "pass_ms": passes })
        });
        json!({
            "ours": side(&self.ours),
            "llama_cpp": side(&self.theirs),
            "read_ms": self.read_ms.json(),
            "isa": self.isa,
            "weights_bytes": self.weights_bytes,
            "cache_bytes": self.cache_bytes,
            "memory_context_tokens": MEMORY_CONTEXT,
            "first_token_prompt_tokens": self.n_prompt_tokens,
            "long_context": long_context,
        })
    }
}

/// Our passes with many tokens in the cache, all rounds in one process: filling the cache takes a while.
fn long_context(bench: &Bench, model: &Model) -> anyhow::Result<BTreeMap<usize, f64>> {
    let mut command = ours(bench, model, "benchmark");
    command.args(["--verify-cost", "--context", &bench.long_context.to_string()]);
    let report = json_of(bench, command.args(["--iterations", &bench.n_rounds.to_string(), "--json"]))?;
    passes(&report)
}

/// The best times of a report of `benchmark --verify-cost`, by the number of tokens.
fn passes(report: &Value) -> anyhow::Result<BTreeMap<usize, f64>> {
    let costs = report["verify_cost"].as_array().context("the report has no verify_cost")?;
    costs.iter().map(|cost| Ok((number(cost, "/n_tokens")? as usize, number(cost, "/ms")?))).collect()
}

fn ours(bench: &Bench, model: &Model, subcommand: &str) -> Command {
    let mut command = bench.ours.command(subcommand);
    command.arg("--model").arg(&model.path).args(["--threads", &bench.n_threads.to_string()]);
    command
}

fn theirs(bench: &Bench, model: &Model, program: &str) -> Command {
    let mut command = bench.theirs.command(program);
    command.arg("-m").arg(&model.path).args(["-t", &bench.n_threads.to_string()]);
    command
}

/// What a command prints, as JSON.
///
/// # Errors
/// If it fails or prints something else.
pub(super) fn json_of(bench: &Bench, command: &mut Command) -> anyhow::Result<Value> {
    let finished = bench.commands.run(command)?;
    serde_json::from_str(&finished.stdout).with_context(|| format!("reading what {command:?} prints"))
}

/// The number at `pointer` of `value`.
///
/// # Errors
/// If there is none.
pub(super) fn number(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    value.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no number {pointer} in {value}"))
}
