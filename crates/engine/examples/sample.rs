//! Shows what each setting leaves of a distribution, and what it costs on a large vocabulary.
//!
//! `cargo run --release -p nano-reasoning-engine --example sample`

use std::time::Instant;

use nano_reasoning_engine::{Noise, Sampler, SamplingParams};

fn main() {
    let noise = Noise::seeded(1);
    // Roughly bell-shaped logits with a few clear favourites, as a language model gives them.
    let logits: Vec<f32> = (0..151_936)
        .map(|token| {
            let sum: f64 = (0..6).map(|place| noise.at(place).uniform(token) - 0.5).sum();
            sum as f32 * 3.0 + if token % 10_007 == 1 { 14.0 } else { 0.0 }
        })
        .collect();
    let history: Vec<u32> = (0..64).collect();
    let open = SamplingParams { top_k: 0, top_p: 1.0, seed: Some(7), ..SamplingParams::default() };
    for (name, params) in [
        ("greedy", SamplingParams::greedy()),
        ("default (top-k 40, top-p 0.9)", SamplingParams { seed: Some(7), ..SamplingParams::default() }),
        ("with repetition penalty", SamplingParams { repetition_penalty: 1.1, ..SamplingParams::default() }),
        ("min-p 0.05 alone", SamplingParams { min_p: 0.05, ..open.clone() }),
        ("top-p 0.9 alone", SamplingParams { top_p: 0.9, ..open.clone() }),
        ("no filter", open),
    ] {
        let mut sampler = Sampler::new(params).expect("the parameters are in range");
        let mut best_us = f64::INFINITY;
        let mut token = 0;
        for _ in 0..50 {
            let start = Instant::now();
            token = sampler.sample(&logits, &history);
            best_us = best_us.min(start.elapsed().as_secs_f64() * 1e6);
        }
        let kept = sampler.distribution(&logits, &history).len();
        println!("{name:30} {best_us:7.0} µs  {kept:6} candidates, drew {token}");
    }
}
