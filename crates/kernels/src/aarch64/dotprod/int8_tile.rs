//! 16 quantized rows times a tile of int8 columns.
//!
//! A register holds the codes of 4 rows × 4 columns; `sdot` multiplies it with 4 activations, picked from
//! a register of 16 by lane, and adds each row's four products to its lane of the sum.

use crate::BlockType;
use crate::aarch64::int8_tile::{self, Dots};
use crate::aarch64::unpack::Unpack;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, Format, with_format};
use crate::product::TileOut;
use std::arch::aarch64::*;
use std::arch::asm;

/// Columns of the tile that one walk over the weights takes.
const AT_ONCE: usize = 8;

pub(super) fn int8_tile(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
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

/// # Safety
/// The features below, and as for the shared walk.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<F: Unpack, const C: usize, const Q: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    first: usize,
    out: &mut TileOut,
) {
    // SAFETY: as for this function.
    unsafe { int8_tile::tile::<F, Sdot<C, Q>, C, Q>(group, n_units, x, first, out) };
}

struct Sdot<const C: usize, const Q: usize>([[int32x4_t; C]; Q]);

impl<const C: usize, const Q: usize> Dots<C, Q> for Sdot<C, Q> {
    #[inline(always)]
    fn new() -> Self {
        // SAFETY: NEON is part of the target.
        Self([[unsafe { vdupq_n_s32(0) }; C]; Q])
    }

    #[inline(always)]
    unsafe fn add_half<F: Unpack, const ODD: usize>(
        &mut self,
        lines: *const u8,
        quad: usize,
        pair: usize,
        half: usize,
        x: *const i8,
    ) {
        // SAFETY: as for the trait.
        unsafe {
            let x = std::array::from_fn(|c| vld1q_s8(x.add(c * BLOCK_COLS)));
            self.add_four::<F, ODD, 0>(lines, quad, pair, half, &x);
            self.add_four::<F, ODD, 1>(lines, quad, pair, half, &x);
            self.add_four::<F, ODD, 2>(lines, quad, pair, half, &x);
            self.add_four::<F, ODD, 3>(lines, quad, pair, half, &x);
        }
    }

    #[inline(always)]
    unsafe fn sums(self) -> [[int32x4_t; C]; Q] {
        self.0
    }
}

impl<const C: usize, const Q: usize> Sdot<C, Q> {
    /// Adds the products of 4 weights with dword `LANE` of each column's activations.
    ///
    /// # Safety
    /// As for `add_half`.
    #[inline(always)]
    unsafe fn add_four<F: Unpack, const ODD: usize, const LANE: usize>(
        &mut self,
        lines: *const u8,
        quad: usize,
        pair: usize,
        half: usize,
        x: &[int8x16_t; C],
    ) {
        for q in 0..Q {
            // SAFETY: as for this function.
            unsafe {
                let weights = F::codes::<ODD>(lines, quad + q, pair, 4 * half + LANE);
                for c in 0..C {
                    self.0[q][c] = sdot::<LANE>(self.0[q][c], weights, x[c]);
                }
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
