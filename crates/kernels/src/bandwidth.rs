//! How fast memory can be read: the limit of every decode step.

use crate::memory::Memory;
use crate::{Kernels, Pool};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Reads `bytes` of memory with all threads of `pool`, `repeats` times, and returns the best rate in
/// GB/s (10⁹ bytes).
///
/// # Errors
/// If memory is short.
pub fn stream_read_gb_per_s(pool: &Pool, bytes: usize, repeats: usize) -> Result<f64, crate::Error> {
    // As long as a task of a product, so that streams are as long, too.
    const TASK_WORDS: usize = 512 << 10 >> 3;
    let kernels = Kernels::best();
    let mut memory = Memory::zeroed(bytes.max(1 << 20))?;
    // Pages that were never written are all the same zero page.
    for byte in memory.iter_mut().step_by(4096) {
        *byte = 1;
    }
    // SAFETY: every pattern of bits is a `u64`.
    let (_, words, _) = unsafe { memory.align_to::<u64>() };
    let mut best = 0.0f64;
    for _ in 0..repeats.max(1) {
        let total = AtomicU64::new(0);
        let start = Instant::now();
        pool.run(words.len().div_ceil(TASK_WORDS), |task| {
            let words = &words[task * TASK_WORDS..];
            let words = &words[..words.len().min(TASK_WORDS)];
            total.fetch_xor((kernels.fold_words)(words), Relaxed);
        });
        std::hint::black_box(total.load(Relaxed));
        best = best.max(words.len() as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}
