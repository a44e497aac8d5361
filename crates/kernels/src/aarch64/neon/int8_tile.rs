//! 16 quantized rows times a tile of int8 columns.
//!
//! A register holds the codes of 4 rows × 4 columns. `smlal` multiplies half of it with 4 broadcast
//! activations and adds the products up in 16 bits: all of a block's for codes of up to six bits, two for
//! those of eight. `sadalp` widens them in pairs, and one `addp` at the block's end adds the pairs.

use crate::BlockType;
use crate::aarch64::int8_tile::{self, Dots};
use crate::aarch64::unpack::Unpack;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, Format, with_format};
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
    with_format!(block_type, F => {
        assert!(group.len() >= n_units * F::UNIT_BYTES, "units of a group");
        assert!(x.codes.len() >= n_units * F::UNIT_COLS * x.width, "columns of a tile");
        for first in (0..x.width).step_by(AT_ONCE) {
            // Quads × columns are at most 4: with twice as many 16-bit and 32-bit sums and as many float
            // ones they stay in the 32 registers.
            // SAFETY: NEON is part of the target, and the lengths were checked.
            unsafe {
                match (x.width - first).min(AT_ONCE) {
                    1 => tile::<F, 1, 4>(group, n_units, x, first, out),
                    2 => tile::<F, 2, 2>(group, n_units, x, first, out),
                    3 => tile::<F, 3, 1>(group, n_units, x, first, out),
                    _ => tile::<F, 4, 1>(group, n_units, x, first, out),
                }
            }
        }
    }, unreachable!("quantized types only"));
}

/// # Safety
/// As for the shared walk.
#[inline(never)]
unsafe fn tile<F: Unpack, const C: usize, const Q: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    first: usize,
    out: &mut TileOut,
) {
    // SAFETY: as for this function.
    unsafe { int8_tile::tile::<F, Smlal<C, Q>, C, Q>(group, n_units, x, first, out) };
}

/// Of each quad's four rows, two are in the first register and two in the second.
struct Smlal<const C: usize, const Q: usize> {
    /// Four numbers a row, not yet in `pairs`.
    products: [[[int16x8_t; 2]; C]; Q],
    /// Two numbers a row.
    pairs: [[[int32x4_t; 2]; C]; Q],
}

impl<const C: usize, const Q: usize> Dots<C, Q> for Smlal<C, Q> {
    #[inline(always)]
    fn new() -> Self {
        // SAFETY: NEON is part of the target.
        let (products, pairs) = unsafe { (vdupq_n_s16(0), vdupq_n_s32(0)) };
        Self { products: [[[products; 2]; C]; Q], pairs: [[[pairs; 2]; C]; Q] }
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
            self.add_four::<F, ODD>(lines, quad, pair, 4 * half, x);
            self.add_four::<F, ODD>(lines, quad, pair, 4 * half + 1, x.add(4));
            if F::I16_PRODUCTS == 2 {
                self.widen();
            }
            self.add_four::<F, ODD>(lines, quad, pair, 4 * half + 2, x.add(8));
            self.add_four::<F, ODD>(lines, quad, pair, 4 * half + 3, x.add(12));
            if F::I16_PRODUCTS == 2 {
                self.widen();
            }
        }
    }

    #[inline(always)]
    unsafe fn sums(mut self) -> [[int32x4_t; C]; Q] {
        // SAFETY: as for the trait.
        unsafe {
            self.widen();
            self.pairs.map(|pairs| pairs.map(|[low, high]| vpaddq_s32(low, high)))
        }
    }
}

impl<const C: usize, const Q: usize> Smlal<C, Q> {
    /// Adds the products of columns `4i … 4i+3` with 4 activations of each column, from `x` on.
    ///
    /// # Safety
    /// As for `add_half`.
    #[inline(always)]
    unsafe fn add_four<F: Unpack, const ODD: usize>(
        &mut self,
        lines: *const u8,
        quad: usize,
        pair: usize,
        i: usize,
        x: *const i8,
    ) {
        // SAFETY: as for this function.
        unsafe {
            let x: [int8x16_t; C] = std::array::from_fn(|c| {
                let four = x.add(c * BLOCK_COLS).cast::<i32>().read_unaligned();
                vreinterpretq_s8_s32(vdupq_n_s32(four))
            });
            for q in 0..Q {
                let weights = F::codes::<ODD>(lines, quad + q, pair, i);
                for c in 0..C {
                    let [low, high] = &mut self.products[q][c];
                    *low = vmlal_s8(*low, vget_low_s8(weights), vget_low_s8(x[c]));
                    *high = vmlal_high_s8(*high, weights, x[c]);
                }
            }
        }
    }

    /// Moves all products to the pairs.
    ///
    /// # Safety
    /// NEON.
    #[inline(always)]
    unsafe fn widen(&mut self) {
        for q in 0..Q {
            for c in 0..C {
                for half in 0..2 {
                    // SAFETY: as for this function.
                    unsafe {
                        self.pairs[q][c][half] =
                            vpadalq_s16(self.pairs[q][c][half], self.products[q][c][half]);
                        self.products[q][c][half] = vdupq_n_s16(0);
                    }
                }
            }
        }
    }
}
