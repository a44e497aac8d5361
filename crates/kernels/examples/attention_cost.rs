//! What attention costs by the number of rows: milliseconds for all layers of a model.
//!
//! `cargo run --release -p nano-reasoning-kernels --example attention_cost -- [CONTEXT] [THREADS] [ISA]`
//! Shape of Qwen2.5 1.5B: 28 layers of 12 heads over 2 KV heads, 128 wide. Keys and values are random.

use nano_reasoning_kernels::{AttentionScratch, Kernels, KvLayer, Pool, Queries};
use std::time::Instant;

const N_LAYERS: usize = 28;
const N_HEADS: usize = 12;
const N_KV_HEADS: usize = 2;
const HEAD_DIM: usize = 128;
const WIDTHS: [usize; 7] = [1, 2, 4, 6, 8, 16, 128];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let context = args.first().map_or(Ok(8000), |arg| arg.parse())?;
    let pool = Pool::new(args.get(1).map_or(Ok(2), |arg| arg.parse())?);
    let kernels = match args.get(2) {
        Some(name) => Kernels::named(name).ok_or("no such table here")?,
        None => Kernels::best(),
    };
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let longest = WIDTHS.iter().max().copied().unwrap_or(1);
    let mut layers = Vec::new();
    for _ in 0..N_LAYERS {
        let mut layer = KvLayer::new(N_KV_HEADS, HEAD_DIM, context + longest)?;
        let mut row = [0.0; 2 * N_KV_HEADS * HEAD_DIM];
        for slot in 0..context + longest {
            row.iter_mut().for_each(|x| *x = random());
            let (keys, values) = row.split_at(N_KV_HEADS * HEAD_DIM);
            layer.write(kernels, slot, keys, values);
        }
        layers.push(layer);
    }
    let row_len = N_HEADS * HEAD_DIM;
    let rows: Vec<f32> = (0..longest * row_len).map(|_| 3.0 * random()).collect();
    let mut out = vec![0.0; rows.len()];
    let mut scratch = AttentionScratch::new();
    let mut times = vec![Vec::new(); WIDTHS.len()];
    for _ in 0..9 {
        for (n_tokens, times) in WIDTHS.iter().zip(&mut times) {
            let len = n_tokens * row_len;
            let queries = Queries { rows: &rows[..len], n_heads: N_HEADS, n_past: context, ancestors: &[] };
            let start = Instant::now();
            for layer in &layers {
                kernels.attend(&pool, layer, &queries, &mut scratch, &mut out[..len]);
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let bits = out.iter().fold(0u64, |hash, x| hash.wrapping_mul(31).wrapping_add(x.to_bits().into()));
    println!("{}, {} threads, {context} cached, hash {bits:016x}", kernels.isa().name(), pool.n_threads());
    println!("rows   best ms  median ms  ms a row");
    for (n_tokens, times) in WIDTHS.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[times.len() / 2]);
        println!("{n_tokens:4} {best:9.2} {median:10.2} {:9.2}", best / *n_tokens as f64);
    }
    Ok(())
}
