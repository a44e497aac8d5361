//! Q4_1: `weight = d · code + m`. Unit: 64 columns in 10 lines: for each block a line with `d` and `m`
//! (two lines in all), then the codes.

use super::{Format, RowBlock, half_line_f16, nibbles, set_half_line};

pub(crate) struct Q4_1;

impl Format for Q4_1 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 2 * 20;
    const LINES: usize = 10;
    const HALF_LINES: usize = 2;
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        for (block, bytes) in source.chunks_exact(20).enumerate() {
            set_half_line(unit, block, 0, row, &bytes[..2]);
            set_half_line(unit, block, 1, row, &bytes[2..4]);
            nibbles::pack(&bytes[4..], 2 + 4 * block, row, unit);
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let (d, m) = (half_line_f16(unit, block, 0, row), half_line_f16(unit, block, 1, row));
        RowBlock { codes: nibbles::codes(unit, 2 + 4 * block, row), scales: [d, d], min: -m }
    }
}
