//! The two integer products of attention: `smlal` by lane, four products an instruction.
//!
//! Both have one shape: rows of 16 pairs, each pair times a pair of factors, added up over the rows. Keys:
//! a row is a pair of dimensions, 16 slots wide, the factors are a query. Values: a row is a pair of
//! slots, 16 dimensions wide, the factors are a query's weights.

use crate::attention::{TILE_SLOTS, WeighedBlock};
use std::arch::aarch64::*;

/// Pairs in a row of a tile.
const WIDTH: usize = 16;
/// Queries whose sums, four registers each, stay in the 32 there are.
const QUERIES: usize = 4;

/// Rows of `[WIDTH][2]` numbers, and factors `[n_queries][n_rows][2]`.
#[derive(Clone, Copy)]
struct Tile {
    rows: *const i16,
    row_stride: usize,
    n_rows: usize,
    factors: *const i16,
    factor_stride: usize,
}

pub(super) fn key_products(keys: &[i16], queries: &[i16], head_dim: usize, out: &mut [i32], stride: usize) {
    let n_queries = queries.len() / head_dim;
    let n_slots = keys.len() / head_dim;
    assert!(n_queries == 0 || out.len() >= (n_queries - 1) * stride + n_slots, "room for the products");
    for (i, keys) in keys.chunks_exact(TILE_SLOTS * head_dim).enumerate() {
        let tile = Tile {
            rows: keys.as_ptr(),
            row_stride: 2 * TILE_SLOTS,
            n_rows: head_dim / 2,
            factors: queries.as_ptr(),
            factor_stride: head_dim,
        };
        // SAFETY: the lengths were checked.
        unsafe { products(tile, n_queries, out.as_mut_ptr().add(i * TILE_SLOTS), stride) };
    }
}

pub(super) fn weighted_values(block: &WeighedBlock, out: &mut [i32]) {
    let head_dim = block.head_dim;
    let n_queries = out.len() / head_dim;
    assert!(block.values.len() >= block.n_slots * head_dim, "values of a block");
    assert!(block.weights.len() >= n_queries * block.stride && block.stride >= block.n_slots, "weights");
    let in_tiles = head_dim / WIDTH * WIDTH;
    for dim in (0..in_tiles).step_by(WIDTH) {
        // SAFETY: the lengths were checked.
        unsafe {
            let tile = Tile {
                rows: block.values.as_ptr().add(2 * dim),
                row_stride: 2 * head_dim,
                n_rows: block.n_slots / 2,
                factors: block.weights.as_ptr(),
                factor_stride: block.stride,
            };
            products(tile, n_queries, out.as_mut_ptr().add(dim), head_dim);
        }
    }
    // No model in use has a head that is not whole tiles.
    for (weights, out) in block.weights.chunks_exact(block.stride).zip(out.chunks_exact_mut(head_dim)) {
        for (dim, out) in out.iter_mut().enumerate().skip(in_tiles) {
            let rows = block.values.chunks_exact(2 * head_dim).map(|row| [row[2 * dim], row[2 * dim + 1]]);
            *out = rows
                .zip(weights[..block.n_slots].as_chunks::<2>().0)
                .map(|(values, weights)| {
                    i32::from(values[0]) * i32::from(weights[0])
                        + i32::from(values[1]) * i32::from(weights[1])
                })
                .sum();
        }
    }
}

/// `out[q][i] = Σ over rows of row[i] · factors[q]`.
///
/// # Safety
/// A tile with factors of `n_queries`; as many rows of `out`, `stride` apart.
unsafe fn products(tile: Tile, n_queries: usize, out: *mut i32, stride: usize) {
    for first in (0..n_queries).step_by(QUERIES) {
        // SAFETY: as for this function; NEON is part of the target.
        unsafe {
            let tile = Tile { factors: tile.factors.add(first * tile.factor_stride), ..tile };
            let out = out.add(first * stride);
            match (n_queries - first).min(QUERIES) {
                1 => product_tile::<1>(tile, out, stride),
                2 => product_tile::<2>(tile, out, stride),
                3 => product_tile::<3>(tile, out, stride),
                _ => product_tile::<4>(tile, out, stride),
            }
        }
    }
}

/// # Safety
/// As for `products`, with `Q` queries, and NEON.
#[target_feature(enable = "neon")]
unsafe fn product_tile<const Q: usize>(tile: Tile, out: *mut i32, stride: usize) {
    let mut sums = [[vdupq_n_s32(0); 4]; Q];
    let in_fours = tile.n_rows / 4 * 4;
    for row in (0..in_fours).step_by(4) {
        // SAFETY: as for this function.
        unsafe {
            let factors: [int16x8_t; Q] =
                std::array::from_fn(|q| vld1q_s16(tile.factors.add(q * tile.factor_stride + 2 * row)));
            add_row::<Q, 0, 1>(tile, row, &factors, &mut sums);
            add_row::<Q, 2, 3>(tile, row + 1, &factors, &mut sums);
            add_row::<Q, 4, 5>(tile, row + 2, &factors, &mut sums);
            add_row::<Q, 6, 7>(tile, row + 3, &factors, &mut sums);
        }
    }
    for row in in_fours..tile.n_rows {
        // SAFETY: as for this function.
        unsafe {
            let factors: [int16x8_t; Q] = std::array::from_fn(|q| {
                let pair = tile.factors.add(q * tile.factor_stride + 2 * row).cast::<i32>().read_unaligned();
                vreinterpretq_s16_s32(vdupq_n_s32(pair))
            });
            add_row::<Q, 0, 1>(tile, row, &factors, &mut sums);
        }
    }
    for q in 0..Q {
        for i in 0..4 {
            // SAFETY: a row of `out` has room for a tile.
            unsafe { vst1q_s32(out.add(q * stride + 4 * i), sums[q][i]) };
        }
    }
}

/// Adds row `row` times lanes `A` and `B` of each query's factors.
///
/// # Safety
/// As for `product_tile`.
#[inline(always)]
unsafe fn add_row<const Q: usize, const A: i32, const B: i32>(
    tile: Tile,
    row: usize,
    factors: &[int16x8_t; Q],
    sums: &mut [[int32x4_t; 4]; Q],
) {
    for half in 0..2 {
        // SAFETY: as for this function.
        unsafe {
            // Loads 8 pairs, their first and their second numbers apart.
            let int16x8x2_t(a, b) = vld2q_s16(tile.rows.add(row * tile.row_stride + WIDTH * half));
            for q in 0..Q {
                let [low, high] = [2 * half, 2 * half + 1];
                sums[q][low] = vmlal_laneq_s16::<A>(sums[q][low], vget_low_s16(a), factors[q]);
                sums[q][high] = vmlal_high_laneq_s16::<A>(sums[q][high], a, factors[q]);
                sums[q][low] = vmlal_laneq_s16::<B>(sums[q][low], vget_low_s16(b), factors[q]);
                sums[q][high] = vmlal_high_laneq_s16::<B>(sums[q][high], b, factors[q]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Head widths that are not whole tiles included.
        #[test]
        fn agrees_with_scalar(pairs in 1..68usize, n_queries in 1..10usize, n_tiles in 1..5usize, seed: u64) {
            let (head_dim, n_slots) = (2 * pairs, n_tiles * TILE_SLOTS);
            let mut state = seed;
            let mut codes = |n: usize| -> Vec<i16> {
                let next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small enough for the sums of any of these shapes.
                    (state >> 53) as i16 - 1024
                };
                std::iter::repeat_with(next).take(n).collect()
            };
            let (keys, queries) = (codes(n_slots * head_dim), codes(n_queries * head_dim));
            let stride = n_slots + 3;
            let mut found = vec![0; n_queries * stride];
            let mut wanted = found.clone();
            key_products(&keys, &queries, head_dim, &mut found, stride);
            scalar::key_products(&keys, &queries, head_dim, &mut wanted, stride);
            prop_assert_eq!(found, wanted);

            let stride = n_slots + 5;
            let (values, weights) = (codes(n_slots * head_dim), codes(n_queries * stride));
            let block = WeighedBlock { head_dim, n_slots, values: &values, weights: &weights, stride };
            let mut found = vec![0; n_queries * head_dim];
            let mut wanted = found.clone();
            weighted_values(&block, &mut found);
            scalar::weighted_values(&block, &mut wanted);
            prop_assert_eq!(found, wanted);
        }
    }
}
