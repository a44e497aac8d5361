//! What a drafting head costs, as a share of the target's pass over one token: entries of committed tokens, and nodes
//! of a draft after the first.
//!
//! `cargo run --release -p nano-reasoning-model --example head_cost -- TARGET.gguf HEAD.gguf [ROUNDS] [CONTEXT]`

use nano_reasoning_engine::{DraftHead, LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadOptions, LoadOptions};
use std::{error::Error, time::Instant};

const ENTRIES: [usize; 3] = [1, 4, 8];
const NODES: [usize; 3] = [1, 2, 4];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, target, head, rest @ ..] = args.as_slice() else {
        return Err("wanted: TARGET.gguf HEAD.gguf [ROUNDS] [CONTEXT]".into());
    };
    let n_rounds: usize = rest.first().map_or(Ok(30), |rounds| rounds.parse())?;
    let context: usize = rest.get(1).map_or(Ok(256), |context| context.parse())?;
    let model = CpuModel::load_gguf(target, &LoadOptions { n_threads: Some(2), ..Default::default() })?;
    let file = GgufFile::open(head)?;
    let mut heads = Vec::new();
    for core_vocab in [4096, 8192, 16_384, 24_576].map(Some) {
        heads.push(Eagle3Head::from_gguf(
            &file,
            &model,
            context + 16,
            &HeadOptions { core_vocab, ..HeadOptions::default() },
        )?);
    }
    let vocab_size = model.config().vocab_size as u32;
    let tokens: Vec<u32> = (0..context as u32).map(|i| i * 7919 % vocab_size).collect();
    let mut sequence = model.sequence(context + 16)?;
    sequence.set_taps(heads[0].taps());
    let taps = sequence.forward(&TokenTree::chain(&tokens), LogitRows::None)?.taps.to_vec();
    let width = taps.len() / context;
    let mut times_ms = vec![vec![Vec::new(); 1 + ENTRIES.len() + NODES.len()]; heads.len()];
    for _ in 0..n_rounds.max(1) {
        for (head, times) in heads.iter_mut().zip(&mut times_ms) {
            let ms = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
            sequence.truncate(context)?;
            let start = Instant::now();
            sequence.forward(&TokenTree::chain(&tokens[..1]), LogitRows::Last)?;
            times[0].push(ms(start));
            head.truncate(head.len().min(context - 1))?;
            head.extend(&taps[head.len() * width..(context - 1) * width], &tokens[head.len() + 1..], false)?;
            for (n, times) in ENTRIES.into_iter().zip(&mut times[1..]) {
                head.truncate(context - 1)?;
                let start = Instant::now();
                head.extend(&taps[..n * width], &tokens[..n], true)?;
                times.push(ms(start));
            }
            let mut root = None;
            for (n, times) in NODES.into_iter().zip(&mut times[1 + ENTRIES.len()..]) {
                let start = Instant::now();
                head.step(&tokens[..n], &vec![root; n])?;
                times.push(ms(start));
                root = Some(0);
            }
        }
    }
    println!("best ms (share of T(1), median's) after {context} tokens: extend {ENTRIES:?}, step {NODES:?}");
    for (head, times) in heads.iter().zip(&mut times_ms) {
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let (first, median) = (times[0][0], |i: usize| times[i][times[i].len() / 2]);
        print!("{:6} tokens: T(1) {first:.1}", head.draft_vocab().len());
        for (i, times) in times.iter().enumerate().skip(1) {
            print!(
                "  {:.2} ({:.1} %, {:.1} %)",
                times[0],
                100.0 * times[0] / first,
                100.0 * median(i) / median(0)
            );
        }
        println!();
    }
    Ok(())
}
