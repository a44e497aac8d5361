//! What a pass over k tokens costs, T(k), at a given length of context:
//! `cargo run --release -p nano-reasoning-model --example verify_cost -- MODEL [--threads N]
//! [--isa NAME] [--context N] [--rounds N] [--max K]`

use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_kernels::stream_read_gb_per_s;
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::{error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: verify_cost MODEL [--threads N] [--isa NAME] …")?;
    let (mut n_threads, mut isa, mut context, mut rounds, mut max) = (None, None, 64, 5, 16);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--threads" => n_threads = Some(value.parse()?),
            "--isa" => isa = Some(value),
            "--context" => context = value.parse()?,
            "--rounds" => rounds = value.parse::<usize>()?,
            "--max" => max = value.parse()?,
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }
    let options = LoadOptions { n_threads, isa: isa.as_deref(), ..LoadOptions::default() };
    let model = CpuModel::load(&path, &options)?;
    let mut sequence = model.sequence(context + max)?;
    let vocab_size = model.config().vocab_size as u32;
    let tokens: Vec<u32> = (0..(context + max) as u32).map(|i| i * 7919 % vocab_size).collect();
    let start = Instant::now();
    sequence.forward(&TokenTree::chain(&tokens[..context]), LogitRows::None)?;
    let prefill_s = start.elapsed().as_secs_f64();

    let mut times_ms = vec![Vec::new(); max];
    let mut read_gb_per_s = 0.0f64;
    for _ in 0..rounds.max(1) {
        read_gb_per_s = read_gb_per_s.max(stream_read_gb_per_s(model.pool(), 512 << 20, 1)?);
        for (k, times) in (1..).zip(&mut times_ms) {
            let draft = TokenTree::chain(&tokens[context..context + k]);
            let start = Instant::now();
            sequence.forward(&draft, LogitRows::All)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            sequence.truncate(context)?;
        }
    }
    let read_ms = model.streamed_bytes() as f64 / read_gb_per_s / 1e6;
    println!("{}, {} threads", model.kernels().isa().name(), model.pool().n_threads());
    println!("prefill {context} tokens: {:.1} tokens/s", context as f64 / prefill_s);
    println!("reading the weights at {read_gb_per_s:.1} GB/s: {read_ms:.2} ms");
    println!(" k   best ms  median ms  best ratio");
    let mut first_ms = f64::NAN;
    for (k, times) in (1..).zip(&mut times_ms) {
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[times.len() / 2]);
        if k == 1 {
            first_ms = best;
        }
        println!("{k:2} {best:9.2} {median:10.2} {:11.3}", best / first_ms);
    }
    Ok(())
}
