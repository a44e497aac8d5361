//! Q4_K: `weight = d · scale · code − dmin · min`, with 6-bit scales and minima per 32 columns.
//!
//! Unit: 256 columns in 36 lines, exactly the source's bytes: `d` and `dmin`; three lines with the 12
//! scale bytes; then for each pair of blocks eight lines of codes, the even block in the low nibbles.

use super::{BLOCK_COLS, Format, RowBlock, dword, half_line_f16, set_dword, set_half_line};

pub(crate) struct Q4K;

impl Format for Q4K {
    const UNIT_COLS: usize = 256;
    const SOURCE_BYTES: usize = 144;
    const LINES: usize = 36;
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        set_half_line(unit, 0, 0, row, &source[..2]);
        set_half_line(unit, 0, 1, row, &source[2..4]);
        for (i, bytes) in source[4..].as_chunks::<4>().0.iter().enumerate() {
            set_dword(unit, 1 + i, row, *bytes);
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let (scale, min) = k_scale_and_min(unit, block, row);
        let mut codes = [0; BLOCK_COLS];
        for (column, code) in codes.iter_mut().enumerate() {
            let byte = dword(unit, 4 + 8 * (block / 2) + column / 4, row)[column % 4];
            *code = i16::from(byte >> (4 * (block % 2)) & 15);
        }
        RowBlock { codes, scales: [scale, scale], min }
    }
}

/// A block's scale and minimum, from lines 0 to 3 of a Q4_K or Q5_K unit.
pub(super) fn k_scale_and_min(unit: &[u8], block: usize, row: usize) -> (f32, f32) {
    let (d, dmin) = (half_line_f16(unit, 0, 0, row), half_line_f16(unit, 0, 1, row));
    let mut bytes = [0; 12];
    for i in 0..3 {
        bytes[4 * i..4 * i + 4].copy_from_slice(&dword(unit, 1 + i, row));
    }
    let (scale, min) = k_scales(&bytes, block);
    (d * f32::from(scale), dmin * f32::from(min))
}

/// The 6-bit scale and minimum of `block` from the 12 scale bytes of a K-quant (ggml-quants.c,
/// `get_scale_min_k4`).
fn k_scales(bytes: &[u8; 12], block: usize) -> (u8, u8) {
    if block < 4 {
        (bytes[block] & 63, bytes[block + 4] & 63)
    } else {
        let low = bytes[block + 4];
        (low & 15 | bytes[block - 4] >> 6 << 4, low >> 4 | bytes[block] >> 6 << 4)
    }
}
