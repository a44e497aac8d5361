//! Weights asked for before they are needed.
//!
//! One prefetch into L2 for each line, 4 KB ahead, spread over the blocks of a unit. Measured on a
//! Zen 4 (2 threads, Q4_K, ms/GB at 1, 4, 8 and 16 columns; reading alone 25 to 29): none 27, 44, 78, 130;
//! all lines of a unit at once 30, 57, 72, 116; spread out 30, 33, 51, 91; into L1 instead 31, 35, 55, 91.

use crate::formats::{Format, LINE_BYTES};
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

const AHEAD_BYTES: usize = 4096;

/// Prefetches the share of block `2·pair + ODD` of what follows the unit at `lines`.
#[inline(always)]
pub(super) fn prefetch<F: Format, const ODD: usize>(lines: *const u8, pair: usize) {
    let per_pair = F::LINES.div_ceil(F::BLOCKS / 2);
    let share = if ODD == 0 { 0..per_pair / 2 } else { per_pair / 2..per_pair };
    for line in share {
        let address = lines.wrapping_add((pair * per_pair + line) * LINE_BYTES + AHEAD_BYTES);
        // SAFETY: every x86-64 has the instruction, and an address that is not mapped does no harm.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
}
