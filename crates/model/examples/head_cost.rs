//! What a step of a drafting head costs, as a share of the target's pass over one token.
//!
//! `cargo run --release -p nano-reasoning-model --example head_cost -- TARGET.gguf HEAD.gguf [ROUNDS]`

use std::error::Error;
use std::time::Instant;

use nano_reasoning_engine::{DraftHead, LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadOptions, LoadOptions};

const CONTEXT: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, target, head, rest @ ..] = arguments.as_slice() else {
        return Err("wanted: TARGET.gguf HEAD.gguf [ROUNDS]".into());
    };
    let n_rounds: usize = rest.first().map_or(Ok(30), |rounds| rounds.parse())?;
    let model = CpuModel::load_gguf(target, &LoadOptions { n_threads: Some(2), ..Default::default() })?;
    let file = GgufFile::open(head)?;
    let mut sequence = model.sequence(1024)?;
    let tokens: Vec<u32> = (0..CONTEXT as u32).map(|i| i * 37 % 5000 + 100).collect();
    for core_vocab in [4096, 8192, 16_384, 24_576] {
        let options = HeadOptions { core_vocab: Some(core_vocab) };
        let mut head = Eagle3Head::from_gguf(&file, &model, 1024, &options)?;
        sequence.set_taps(head.taps());
        sequence.truncate(0)?;
        let taps = sequence.forward(&TokenTree::chain(&tokens), LogitRows::None)?.taps.to_vec();
        head.extend(&taps[..taps.len() / CONTEXT * (CONTEXT - 1)], &tokens[1..], true)?;
        // The best of each, in turns.
        let mut best = [f64::INFINITY; 6];
        for _ in 0..n_rounds {
            let mut time = |i: usize, work: &mut dyn FnMut() -> Result<(), Box<dyn Error>>| {
                let started = Instant::now();
                work()?;
                best[i] = best[i].min(started.elapsed().as_secs_f64() * 1e3);
                Ok::<(), Box<dyn Error>>(())
            };
            time(0, &mut || {
                sequence.forward(&TokenTree::chain(&tokens[..1]), LogitRows::Last)?;
                Ok(())
            })?;
            sequence.truncate(CONTEXT)?;
            for (i, n) in [(1, 1), (2, 4), (3, 8)] {
                head.truncate(CONTEXT - 1)?;
                time(i, &mut || {
                    head.extend(&taps[..taps.len() / CONTEXT * n], &tokens[..n], true)
                        .map(|_| ())
                        .map_err(Into::into)
                })?;
            }
            for (i, n) in [(4, 1), (5, 4)] {
                time(i, &mut || head.step(&tokens[..n], &[None; 4][..n]).map(|_| ()).map_err(Into::into))?;
            }
        }
        let share = |i: usize| format!("{:.2} ms ({:.1} %)", best[i], 100.0 * best[i] / best[0]);
        println!(
            "{core_vocab:6} tokens: T(1) {:.1} ms; extend by 1 {}, 4 {}, 8 {}; step 1 {}, 4 {}",
            best[0],
            share(1),
            share(2),
            share(3),
            share(4),
            share(5)
        );
    }
    Ok(())
}
