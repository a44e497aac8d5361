//! Rows a second that a head learns from, on made-up samples.
//!
//! `cargo run --release -p nano-reasoning-train --example training_speed -- TARGET.gguf HEAD.gguf [THREADS]`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use half::f16;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, HeadFile, HeadOptions, LoadOptions};
use nano_reasoning_train::{HeadTrainer, HeadTraining, Random, Sample};

const N_TOKENS: usize = 300;
const FIRST_HIDDEN: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, head, more @ ..] = arguments.as_slice() else {
        return Err("wanted: TARGET.gguf HEAD.gguf [THREADS]".into());
    };
    let n_threads = more.first().map_or(Ok(2), |text| text.parse())?;
    let model =
        CpuModel::load(target, &LoadOptions { n_threads: Some(n_threads), ..LoadOptions::default() })?;
    let options = HeadOptions { core_vocab: Some(8192), ..HeadOptions::default() };
    let head = HeadFile::open(head)?.load(&model, 0, &options)?;
    let hidden_dim = model.config().hidden_dim;
    let mut random = Random::new(1);
    let mut numbers = |n: usize| (0..n).map(|_| f16::from_f32(random.normal())).collect::<Vec<_>>();
    let sample = Sample {
        position: 0,
        states: numbers(N_TOKENS * hidden_dim),
        hidden: numbers((N_TOKENS - FIRST_HIDDEN) * hidden_dim),
        tokens: (0..N_TOKENS as u32).map(|i| i * 7 % 5000).collect(),
        first_hidden: FIRST_HIDDEN,
        is_answer: (0..N_TOKENS).map(|index| index >= FIRST_HIDDEN).collect(),
    };
    let mut trainer = HeadTrainer::new(&head, Arc::new(Pool::new(n_threads)), HeadTraining::default())?;
    println!("{} numbers are learnt", trainer.n_parameters());
    let bases: Vec<usize> = sample.bases().collect();
    for n_rows in [32, 64, 128] {
        let bases = &bases[..n_rows];
        let mut times = [(0.0, "learn"), (0.0, "score"), (0.0, "step")];
        for _ in 0..5 {
            let mut clock = Instant::now();
            let mut take = |time: &mut f64| {
                *time += std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64()
            };
            trainer.learn(&sample, bases, 1.0)?;
            take(&mut times[0].0);
            trainer.score(&sample, bases)?;
            take(&mut times[1].0);
            trainer.step()?;
            take(&mut times[2].0);
        }
        for (time, what) in times {
            println!(
                "{n_rows} rows, {what}: {:.1} ms, {:.0} rows/s",
                200.0 * time,
                5.0 * n_rows as f64 / time
            );
        }
    }
    Ok(())
}
