//! Decode, prefill, time to the first token, and memory bandwidth, in interleaved rounds.

use std::time::Instant;

use anyhow::bail;
use nano_reasoning::{Engine, GenerationConfig};
use nano_reasoning_engine::{LogitRows, Sampler, SamplingParams, TokenTree};
use serde_json::json;

use super::Report;
use super::spread::Spread;
use crate::arguments::BenchmarkArgs;
use crate::progress::Spinner;
use crate::session::Session;

const N_ROUNDS: usize = 10;
/// Tokens of the prompt before the decode.
const SHORT_PROMPT: usize = 16;
/// Tokens of the prompt whose prefill is measured, and how many of them go into one pass, as in an answer.
const LONG_PROMPT: usize = 512;
const CHUNK: usize = 256;
const N_DECODE: usize = 64;

#[derive(Default)]
struct Measured {
    decode_tokens_per_s: Spread,
    prefill_tokens_per_s: Spread,
    first_token_ms: Spread,
    read_gb_per_s: Spread,
}

pub(super) fn run(config: GenerationConfig, arguments: &BenchmarkArgs) -> anyhow::Result<Report> {
    let mut session = Session::open(config)?;
    let engine = session.orchestrator.engine().expect("it is initialized");
    let n_decode = arguments.max_tokens.unwrap_or(N_DECODE);
    let context_len = engine.target.shape().context_len;
    if SHORT_PROMPT + n_decode > context_len {
        bail!(
            "{SHORT_PROMPT} tokens of prompt and {n_decode} decoded ones do not fit the context of {context_len}; \
             take a larger --context or a smaller --max-tokens"
        );
    }
    let n_prompt = LONG_PROMPT.min(context_len);
    let n_rounds = arguments.iterations.unwrap_or(N_ROUNDS);
    let mut measured = Measured::default();
    for round in 1..=n_rounds {
        let _spinner = Spinner::new(format!("round {round} of {n_rounds}"));
        measured.round(engine, n_prompt, n_decode)?;
    }

    let info = &engine.info;
    // The best round of each: what the machine can do when nothing else runs on it.
    let token_ms = 1e3 / measured.decode_tokens_per_s.max();
    let read_ms = info.streamed_bytes as f64 / measured.read_gb_per_s.max() / 1e6;
    let load_s = session.load_time.as_secs_f64();
    let table = format!(
        "{}, {}, {} threads, {n_rounds} rounds; median and range\n\
         decode            {} tokens/s, {n_decode} tokens\n\
         prefill           {} tokens/s, {n_prompt} tokens\n\
         first token       {} ms, {SHORT_PROMPT} tokens of prompt\n\
         memory bandwidth  {} GB/s\n\
         token ÷ read      {:9.3}   (best {token_ms:.2} ms ÷ {read_ms:.2} ms to read the same bytes)\n\
         load              {load_s:9.2} s\n",
        info.model,
        info.device,
        info.n_threads,
        measured.decode_tokens_per_s.show(1),
        measured.prefill_tokens_per_s.show(1),
        measured.first_token_ms.show(1),
        measured.read_gb_per_s.show(1),
        token_ms / read_ms,
    );
    let json = json!({
        "model": info.model,
        "device": info.device,
        "n_threads": info.n_threads,
        "iterations": n_rounds,
        "n_decode_tokens": n_decode,
        "n_prefill_tokens": n_prompt,
        "standard": {
            "tokens_per_second": measured.decode_tokens_per_s.median(),
            "best_tokens_per_second": measured.decode_tokens_per_s.max(),
        },
        "speculative": null,
        "decode_tokens_per_second": measured.decode_tokens_per_s.json(),
        "prefill_tokens_per_second": measured.prefill_tokens_per_s.json(),
        "first_token_ms": measured.first_token_ms.json(),
        "read_gb_per_s": measured.read_gb_per_s.json(),
        "token_ms": token_ms,
        "read_ms": read_ms,
        "token_over_read": token_ms / read_ms,
        "load_s": load_s,
        "weights_bytes": info.weights_bytes,
        "cache_bytes": info.cache_bytes,
    });
    Ok(Report { table, json })
}

impl Measured {
    fn round(&mut self, engine: &mut Engine, n_prompt: usize, n_decode: usize) -> anyhow::Result<()> {
        self.read_gb_per_s.push(engine.stream_read_gb_per_s());
        let prompt = tokens(engine, n_prompt.max(SHORT_PROMPT));
        let mut sampler = Sampler::new(SamplingParams::greedy())?;

        engine.reset()?;
        let started = Instant::now();
        let forward = engine.target.forward(&TokenTree::chain(&prompt[..SHORT_PROMPT]), LogitRows::Last)?;
        let mut token = sampler.sample(forward.logits, &prompt);
        self.first_token_ms.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        for _ in 0..n_decode {
            let forward = engine.target.forward(&TokenTree::chain(&[token]), LogitRows::Last)?;
            token = sampler.sample(forward.logits, &prompt);
        }
        self.decode_tokens_per_s.push(n_decode as f64 / started.elapsed().as_secs_f64());

        engine.reset()?;
        let started = Instant::now();
        for chunk in prompt[..n_prompt].chunks(CHUNK) {
            engine.target.forward(&TokenTree::chain(chunk), LogitRows::None)?;
        }
        self.prefill_tokens_per_s.push(n_prompt as f64 / started.elapsed().as_secs_f64());
        Ok(engine.reset()?)
    }
}

/// Token ids from all over the vocabulary: what they say does not matter.
pub(super) fn tokens(engine: &Engine, n_tokens: usize) -> Vec<u32> {
    let vocab_size = engine.target.shape().vocab_size;
    (0..n_tokens).map(|i| (i * 7919 % vocab_size) as u32).collect()
}
