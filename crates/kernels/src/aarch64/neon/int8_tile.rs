//! 16 quantized rows times a tile of int8 columns; `scalar/int8_tile.rs` has the formula.
//!
//! A register holds the codes of 4 rows × 4 columns. `smlal` multiplies half of it with 4 broadcast
//! activations and adds the products up in 16 bits: all of a block's for codes of up to six bits, two for
//! those of eight. `sadalp` widens them in pairs, and one `addp` at the block's end adds the pairs.

use super::super::unpack::{QUAD_ROWS, QUADS, Unpack};
use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, with_format};
use crate::product::TileOut;
use std::arch::aarch64::*;

/// Columns of the tile that one walk over the weights takes.
const AT_ONCE: usize = 4;

pub(super) fn int8_tile(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    use crate::formats::Format;
    with_format!(block_type, F => {
        assert!(group.len() >= n_units * F::UNIT_BYTES, "units of a group");
        assert!(x.codes.len() >= n_units * F::UNIT_COLS * x.width, "columns of a tile");
        for first in (0..x.width).step_by(AT_ONCE) {
            // Quads × columns are at most 8: twice as many 16-bit sums and as many float ones stay in
            // the 32 registers.
            // SAFETY: the lengths were checked.
            unsafe {
                match (x.width - first).min(AT_ONCE) {
                    1 => tile::<F, 1, 4>(group, n_units, x, first, out),
                    2 => tile::<F, 2, 4>(group, n_units, x, first, out),
                    3 => tile::<F, 3, 2>(group, n_units, x, first, out),
                    _ => tile::<F, 4, 2>(group, n_units, x, first, out),
                }
            }
        }
    }, unreachable!("quantized types only"));
}

/// Columns `first … first + C` of the tile, `Q` quads of rows at once.
///
/// # Safety
/// NEON, and slices of the lengths that `int8_tile` checks.
#[target_feature(enable = "neon")]
unsafe fn tile<F: Unpack, const C: usize, const Q: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    first: usize,
    out: &mut TileOut,
) {
    let zero = vdupq_n_f32(0.0);
    let mut totals = [[zero; C]; QUADS];
    let (mut scales, mut neg_mins) = ([[zero; 16]; Q], [[zero; 8]; Q]);
    for unit in 0..n_units {
        for quad in (0..QUADS).step_by(Q) {
            // SAFETY: all addresses below lie in `group` and in the tile, whose lengths were checked.
            unsafe {
                let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
                for q in 0..Q {
                    F::scales(lines, quad + q, &mut scales[q], &mut neg_mins[q]);
                }
                let mut sums = [[zero; C]; Q];
                for pair in 0..F::BLOCKS / 2 {
                    let at = (unit * F::BLOCKS + 2 * pair) * x.width + first;
                    add_block::<F, C, Q, 0>(lines, quad, pair, x, at, &scales, &neg_mins, &mut sums);
                    let at = at + x.width;
                    add_block::<F, C, Q, 1>(lines, quad, pair, x, at, &scales, &neg_mins, &mut sums);
                }
                for c in 0..C {
                    let scale = *x.scales.as_ptr().add(unit * x.width + first + c);
                    for q in 0..Q {
                        totals[quad + q][c] = vfmaq_n_f32(totals[quad + q][c], sums[q][c], scale);
                    }
                }
            }
        }
    }
    for c in 0..C {
        for quad in 0..QUADS {
            // SAFETY: a column of `out` is 16 numbers.
            unsafe { vst1q_f32(out[first + c].as_mut_ptr().add(QUAD_ROWS * quad), totals[quad][c]) };
        }
    }
}

/// Adds block `2·pair + ODD` of a unit, rows from `quad` on; `at` is its place in the tile, in columns.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_block<F: Unpack, const C: usize, const Q: usize, const ODD: usize>(
    lines: *const u8,
    quad: usize,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    scales: &[[float32x4_t; 16]; Q],
    neg_mins: &[[float32x4_t; 8]; Q],
    sums: &mut [[float32x4_t; C]; Q],
) {
    let parts = if F::HAS_HALF_SCALES { 2 } else { 1 };
    // SAFETY: as for this function.
    unsafe {
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        for part in 0..parts {
            let columns = part * 8 / parts..(part + 1) * 8 / parts;
            let dots = dots::<F, C, Q, ODD>(lines, quad, pair, codes, columns);
            for q in 0..Q {
                let scale = scales[q][(2 * pair + ODD) * parts + part];
                for c in 0..C {
                    sums[q][c] = vfmaq_f32(sums[q][c], vcvtq_f32_s32(dots[q][c]), scale);
                }
            }
        }
        if F::HAS_MINS {
            for c in 0..C {
                let sum = *x.sums.as_ptr().add(at + c);
                for q in 0..Q {
                    sums[q][c] = vfmaq_n_f32(sums[q][c], neg_mins[q][2 * pair + ODD], sum);
                }
            }
        }
    }
}

/// Dot products over `columns`, in fours, with the activations at `x`.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn dots<F: Unpack, const C: usize, const Q: usize, const ODD: usize>(
    lines: *const u8,
    quad: usize,
    pair: usize,
    x: *const i8,
    columns: std::ops::Range<usize>,
) -> [[int32x4_t; C]; Q] {
    // SAFETY: as for this function.
    unsafe {
        // Two numbers a row: rows 0 and 1 of the quad, rows 2 and 3.
        let mut pairs = [[[vdupq_n_s32(0); 2]; C]; Q];
        let mut start = columns.start;
        while start < columns.end {
            let mut products = [[[vdupq_n_s16(0); 2]; C]; Q];
            for i in start..columns.end.min(start + F::I16_PRODUCTS) {
                let x: [int8x16_t; C] = std::array::from_fn(|c| {
                    let four = x.add(c * BLOCK_COLS + 4 * i).cast::<i32>().read_unaligned();
                    vreinterpretq_s8_s32(vdupq_n_s32(four))
                });
                for q in 0..Q {
                    let weights = F::codes::<ODD>(lines, quad + q, pair, i);
                    for c in 0..C {
                        let [low, high] = &mut products[q][c];
                        *low = vmlal_s8(*low, vget_low_s8(weights), vget_low_s8(x[c]));
                        *high = vmlal_high_s8(*high, weights, x[c]);
                    }
                }
            }
            for q in 0..Q {
                for c in 0..C {
                    for half in 0..2 {
                        pairs[q][c][half] = vpadalq_s16(pairs[q][c][half], products[q][c][half]);
                    }
                }
            }
            start += F::I16_PRODUCTS;
        }
        pairs.map(|pairs| pairs.map(|[low, high]| vpaddq_s32(low, high)))
    }
}
