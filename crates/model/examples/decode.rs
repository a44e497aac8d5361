//! Greedy decoding of token ids:
//! `cargo run --release -p nano-reasoning-model --example decode -- MODEL [--threads N] [--isa NAME]
//! [--prefill N] [--tokens N] [ID…]`. Without ids, or up to `--prefill` of them, ids are made up.

use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree, argmax};
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::{error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: decode MODEL [--threads N] [--isa NAME] [ID…]")?;
    let (mut n_threads, mut isa, mut n_prefill, mut n_tokens, mut ids) = (None, None, 16, 64, vec![]);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--threads" => n_threads = Some(value()?.parse()?),
            "--isa" => isa = Some(value()?),
            "--prefill" => n_prefill = value()?.parse()?,
            "--tokens" => n_tokens = value()?.parse()?,
            id => ids.push(id.parse::<u32>()?),
        }
    }
    let start = Instant::now();
    let options = LoadOptions { n_threads, isa: isa.as_deref(), ..LoadOptions::default() };
    let model = CpuModel::load(&path, &options)?;
    let load_s = start.elapsed().as_secs_f64();
    let vocab_size = model.config().vocab_size as u32;
    ids.extend((ids.len() as u32..n_prefill).map(|i| i * 7919 % vocab_size));
    let mut sequence = model.sequence(ids.len() + n_tokens)?;
    println!(
        "{}, {} threads, {:.1} MB of weights packed in {load_s:.3} s",
        model.kernels().isa().name(),
        model.pool().n_threads(),
        model.weights_bytes() as f64 / 1e6
    );

    let start = Instant::now();
    let mut token = argmax(sequence.forward(&TokenTree::chain(&ids), LogitRows::Last)?.logits);
    let prefill_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut answer = vec![token];
    while answer.len() < n_tokens {
        token = argmax(sequence.forward(&TokenTree::chain(&[token]), LogitRows::Last)?.logits);
        answer.push(token);
    }
    let decode_s = start.elapsed().as_secs_f64();
    println!("{answer:?}");
    println!("prefill {} tokens: {:.1} tokens/s", ids.len(), ids.len() as f64 / prefill_s);
    println!("decode {} tokens: {:.2} tokens/s", answer.len() - 1, (answer.len() - 1) as f64 / decode_s);
    Ok(())
}
