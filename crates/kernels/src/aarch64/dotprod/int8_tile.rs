//! 16 quantized rows times a tile of int8 columns; `scalar/int8_tile.rs` has the formula.
//!
//! A register holds the codes of 4 rows × 4 columns; `sdot` multiplies it with 4 activations, picked from
//! a register of 16 by lane, and adds each row's four products to its lane of the sum.

use super::super::unpack::{QUAD_ROWS, QUADS, Unpack};
use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, with_format};
use crate::product::TileOut;
use std::arch::aarch64::*;
use std::arch::asm;

/// Columns of the tile that one walk over the weights takes.
const AT_ONCE: usize = 8;

pub(in super::super) fn int8_tile(
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
            // Quads × columns are at most 8: as many integer and as many float sums stay in registers,
            // and what is left of the 32 is for weights and activations.
            // SAFETY: the table exists only once its features were detected, and the lengths were checked.
            unsafe {
                match (x.width - first).min(AT_ONCE) {
                    1 => tile::<F, 1, 4>(group, n_units, x, first, out),
                    2 => tile::<F, 2, 4>(group, n_units, x, first, out),
                    3 => tile::<F, 3, 2>(group, n_units, x, first, out),
                    4 => tile::<F, 4, 2>(group, n_units, x, first, out),
                    5 => tile::<F, 5, 1>(group, n_units, x, first, out),
                    6 => tile::<F, 6, 1>(group, n_units, x, first, out),
                    7 => tile::<F, 7, 1>(group, n_units, x, first, out),
                    _ => tile::<F, 8, 1>(group, n_units, x, first, out),
                }
            }
        }
    }, unreachable!("quantized types only"));
}

/// Columns `first … first + C` of the tile, `Q` quads of rows at once.
///
/// # Safety
/// The features below, and slices of the lengths that `int8_tile` checks.
#[target_feature(enable = "neon,dotprod")]
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
            let mut dots = [[vdupq_n_s32(0); C]; Q];
            for half in part..part + 3 - parts {
                let x: [int8x16_t; C] =
                    std::array::from_fn(|c| vld1q_s8(codes.add(c * BLOCK_COLS + 16 * half)));
                add_line::<F, C, Q, ODD, 0>(lines, quad, pair, half, &x, &mut dots);
                add_line::<F, C, Q, ODD, 1>(lines, quad, pair, half, &x, &mut dots);
                add_line::<F, C, Q, ODD, 2>(lines, quad, pair, half, &x, &mut dots);
                add_line::<F, C, Q, ODD, 3>(lines, quad, pair, half, &x, &mut dots);
            }
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

/// Adds the products of 4 columns, with `LANE` of the activations of 16.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_line<F: Unpack, const C: usize, const Q: usize, const ODD: usize, const LANE: usize>(
    lines: *const u8,
    quad: usize,
    pair: usize,
    half: usize,
    x: &[int8x16_t; C],
    dots: &mut [[int32x4_t; C]; Q],
) {
    for q in 0..Q {
        // SAFETY: as for this function.
        unsafe {
            let weights = F::codes::<ODD>(lines, quad + q, pair, 4 * half + LANE);
            for c in 0..C {
                dots[q][c] = sdot::<LANE>(dots[q][c], weights, x[c]);
            }
        }
    }
}

/// Adds to each lane of `sum` the four products of its dword of `a` with dword `LANE` of `b`. The
/// intrinsic is not stable yet.
///
/// # Safety
/// The dot product extension.
#[inline(always)]
unsafe fn sdot<const LANE: usize>(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is there, and touches nothing but its operands.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
