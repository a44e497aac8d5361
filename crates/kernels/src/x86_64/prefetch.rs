//! Weights asked for before they are needed.
//!
//! One prefetch for each line, spread over the blocks of a unit: into L1 2 KB ahead and, on Intel's processors, into L2
//! 8 KB ahead as well. AMD's with AVX-512 do better by themselves for up to three columns. Measured in ms/GB of Q4_K
//! (`examples/product_cost`), 2 threads, best of 5 rounds in turns.
//!
//! Zen 4, AVX-512, 2026-11-25:
//!
//! | prefetch | 1 column | 2 | 4 | 8 | 16 |
//! |---|---|---|---|---|---|
//! | none | 22.7 | 23.3 | 31.7 | 64.1 | 112 |
//! | into L2, 4 KB ahead | 27.6 | 29.3 | 34.0 | 54.9 | 100 |
//! | into L2, 8 KB, and into L1, 1 KB ahead | 26.1 | 25.3 | 33.4 | 55.4 | 100 |
//! | into L1, 2 KB ahead | 27.5 | 28.8 | 33.0 | 53.1 | 94 |
//!
//! Intel (family 6, model 207), AVX-512, 2026-12-01, where reading takes 31:
//!
//! | prefetch | 1 column | 2 | 3 | 4 | 8 | 16 |
//! |---|---|---|---|---|---|---|
//! | into L1, 2 KB ahead | 46.9 | 44.6 | 45.8 | 47.4 | 52.2 | 83.9 |
//! | into L2, 4 KB ahead | 44.2 | 39.9 | 43.9 | 43.9 | 47.6 | 84.8 |
//! | into L2, 4 KB, and into L1, 768 B ahead | 40.1 | 40.4 | 40.6 | 42.1 | 47.7 | 84.5 |
//! | into L2, 8 KB, and into L1, 1 KB ahead | 39.1 | 39.1 | 38.6 | 40.9 | 47.2 | 83.2 |
//! | into L2, 8 KB, and into L1, 2 KB ahead | 37.1 | 37.6 | 38.8 | 41.2 | 47.7 | 83.7 |
//! | into L2, 16 KB, and into L1, 4 KB ahead | 37.0 | 37.7 | 38.8 | 41.3 | 48.1 | 83.7 |
//!
//! Its AVX2 kernel gains as much: a pass over one token of the 1.5B 46 and 49 → 42 and 40 ms.
//!
//! Zen 3, AVX2, 2026-12-01, without and into L1 2 KB ahead, at 1, 2 and 3 columns: 38.0, 40.2, 43.0 and 31.3, 31.8, 36.1;
//! Q6_K 36.6, 40.6, 42.6 and 29.3, 31.8, 36.6.
//!
//! All lines of a unit at once instead of spread out: 57 and 72 at 4 and 8 columns (Zen 4, another run).

use crate::formats::{Format, LINE_BYTES};
use std::arch::x86_64::{__cpuid, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

const L1_BYTES_AHEAD: usize = 2 << 10;
const L2_BYTES_AHEAD: usize = 8 << 10;

/// What is asked for ahead.
pub(super) trait Ahead {
    /// The smallest number of columns that is helped by it.
    const MIN_COLUMNS: usize;
    /// Whether L2 is asked as well.
    const IS_FAR_TOO: bool;
}

/// Nothing: the weights are in L1 already.
pub(super) struct Never;
/// Into L1, for four columns and more.
pub(super) struct NearForFour;
/// Into L1.
pub(super) struct Near;
/// Into L1 and, further ahead, into L2.
pub(super) struct NearAndFar;

impl Ahead for Never {
    const MIN_COLUMNS: usize = usize::MAX;
    const IS_FAR_TOO: bool = false;
}

impl Ahead for NearForFour {
    const MIN_COLUMNS: usize = 4;
    const IS_FAR_TOO: bool = false;
}

impl Ahead for Near {
    const MIN_COLUMNS: usize = 1;
    const IS_FAR_TOO: bool = false;
}

impl Ahead for NearAndFar {
    const MIN_COLUMNS: usize = 1;
    const IS_FAR_TOO: bool = true;
}

/// Whether Intel made the processor.
pub(super) fn is_of_intel() -> bool {
    let vendor = __cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    name.as_flattened() == b"GenuineIntel"
}

/// Asks for the share of block `2·pair + ODD` of what follows the unit at `lines`, for a kernel of `C` columns.
#[inline(always)]
pub(super) fn prefetch<F: Format, A: Ahead, const C: usize, const ODD: usize>(lines: *const u8, pair: usize) {
    if C < A::MIN_COLUMNS {
        return;
    }
    let per_pair = F::LINES.div_ceil(F::BLOCKS / 2);
    let share = if ODD == 0 { 0..per_pair / 2 } else { per_pair / 2..per_pair };
    for line in share {
        let address = lines.wrapping_add((pair * per_pair + line) * LINE_BYTES);
        // SAFETY: every x86-64 has the instruction, and an address that is not mapped does no harm.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(L1_BYTES_AHEAD).cast());
            if A::IS_FAR_TOO {
                _mm_prefetch::<_MM_HINT_T1>(address.wrapping_add(L2_BYTES_AHEAD).cast());
            }
        }
    }
}
