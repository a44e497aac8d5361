//! The walk over units, quads of rows and blocks that both tables share; `scalar/int8_tile.rs` has the
//! formula. The tables differ in the integer dot product of a block, their [`Dots`].

use super::unpack::Unpack;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, GROUP_ROWS};
use crate::product::TileOut;
use std::arch::aarch64::*;

/// Rows in a register: a quarter of a group.
pub(super) const QUAD_ROWS: usize = 4;
/// Registers of a line.
pub(super) const QUADS: usize = GROUP_ROWS / QUAD_ROWS;

/// Dot products of `Q` quads of rows with `C` columns, in the making.
pub(super) trait Dots<const C: usize, const Q: usize> {
    /// Nothing added up yet.
    fn new() -> Self;

    /// Adds the products of half `half` of block `2·pair + ODD`, rows from `quad` on, with 16
    /// activations of each column: those of the first at `x`, the next ones a block further each.
    ///
    /// # Safety
    /// The table's features, a whole unit at `lines`, and the activations.
    unsafe fn add_half<F: Unpack, const ODD: usize>(
        &mut self,
        lines: *const u8,
        quad: usize,
        pair: usize,
        half: usize,
        x: *const i8,
    );

    /// The sums, one lane a row.
    ///
    /// # Safety
    /// The table's features.
    unsafe fn sums(self) -> [[int32x4_t; C]; Q];
}

/// Numbers of `Q` quads of rows, as [`Unpack::scales`] gives them.
struct Scales<const Q: usize> {
    scales: [[float32x4_t; 16]; Q],
    neg_mins: [[float32x4_t; 8]; Q],
}

/// Columns `first … first + C` of the tile, `Q` quads of rows at once.
///
/// # Safety
/// The table's features, `n_units` units in `group` and in `x`, and as many columns in `x` and in `out`.
#[inline(always)]
pub(super) unsafe fn tile<F: Unpack, D: Dots<C, Q>, const C: usize, const Q: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    first: usize,
    out: &mut TileOut,
) {
    // SAFETY: all addresses lie in `group`, in the tile and in `out`, as the caller sees to.
    unsafe {
        let zero = vdupq_n_f32(0.0);
        let mut totals = [[zero; C]; QUADS];
        let mut scales = Scales { scales: [[zero; 16]; Q], neg_mins: [[zero; 8]; Q] };
        for unit in 0..n_units {
            let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
            for quad in (0..QUADS).step_by(Q) {
                for q in 0..Q {
                    F::scales(lines, quad + q, &mut scales.scales[q], &mut scales.neg_mins[q]);
                }
                let mut sums = [[zero; C]; Q];
                for pair in 0..F::BLOCKS / 2 {
                    let at = (unit * F::BLOCKS + 2 * pair) * x.width + first;
                    add_block::<F, D, C, Q, 0>(lines, quad, pair, x, at, &scales, &mut sums);
                    if F::SCALE_BLOCKS == 1 {
                        fold(&mut totals[quad..], &mut sums, x, at);
                    }
                    let at = at + x.width;
                    add_block::<F, D, C, Q, 1>(lines, quad, pair, x, at, &scales, &mut sums);
                    if F::SCALE_BLOCKS == 1 {
                        fold(&mut totals[quad..], &mut sums, x, at);
                    }
                }
                if F::SCALE_BLOCKS > 1 {
                    fold(&mut totals[quad..], &mut sums, x, unit * x.width + first);
                }
            }
        }
        for c in 0..C {
            for quad in 0..QUADS {
                vst1q_f32(out[first + c].as_mut_ptr().add(QUAD_ROWS * quad), totals[quad][c]);
            }
        }
    }
}

/// Adds the sums of a run of blocks times its activation scales, from number `at` on, and starts them anew.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn fold<const C: usize, const Q: usize>(
    totals: &mut [[float32x4_t; C]],
    sums: &mut [[float32x4_t; C]; Q],
    x: &Int8Tile,
    at: usize,
) {
    for (totals, sums) in totals.iter_mut().zip(sums) {
        for c in 0..C {
            // SAFETY: as for this function.
            unsafe {
                totals[c] = vfmaq_n_f32(totals[c], sums[c], *x.scales.as_ptr().add(at + c));
                sums[c] = vdupq_n_f32(0.0);
            }
        }
    }
}

/// Adds block `2·pair + ODD` of a unit, rows from `quad` on; `at` is its place in the tile, in columns.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_block<F: Unpack, D: Dots<C, Q>, const C: usize, const Q: usize, const ODD: usize>(
    lines: *const u8,
    quad: usize,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    scales: &Scales<Q>,
    sums: &mut [[float32x4_t; C]; Q],
) {
    let block = 2 * pair + ODD;
    // SAFETY: as for this function.
    unsafe {
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        // Written out, not a loop: each half's lines are then known when this is compiled.
        let mut dots = D::new();
        dots.add_half::<F, ODD>(lines, quad, pair, 0, codes);
        if F::HAS_HALF_SCALES {
            add_scaled(dots.sums(), scales, 2 * block, sums);
            dots = D::new();
        }
        dots.add_half::<F, ODD>(lines, quad, pair, 1, codes.add(BLOCK_COLS / 2));
        add_scaled(dots.sums(), scales, if F::HAS_HALF_SCALES { 2 * block + 1 } else { block }, sums);
        if F::HAS_MINS {
            for c in 0..C {
                let sum = *x.sums.as_ptr().add(at + c);
                for q in 0..Q {
                    sums[q][c] = vfmaq_n_f32(sums[q][c], scales.neg_mins[q][block], sum);
                }
            }
        }
    }
}

/// Adds dot products times scale `i` of their rows.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn add_scaled<const C: usize, const Q: usize>(
    dots: [[int32x4_t; C]; Q],
    scales: &Scales<Q>,
    i: usize,
    sums: &mut [[float32x4_t; C]; Q],
) {
    for q in 0..Q {
        for c in 0..C {
            // SAFETY: as for this function.
            unsafe { sums[q][c] = vfmaq_f32(sums[q][c], vcvtq_f32_s32(dots[q][c]), scales.scales[q][i]) };
        }
    }
}
