//! The two integer products of attention: `vpdpwssd`, 32 products an instruction.

use crate::attention::{TILE_SLOTS, WeighedBlock};
use std::arch::x86_64::*;

/// Queries whose sums stay in registers while a tile of keys is read.
const KEY_QUERIES: usize = 12;
/// Queries and registers of values whose sums stay in registers.
const VALUE_QUERIES: usize = 6;
const VALUE_LINES: usize = 4;
/// Dimensions in a register of values: two slots each.
const LINE_DIMS: usize = 16;

pub(super) fn key_products(keys: &[i16], queries: &[i16], head_dim: usize, out: &mut [i32], stride: usize) {
    assert!(keys.len() >= TILE_SLOTS * head_dim, "keys of a tile");
    let n_queries = queries.len() / head_dim;
    assert!(n_queries == 0 || out.len() >= (n_queries - 1) * stride + TILE_SLOTS, "room for the products");
    for first in (0..n_queries).step_by(KEY_QUERIES) {
        let queries = &queries[first * head_dim..];
        let out = &mut out[first * stride..];
        // SAFETY: the table exists only once its features were detected; the lengths were checked.
        unsafe {
            match (n_queries - first).min(KEY_QUERIES) {
                1 => key_tile::<1>(keys, queries, head_dim, out, stride),
                2 => key_tile::<2>(keys, queries, head_dim, out, stride),
                3 => key_tile::<3>(keys, queries, head_dim, out, stride),
                4 => key_tile::<4>(keys, queries, head_dim, out, stride),
                5 => key_tile::<5>(keys, queries, head_dim, out, stride),
                6 => key_tile::<6>(keys, queries, head_dim, out, stride),
                7 => key_tile::<7>(keys, queries, head_dim, out, stride),
                8 => key_tile::<8>(keys, queries, head_dim, out, stride),
                9 => key_tile::<9>(keys, queries, head_dim, out, stride),
                10 => key_tile::<10>(keys, queries, head_dim, out, stride),
                11 => key_tile::<11>(keys, queries, head_dim, out, stride),
                _ => key_tile::<12>(keys, queries, head_dim, out, stride),
            }
        }
    }
}

/// # Safety
/// The features below, a tile of keys, and `Q` queries and rows of `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn key_tile<const Q: usize>(
    keys: &[i16],
    queries: &[i16],
    head_dim: usize,
    out: &mut [i32],
    stride: usize,
) {
    let mut sums = [_mm512_setzero_si512(); Q];
    for pair in 0..head_dim / 2 {
        // SAFETY: as for this function.
        unsafe {
            let keys = _mm512_loadu_si512(keys.as_ptr().add(pair * 2 * TILE_SLOTS).cast());
            for q in 0..Q {
                let query = queries.as_ptr().add(q * head_dim + 2 * pair).cast::<i32>().read_unaligned();
                sums[q] = _mm512_dpwssd_epi32(sums[q], keys, _mm512_set1_epi32(query));
            }
        }
    }
    for q in 0..Q {
        // SAFETY: a row of `out` has room for a tile.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(q * stride).cast(), sums[q]) };
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
                match (n_queries - first).min(VALUE_QUERIES) {
                    1 => value_tile::<1>(block, first, line, out),
                    2 => value_tile::<2>(block, first, line, out),
                    3 => value_tile::<3>(block, first, line, out),
                    4 => value_tile::<4>(block, first, line, out),
                    5 => value_tile::<5>(block, first, line, out),
                    _ => value_tile::<6>(block, first, line, out),
                }
            }
        }
    }
}

/// Sums of `Q` queries from `first` on, over up to four lines of dimensions from `line` on.
///
/// # Safety
/// The features below, and lengths as `weighted_values` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn value_tile<const Q: usize>(block: &WeighedBlock, first: usize, line: usize, out: &mut [i32]) {
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
            let row = block.values.as_ptr().add(pair * 2 * head_dim).cast::<i32>();
            let values: [__m512i; VALUE_LINES] = std::array::from_fn(|l| {
                _mm512_maskz_loadu_epi32(masks[l], row.wrapping_add((line + l) * LINE_DIMS))
            });
            for q in 0..Q {
                let weights = block.weights.as_ptr().add((first + q) * block.stride + 2 * pair);
                let weights = _mm512_set1_epi32(weights.cast::<i32>().read_unaligned());
                for l in 0..VALUE_LINES {
                    sums[q][l] = _mm512_dpwssd_epi32(sums[q][l], values[l], weights);
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
