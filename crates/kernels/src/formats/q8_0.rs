//! Q8_0: `weight = d · code`. Unit: 64 columns in 17 lines: the two blocks' `d`, then the codes in
//! offset form, `code + 128`, as unsigned-by-signed dot products want them.

use super::{BLOCK_COLS, Format, RowBlock, dword, half_line_f16, set_dword, set_half_line};

pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 2 * 34;
    const LINES: usize = 17;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        for (block, bytes) in source.chunks_exact(34).enumerate() {
            set_half_line(unit, 0, block, row, &bytes[..2]);
            for (i, codes) in bytes[2..].as_chunks::<4>().0.iter().enumerate() {
                set_dword(unit, 1 + 8 * block + i, row, codes.map(|code| code ^ 128));
            }
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let d = half_line_f16(unit, 0, block, row);
        let mut codes = [0; BLOCK_COLS];
        for (column, code) in codes.iter_mut().enumerate() {
            *code = i16::from(dword(unit, 1 + 8 * block + column / 4, row)[column % 4]) - 128;
        }
        RowBlock { codes, scales: [d, d], min: 0.0 }
    }
}
