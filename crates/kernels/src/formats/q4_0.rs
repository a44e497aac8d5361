//! Q4_0: `weight = d · (code − 8)`. Unit: 64 columns in 9 lines: the two blocks' `d`, then their codes.

use super::{Format, RowBlock, half_line_f16, nibbles, set_half_line};

pub(crate) struct Q4_0;

impl Format for Q4_0 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 2 * 18;
    const LINES: usize = 9;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        for (block, bytes) in source.chunks_exact(18).enumerate() {
            set_half_line(unit, 0, block, row, &bytes[..2]);
            nibbles::pack(&bytes[2..], 1 + 4 * block, row, unit);
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let d = half_line_f16(unit, 0, block, row);
        let codes = nibbles::codes(unit, 1 + 4 * block, row).map(|code| code - 8);
        RowBlock { codes, scales: [d, d], min: 0.0 }
    }
}
