//! What a pass over the weights costs by the number of columns: milliseconds per GB of weights.
//!
//! `cargo run --release -p nano-reasoning-kernels --example product_cost -- [MB] [THREADS] [ROWS] [TYPE]`
//! Weights are random bytes in the shapes of a 1.5B model's feed-forward layer, read from DRAM.

use nano_reasoning_kernels::{
    Activations, BlockType, Kernels, PackedMatrix, Pool, Product, stream_read_gb_per_s,
};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(Ok(default), |arg| arg.parse::<usize>());
    let megabytes = number(1000)?;
    let pool = Pool::new(number(2)?);
    let kernels = Kernels::best();
    println!("{} on {} threads", kernels.isa().name(), pool.n_threads());
    let n_rows = number(8960)?;
    let n_cols = 1536;
    let only = args.next();
    for block_type in [BlockType::Q4_K, BlockType::Q6_K, BlockType::Q8_0, BlockType::Q5_0, BlockType::Q4_1] {
        if only.as_ref().is_some_and(|only| *only != format!("{block_type:?}")) {
            continue;
        }
        let bytes = n_rows * n_cols / block_type.block_len() * block_type.block_bytes();
        let mut state = 1u64;
        let source: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8 & 0x3b // keeps f16 scales finite
        })
        .take(bytes)
        .collect();
        let matrices: Vec<PackedMatrix> = (0..(megabytes * 1_000_000).div_ceil(bytes))
            .map(|_| PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &source))
            .collect::<Result<_, _>>()?;
        let gigabytes = matrices.iter().map(|m| m.size_bytes()).sum::<usize>() as f64 / 1e9;
        let widths = [1, 2, 3, 4, 6, 8, 12, 16];
        let mut best = [f64::INFINITY; 8];
        let mut read = f64::INFINITY;
        for _ in 0..5 {
            read = read.min(1e3 / stream_read_gb_per_s(&pool, 400_000_000, 1)?);
            for (best, n_tokens) in best.iter_mut().zip(widths) {
                let values: Vec<f32> = (0..n_tokens * n_cols).map(|i| (i % 97) as f32 - 48.0).collect();
                let mut x = Activations::new();
                x.set(kernels, &pool, &values, n_cols, [block_type]);
                let mut out = vec![0.0; n_tokens * n_rows];
                let start = Instant::now();
                for weights in &matrices {
                    kernels.multiply(&pool, &mut [Product { weights, out: &mut out }], &x);
                }
                *best = best.min(start.elapsed().as_secs_f64() * 1e3 / gigabytes);
            }
        }
        print!("{block_type:?}: read {read:.1}");
        for (ms, n_tokens) in best.iter().zip(widths) {
            print!("  k={n_tokens} {ms:.1} ({:.2})", ms / best[0]);
        }
        println!();
    }
    Ok(())
}
