//! The two integer products of attention: `vpmaddwd`, 16 products an instruction.

use crate::attention::{TILE_SLOTS, WeighedBlock};
use std::arch::x86_64::*;

/// Queries whose sums, two registers each, stay in the 16 there are.
const QUERIES: usize = 4;

pub(super) fn key_products(keys: &[i16], queries: &[i16], head_dim: usize, out: &mut [i32], stride: usize) {
    let n_queries = queries.len() / head_dim;
    let n_slots = keys.len() / head_dim;
    assert!(n_queries == 0 || out.len() >= (n_queries - 1) * stride + n_slots, "room for the products");
    let tiles = keys.chunks_exact(TILE_SLOTS * head_dim).enumerate();
    let groups = |tile| (0..n_queries).step_by(QUERIES).map(move |first| (tile, first));
    for ((tile, keys), first) in tiles.flat_map(groups) {
        let queries = &queries[first * head_dim..];
        let out = &mut out[first * stride + tile * TILE_SLOTS..];
        // SAFETY: the table exists only once its features were detected; the lengths were checked.
        unsafe {
            match (n_queries - first).min(QUERIES) {
                1 => key_tile::<1>(keys, queries, head_dim, out, stride),
                2 => key_tile::<2>(keys, queries, head_dim, out, stride),
                3 => key_tile::<3>(keys, queries, head_dim, out, stride),
                _ => key_tile::<4>(keys, queries, head_dim, out, stride),
            }
        }
    }
}

/// # Safety
/// AVX2, a tile of keys, and `Q` queries and rows of `out`.
#[target_feature(enable = "avx2")]
unsafe fn key_tile<const Q: usize>(
    keys: &[i16],
    queries: &[i16],
    head_dim: usize,
    out: &mut [i32],
    stride: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; Q];
    for pair in 0..head_dim / 2 {
        // SAFETY: as for this function.
        unsafe {
            let row = keys.as_ptr().add(pair * 2 * TILE_SLOTS);
            let keys = [_mm256_loadu_si256(row.cast()), _mm256_loadu_si256(row.add(16).cast())];
            for q in 0..Q {
                let query = queries.as_ptr().add(q * head_dim + 2 * pair).cast::<i32>().read_unaligned();
                let query = _mm256_set1_epi32(query);
                for half in 0..2 {
                    let products = _mm256_madd_epi16(keys[half], query);
                    sums[q][half] = _mm256_add_epi32(sums[q][half], products);
                }
            }
        }
    }
    for q in 0..Q {
        for half in 0..2 {
            // SAFETY: a row of `out` has room for a tile.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(q * stride + 8 * half).cast(), sums[q][half]) };
        }
    }
}

pub(super) fn weighted_values(block: &WeighedBlock, out: &mut [i32]) {
    let head_dim = block.head_dim;
    let n_queries = out.len() / head_dim;
    assert!(block.values.len() >= block.n_slots * head_dim, "values of a block");
    assert!(block.weights.len() >= n_queries * block.stride && block.stride >= block.n_slots, "weights");
    for dim in (0..head_dim).step_by(16) {
        for first in (0..n_queries).step_by(QUERIES) {
            // SAFETY: the table exists only once its features were detected; the lengths were checked.
            unsafe {
                match (n_queries - first).min(QUERIES) {
                    1 => value_tile::<1>(block, first, dim, out),
                    2 => value_tile::<2>(block, first, dim, out),
                    3 => value_tile::<3>(block, first, dim, out),
                    _ => value_tile::<4>(block, first, dim, out),
                }
            }
        }
    }
}

/// Sums of `Q` queries from `first` on, over up to 16 dimensions from `dim` on.
///
/// # Safety
/// AVX2, and lengths as `weighted_values` checks them.
#[target_feature(enable = "avx2")]
unsafe fn value_tile<const Q: usize>(block: &WeighedBlock, first: usize, dim: usize, out: &mut [i32]) {
    let head_dim = block.head_dim;
    // Dimensions past the head's end are masked off.
    let masks = [dims_left(head_dim, dim), dims_left(head_dim, dim + 8)];
    let mut sums = [[_mm256_setzero_si256(); 2]; Q];
    for pair in 0..block.n_slots / 2 {
        // SAFETY: as for this function; masked-off lanes are not read.
        unsafe {
            let row = block.values.as_ptr().add(pair * 2 * head_dim).cast::<i32>().add(dim);
            let values =
                [_mm256_maskload_epi32(row, masks[0]), _mm256_maskload_epi32(row.wrapping_add(8), masks[1])];
            for q in 0..Q {
                let weights = block.weights.as_ptr().add((first + q) * block.stride + 2 * pair);
                let weights = _mm256_set1_epi32(weights.cast::<i32>().read_unaligned());
                for half in 0..2 {
                    let products = _mm256_madd_epi16(values[half], weights);
                    sums[q][half] = _mm256_add_epi32(sums[q][half], products);
                }
            }
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        for half in 0..2 {
            let at = (first + q) * head_dim + dim + 8 * half;
            // SAFETY: masked-off lanes are not written.
            unsafe { _mm256_maskstore_epi32(out.as_mut_ptr().wrapping_add(at), masks[half], sums[half]) };
        }
    }
}

/// A mask of those of the 8 dimensions from `dim` on that lie within the head.
#[inline]
#[target_feature(enable = "avx2")]
fn dims_left(head_dim: usize, dim: usize) -> __m256i {
    let left = head_dim.saturating_sub(dim).min(8) as i32;
    _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}
