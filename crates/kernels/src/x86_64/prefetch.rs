//! Weights asked for before they are needed.
//!
//! One prefetch into L1 for each line, 2 KB ahead, spread over the blocks of a unit. On AMD's processors the
//! AVX-512 table does without for up to three columns, where the processor's own prefetching does better.
//! Measured on a Zen 4, 2 threads, one interleaved run, 2026-11-25, ms/GB of Q4_K at 1, 2, 4, 8 and 16 columns:
//!
//! | prefetch | 1 | 2 | 4 | 8 | 16 |
//! |---|---|---|---|---|---|
//! | none | 22.7 | 23.3 | 31.7 | 64.1 | 112 |
//! | into L2, 4 KB ahead | 27.6 | 29.3 | 34.0 | 54.9 | 100 |
//! | into L2, 8 KB, and into L1, 1 KB ahead | 26.1 | 25.3 | 33.4 | 55.4 | 100 |
//! | into L1, 2 KB ahead | 27.5 | 28.8 | 33.0 | 53.1 | 94 |
//!
//! All lines of a unit at once instead of spread out: 57 and 72 at 4 and 8 columns (another run).
//!
//! Intel's want it at any width: without it, on a Sapphire Rapids VM, 2026-12-01, a pass of the 1.5B over 1, 2, 3 tokens
//! took 46, 59, 63 ms, and with it 45, 47, 48 over 4, 5, 6. That it serves fewer as well is concluded, not measured there.
//!
//! The AVX2 table always prefetches. Zen 3, 2 threads, 2026-12-01, ms/GB at 1, 2 and 3 columns without and
//! with: Q4_K 38.0, 40.2, 43.0 and 31.3, 31.8, 36.1; Q6_K 36.6, 40.6, 42.6 and 29.3, 31.8, 36.6.

use crate::formats::{Format, LINE_BYTES};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

const AHEAD_BYTES: usize = 2048;

/// Prefetches the share of block `2·pair + ODD` of what follows the unit at `lines`.
#[inline(always)]
pub(super) fn prefetch<F: Format, const ODD: usize>(lines: *const u8, pair: usize) {
    let per_pair = F::LINES.div_ceil(F::BLOCKS / 2);
    let share = if ODD == 0 { 0..per_pair / 2 } else { per_pair / 2..per_pair };
    for line in share {
        let address = lines.wrapping_add((pair * per_pair + line) * LINE_BYTES + AHEAD_BYTES);
        // SAFETY: every x86-64 has the instruction, and an address that is not mapped does no harm.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
}
