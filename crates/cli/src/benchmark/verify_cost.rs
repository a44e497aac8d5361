//! What a pass over n tokens costs beside a pass over one: the price of verifying a draft.

use std::time::Instant;

use anyhow::bail;
use nano_reasoning::GenerationConfig;
use nano_reasoning_engine::{LogitRows, TokenTree};
use serde_json::{Value, json};

use super::Report;
use super::speed::tokens;
use super::spread::Spread;
use crate::arguments::BenchmarkArgs;
use crate::progress::Spinner;
use crate::session::Session;

const N_ROUNDS: usize = 10;
const MAX_TOKENS: usize = 16;
/// Tokens in the cache if `--context` does not say.
const N_CACHED: usize = 64;

pub(super) fn run(config: GenerationConfig, arguments: &BenchmarkArgs) -> anyhow::Result<Report> {
    let n_cached = config.context_len.unwrap_or(N_CACHED);
    let config = GenerationConfig { context_len: Some(n_cached.saturating_add(MAX_TOKENS)), ..config };
    let mut session = Session::open(config)?;
    let engine = session.orchestrator.engine().expect("it is initialized");
    let context_len = engine.target.shape().context_len;
    if n_cached + MAX_TOKENS > context_len {
        bail!(
            "the model has a context of {context_len} tokens: --context {} is the most here",
            context_len - MAX_TOKENS
        );
    }
    let tokens = tokens(engine, n_cached + MAX_TOKENS);
    engine.reset()?;
    let started = Instant::now();
    {
        let _spinner = Spinner::new(format!("filling the cache with {n_cached} tokens"));
        engine.target.forward(&TokenTree::chain(&tokens[..n_cached]), LogitRows::None)?;
    }
    let prefill_s = started.elapsed().as_secs_f64();

    let n_rounds = arguments.iterations.unwrap_or(N_ROUNDS);
    let mut times_ms: Vec<Spread> = (0..MAX_TOKENS).map(|_| Spread::default()).collect();
    let mut read_gb_per_s = Spread::default();
    for round in 1..=n_rounds {
        let _spinner = Spinner::new(format!("round {round} of {n_rounds}"));
        read_gb_per_s.push(engine.stream_read_gb_per_s());
        for (n_tokens, times_ms) in (1..).zip(&mut times_ms) {
            let draft = TokenTree::chain(&tokens[n_cached..n_cached + n_tokens]);
            let started = Instant::now();
            engine.target.forward(&draft, LogitRows::All)?;
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
            engine.target.truncate(n_cached)?;
        }
    }
    engine.reset()?;

    let info = &engine.info;
    let first_ms = times_ms[0].min();
    let read_ms = info.streamed_bytes as f64 / read_gb_per_s.max() / 1e6;
    let mut table = format!(
        "{}, {}, {} threads, {n_cached} tokens in the cache, {n_rounds} rounds\n\
         reading the weights at {:.1} GB/s: {read_ms:.2} ms; one token ÷ reading: {:.3}\n\
         tokens   best ms  median ms  ratio of the best\n",
        info.model,
        info.device,
        info.n_threads,
        read_gb_per_s.max(),
        first_ms / read_ms,
    );
    for (n_tokens, times_ms) in (1..).zip(&times_ms) {
        let (best, median) = (times_ms.min(), times_ms.median());
        table += &format!("{n_tokens:6} {best:9.2} {median:10.2} {:10.3}\n", best / first_ms);
    }
    let costs: Vec<Value> = (1..)
        .zip(&times_ms)
        .map(|(n_tokens, times_ms)| {
            let (ms, median_ms) = (times_ms.min(), times_ms.median());
            json!({ "n_tokens": n_tokens, "ms": ms, "median_ms": median_ms, "ratio": ms / first_ms })
        })
        .collect();
    let json = json!({
        "verify_cost": costs,
        "model": info.model,
        "device": info.device,
        "n_threads": info.n_threads,
        "iterations": n_rounds,
        "n_cached_tokens": n_cached,
        "prefill_tokens_per_second": n_cached as f64 / prefill_s,
        "read_gb_per_s": read_gb_per_s.max(),
        "read_ms": read_ms,
        "token_over_read": first_ms / read_ms,
    });
    Ok(Report { table, json })
}
