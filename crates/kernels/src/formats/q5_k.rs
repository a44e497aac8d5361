//! Q5_K: Q4_K with a fifth bit. Unit: 256 columns in 44 lines: four lines as Q4_K's, eight lines of fifth
//! bits (one a block, bit `i` of byte `j` for column `4i + j`), then the low four bits as Q4_K's.

use super::q4_k::k_scale_and_min;
use super::q5_0::{add_fifth_bits, transpose_bits};
use super::{BLOCK_COLS, Format, RowBlock, dword, set_dword, set_half_line};

pub(crate) struct Q5K;

impl Format for Q5K {
    const UNIT_COLS: usize = 256;
    const SOURCE_BYTES: usize = 176;
    const LINES: usize = 44;
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        set_half_line(unit, 0, 0, row, &source[..2]);
        set_half_line(unit, 0, 1, row, &source[2..4]);
        for i in 0..3 {
            set_dword(unit, 1 + i, row, source[4 + 4 * i..8 + 4 * i].try_into().expect("four bytes"));
        }
        let (high, low) = source[16..].split_at(32);
        for block in 0..8 {
            // The source keeps bit `block` of byte `column`.
            let bits =
                high.iter().enumerate().fold(0, |bits, (c, &byte)| bits | u32::from(byte >> block & 1) << c);
            set_dword(unit, 4 + block, row, transpose_bits(bits));
        }
        for (i, bytes) in low.as_chunks::<4>().0.iter().enumerate() {
            set_dword(unit, 12 + i, row, *bytes);
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let (scale, min) = k_scale_and_min(unit, block, row);
        let mut codes = [0; BLOCK_COLS];
        for (column, code) in codes.iter_mut().enumerate() {
            let byte = dword(unit, 12 + 8 * (block / 2) + column / 4, row)[column % 4];
            *code = i16::from(byte >> (4 * (block % 2)) & 15);
        }
        add_fifth_bits(&mut codes, dword(unit, 4 + block, row));
        RowBlock { codes, scales: [scale, scale], min }
    }
}
