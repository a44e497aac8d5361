//! The two integer products of attention: `vpdpwssd`, 32 products an instruction.
//!
//! What comes next in the cache is prefetched, a block ahead, while the first queries are worked on.

use crate::attention::{BLOCK_POSITIONS, TILE_SLOTS, WeighedBlock};
use std::arch::asm;
use std::arch::x86_64::*;

/// Queries whose sums with two tiles of keys stay in registers.
const KEY_QUERIES: usize = 12;
/// Queries and registers of values whose sums stay in registers.
const VALUE_QUERIES: usize = 6;
const VALUE_LINES: usize = 4;
/// Dimensions in a register of values: two slots each.
const LINE_DIMS: usize = 16;

/// `sum + a · b`, pair by pair. The intrinsic would not do: LLVM makes it `vpmaddwd` and `vpaddd`, two
/// instructions for one.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_products(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the function has the feature, and the instruction works on registers alone.
    unsafe {
        asm!("vpdpwssd {}, {}, {}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// # Safety
/// Two numbers at `pair`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast_pair(pair: *const i16) -> __m512i {
    // SAFETY: as for this function.
    _mm512_set1_epi32(unsafe { pair.cast::<i32>().read_unaligned() })
}

/// Asks for the line at `address`, which may lie anywhere.
#[inline(always)]
fn prefetch(address: *const i16) {
    // SAFETY: every x86-64 has the instruction, and an address that is not mapped does no harm.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
}

pub(super) fn key_products(keys: &[i16], queries: &[i16], head_dim: usize, out: &mut [i32], stride: usize) {
    let n_queries = queries.len() / head_dim;
    let n_slots = keys.len() / head_dim;
    assert!(n_queries == 0 || out.len() >= (n_queries - 1) * stride + n_slots, "room for the products");
    let tile_len = TILE_SLOTS * head_dim;
    for (i, keys) in keys.chunks(2 * tile_len).enumerate() {
        for first in (0..n_queries).step_by(KEY_QUERIES) {
            let queries = &queries[first * head_dim..];
            let out = &mut out[first * stride + 2 * i * TILE_SLOTS..];
            let n_queries = n_queries - first;
            // SAFETY: the table exists only once its features were detected; the lengths were checked.
            unsafe {
                match keys.len() / tile_len {
                    2 if first == 0 => {
                        key_queries::<2, true>(keys, queries, n_queries, head_dim, out, stride)
                    }
                    2 => key_queries::<2, false>(keys, queries, n_queries, head_dim, out, stride),
                    _ => key_queries::<1, false>(keys, queries, n_queries, head_dim, out, stride),
                }
            }
        }
    }
}

/// # Safety
/// As for [`key_tile`], with up to 12 of `n_queries` queries.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn key_queries<const T: usize, const PREFETCH: bool>(
    keys: &[i16],
    queries: &[i16],
    n_queries: usize,
    head_dim: usize,
    out: &mut [i32],
    stride: usize,
) {
    // SAFETY: as for this function.
    unsafe {
        match n_queries {
            1 => key_tile::<T, 1, PREFETCH>(keys, queries, head_dim, out, stride),
            2 => key_tile::<T, 2, PREFETCH>(keys, queries, head_dim, out, stride),
            3 => key_tile::<T, 3, PREFETCH>(keys, queries, head_dim, out, stride),
            4 => key_tile::<T, 4, PREFETCH>(keys, queries, head_dim, out, stride),
            5 => key_tile::<T, 5, PREFETCH>(keys, queries, head_dim, out, stride),
            6 => key_tile::<T, 6, PREFETCH>(keys, queries, head_dim, out, stride),
            7 => key_tile::<T, 7, PREFETCH>(keys, queries, head_dim, out, stride),
            8 => key_tile::<T, 8, PREFETCH>(keys, queries, head_dim, out, stride),
            9 => key_tile::<T, 9, PREFETCH>(keys, queries, head_dim, out, stride),
            10 => key_tile::<T, 10, PREFETCH>(keys, queries, head_dim, out, stride),
            11 => key_tile::<T, 11, PREFETCH>(keys, queries, head_dim, out, stride),
            _ => key_tile::<T, 12, PREFETCH>(keys, queries, head_dim, out, stride),
        }
    }
}

/// # Safety
/// The features below, `T` tiles of keys, and `Q` queries and rows of `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn key_tile<const T: usize, const Q: usize, const PREFETCH: bool>(
    keys: &[i16],
    queries: &[i16],
    head_dim: usize,
    out: &mut [i32],
    stride: usize,
) {
    let mut sums = [[_mm512_setzero_si512(); T]; Q];
    for pair in 0..head_dim / 2 {
        // SAFETY: as for this function.
        unsafe {
            let mut lines = [_mm512_setzero_si512(); T];
            for t in 0..T {
                let line = keys.as_ptr().add(t * TILE_SLOTS * head_dim + pair * 2 * TILE_SLOTS);
                if PREFETCH {
                    prefetch(line.wrapping_add(BLOCK_POSITIONS * head_dim));
                }
                lines[t] = _mm512_loadu_si512(line.cast());
            }
            for q in 0..Q {
                let query = broadcast_pair(queries.as_ptr().add(q * head_dim + 2 * pair));
                for t in 0..T {
                    sums[q][t] = add_products(sums[q][t], lines[t], query);
                }
            }
        }
    }
    for q in 0..Q {
        for t in 0..T {
            // SAFETY: a row of `out` has room for the tiles.
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().add(q * stride + t * TILE_SLOTS).cast(), sums[q][t])
            };
        }
    }
}

pub(super) fn weighted_values(block: &WeighedBlock, out: &mut [i32]) {
    let head_dim = block.head_dim;
    let n_queries = out.len() / head_dim;
    assert!(block.values.len() >= block.n_slots * head_dim, "values of a block");
    assert!(block.weights.len() >= n_queries * block.stride && block.stride >= block.n_slots, "weights");
    let n_lines = head_dim.div_ceil(LINE_DIMS);
    for line in (0..n_lines).step_by(VALUE_LINES) {
        for first in (0..n_queries).step_by(VALUE_QUERIES) {
            // SAFETY: the table exists only once its features were detected; the lengths were checked.
            unsafe {
                if first == 0 {
                    value_queries::<true>(block, first, n_queries, line, out);
                } else {
                    value_queries::<false>(block, first, n_queries, line, out);
                }
            }
        }
    }
}

/// # Safety
/// As for [`value_tile`], with up to 6 of the queries after `first`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn value_queries<const PREFETCH: bool>(
    block: &WeighedBlock,
    first: usize,
    n_queries: usize,
    line: usize,
    out: &mut [i32],
) {
    // SAFETY: as for this function.
    unsafe {
        match n_queries - first {
            1 => value_tile::<1, PREFETCH>(block, first, line, out),
            2 => value_tile::<2, PREFETCH>(block, first, line, out),
            3 => value_tile::<3, PREFETCH>(block, first, line, out),
            4 => value_tile::<4, PREFETCH>(block, first, line, out),
            5 => value_tile::<5, PREFETCH>(block, first, line, out),
            _ => value_tile::<6, PREFETCH>(block, first, line, out),
        }
    }
}

/// Sums of `Q` queries from `first` on, over up to four lines of dimensions from `line` on.
///
/// # Safety
/// The features below, and lengths as `weighted_values` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn value_tile<const Q: usize, const PREFETCH: bool>(
    block: &WeighedBlock,
    first: usize,
    line: usize,
    out: &mut [i32],
) {
    let head_dim = block.head_dim;
    // Dimensions past the head's end are masked off.
    let masks: [__mmask16; VALUE_LINES] = std::array::from_fn(|l| {
        let left = head_dim.saturating_sub((line + l) * LINE_DIMS).min(LINE_DIMS);
        ((1u32 << left) - 1) as u16
    });
    let mut sums = [[_mm512_setzero_si512(); VALUE_LINES]; Q];
    for pair in 0..block.n_slots / 2 {
        // SAFETY: as for this function; masked-off lanes are not read.
        unsafe {
            let row = block.values.as_ptr().add(pair * 2 * head_dim);
            let mut values = [_mm512_setzero_si512(); VALUE_LINES];
            for l in 0..VALUE_LINES {
                let line = row.wrapping_add((line + l) * 2 * LINE_DIMS);
                if PREFETCH {
                    prefetch(line.wrapping_add(BLOCK_POSITIONS * head_dim));
                }
                values[l] = _mm512_maskz_loadu_epi32(masks[l], line.cast());
            }
            for q in 0..Q {
                let at = (first + q) * block.stride + 2 * pair;
                let weights = broadcast_pair(block.weights.as_ptr().add(at));
                for l in 0..VALUE_LINES {
                    sums[q][l] = add_products(sums[q][l], values[l], weights);
                }
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for l in 0..VALUE_LINES {
            let at = (first + q) * head_dim + (line + l) * LINE_DIMS;
            // SAFETY: masked-off lanes are not written.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr().wrapping_add(at), masks[l], sums[l]) };
        }
    }
}
