//! 16 dense rows times a tile of f32 columns; `scalar/dense_tile.rs` has the formula.

use crate::BlockType;
use crate::aarch64::int8_tile::{QUAD_ROWS, QUADS};
use crate::aarch64::unpack::widen_f16;
use crate::activations::DenseTile;
use crate::formats::GROUP_ROWS;
use crate::product::TileOut;
use std::arch::aarch64::*;

/// Columns of the tile that one walk over the weights takes.
const AT_ONCE: usize = 4;
/// Running sums of one result.
const SUMS: usize = 4;

pub(super) fn dense_tile(block_type: BlockType, group: &[u8], x: &DenseTile, out: &mut TileOut) {
    let n_cols = x.values.len() / x.width.max(1);
    assert!(group.len() >= n_cols * GROUP_ROWS * block_type.block_bytes(), "columns of a group");
    for first in (0..x.width).step_by(AT_ONCE) {
        // Quads × columns are at most 4, with four sums each: half of the 32 registers.
        // SAFETY: the lengths were checked.
        unsafe {
            match (x.width - first).min(AT_ONCE) {
                1 => tile::<1, 4>(block_type, group, n_cols, x, first, out),
                2 => tile::<2, 2>(block_type, group, n_cols, x, first, out),
                3 => tile::<3, 1>(block_type, group, n_cols, x, first, out),
                _ => tile::<4, 1>(block_type, group, n_cols, x, first, out),
            }
        }
    }
}

/// Columns `first … first + C` of the tile, `Q` quads of rows at once.
///
/// # Safety
/// NEON, `n_cols` columns in `group` and in `x`.
#[target_feature(enable = "neon")]
unsafe fn tile<const C: usize, const Q: usize>(
    block_type: BlockType,
    group: &[u8],
    n_cols: usize,
    x: &DenseTile,
    first: usize,
    out: &mut TileOut,
) {
    for quad in (0..QUADS).step_by(Q) {
        let mut sums = [[[vdupq_n_f32(0.0); C]; Q]; SUMS];
        for start in (0..n_cols).step_by(SUMS) {
            for (i, sums) in (start..).zip(&mut sums) {
                if i < n_cols {
                    // SAFETY: as for this function.
                    unsafe {
                        let x = x.values.as_ptr().add(i * x.width + first);
                        add_column(block_type, group.as_ptr(), i, quad, x, sums);
                    }
                }
            }
        }
        for q in 0..Q {
            for c in 0..C {
                let total = vaddq_f32(
                    vaddq_f32(sums[0][q][c], sums[1][q][c]),
                    vaddq_f32(sums[2][q][c], sums[3][q][c]),
                );
                // SAFETY: a column of `out` is 16 numbers.
                unsafe { vst1q_f32(out[first + c].as_mut_ptr().add(QUAD_ROWS * (quad + q)), total) };
            }
        }
    }
}

/// Adds the products of column `i` of the weights, rows from `quad` on, with `C` numbers at `x`.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_column<const C: usize, const Q: usize>(
    block_type: BlockType,
    group: *const u8,
    i: usize,
    quad: usize,
    x: *const f32,
    sums: &mut [[float32x4_t; C]; Q],
) {
    for q in 0..Q {
        let at = GROUP_ROWS * i + QUAD_ROWS * (quad + q);
        // SAFETY: as for this function.
        unsafe {
            let weights = match block_type {
                BlockType::F32 => vld1q_f32(group.cast::<f32>().add(at)),
                BlockType::F16 => widen_f16(vld1_u16(group.cast::<u16>().add(at))),
                _ => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(group.cast::<u16>().add(at)))),
            };
            for c in 0..C {
                sums[q][c] = vfmaq_n_f32(sums[q][c], weights, *x.add(c));
            }
        }
    }
}
