//! 16 quantized rows times a tile of int8 columns.
//!
//! ```text
//! for each run of blocks with one activation scale:  s = 0
//!     for each block:  s = fma(Σ code·x, scale, s)      (twice, if its halves have scales of their own)
//!                      s = fma(−min, Σ x, s)            (if the format has minima)
//!     total = fma(s, activation scale, total)
//! ```
//! The integer sums are exact, so only the order of these float steps matters.

use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, Format, GROUP_ROWS, with_format};
use crate::product::TileOut;

pub(crate) fn int8_tile(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    with_format!(block_type, F => tile::<F>(group, n_units, x, out), unreachable!("quantized types only"));
}

fn tile<F: Format>(group: &[u8], n_units: usize, x: &Int8Tile, out: &mut TileOut) {
    for (column, out) in out.iter_mut().enumerate().take(x.width) {
        *out = [0.0; GROUP_ROWS];
        for (row, total) in out.iter_mut().enumerate() {
            for unit in 0..n_units {
                let lines = &group[unit * F::UNIT_BYTES..][..F::UNIT_BYTES];
                let mut sum = 0.0;
                for block in 0..F::BLOCKS {
                    let at = (unit * F::BLOCKS + block) * x.width + column;
                    let weights = F::row_block(lines, block, row);
                    let codes = &x.codes[at * BLOCK_COLS..][..BLOCK_COLS];
                    let dot = |range: std::ops::Range<usize>| {
                        range.map(|i| i32::from(weights.codes[i]) * i32::from(codes[i])).sum::<i32>() as f32
                    };
                    if F::HAS_HALF_SCALES {
                        sum = dot(0..16).mul_add(weights.scales[0], sum);
                        sum = dot(16..32).mul_add(weights.scales[1], sum);
                    } else {
                        sum = dot(0..32).mul_add(weights.scales[0], sum);
                    }
                    if F::HAS_MINS {
                        sum = (-weights.min).mul_add(x.sums[at], sum);
                    }
                    if (block + 1).is_multiple_of(F::SCALE_BLOCKS) {
                        let i = (unit * F::BLOCKS + block) / F::SCALE_BLOCKS;
                        *total = sum.mul_add(x.scales[i * x.width + column], *total);
                        sum = 0.0;
                    }
                }
            }
        }
    }
}
