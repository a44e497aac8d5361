//! Q5_0: `weight = d · (code − 16)`. Unit: 64 columns in 11 lines: the two blocks' `d`, a line of fifth
//! bits for each, then the low four bits.
//!
//! In a line of fifth bits, bit `i` of byte `j` of a row's dword belongs to column `4i + j`, so that a
//! shift by `i` brings the bits of code line `i` to the same place in every byte.

use super::{BLOCK_COLS, Format, RowBlock, dword, half_line_f16, nibbles, set_dword, set_half_line};

pub(crate) struct Q5_0;

impl Format for Q5_0 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 2 * 22;
    const LINES: usize = 11;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        for (block, bytes) in source.chunks_exact(22).enumerate() {
            set_half_line(unit, 0, block, row, &bytes[..2]);
            let bits = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
            set_dword(unit, 1 + block, row, transpose_bits(bits));
            nibbles::pack(&bytes[6..], 3 + 4 * block, row, unit);
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let d = half_line_f16(unit, 0, block, row);
        let high = dword(unit, 1 + block, row);
        let mut codes = nibbles::codes(unit, 3 + 4 * block, row);
        add_fifth_bits(&mut codes, high);
        RowBlock { codes: codes.map(|code| code - 16), scales: [d, d], min: 0.0 }
    }
}

/// From "bit `c` is column `c`" to "bit `i` of byte `j` is column `4i + j`".
pub(super) fn transpose_bits(bits: u32) -> [u8; 4] {
    let mut bytes = [0u8; 4];
    for column in 0..BLOCK_COLS {
        bytes[column % 4] |= ((bits >> column & 1) as u8) << (column / 4);
    }
    bytes
}

#[inline(always)]
pub(super) fn add_fifth_bits(codes: &mut [i16; BLOCK_COLS], high: [u8; 4]) {
    for (column, code) in codes.iter_mut().enumerate() {
        *code += i16::from(high[column % 4] >> (column / 4) & 1) << 4;
    }
}
