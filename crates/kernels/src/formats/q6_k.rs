//! Q6_K: `weight = d · scale · (code − 32)`, with an int8 scale per 16 columns.
//!
//! Unit: 256 columns in 53 lines: `d` (half a line), four lines of scales, then for each 16 columns
//! three lines of codes. In those, the top six bits of each byte of line `i` are the code of column
//! `4i + j`, and the low two bits of the three lines together that of column `12 + j`.

use super::{BLOCK_COLS, Format, RowBlock, dword, half_line_f16, set_dword, set_half_line};

pub(crate) struct Q6K;

impl Format for Q6K {
    const UNIT_COLS: usize = 256;
    const SOURCE_BYTES: usize = 210;
    const LINES: usize = 53;
    const HAS_HALF_SCALES: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        set_half_line(unit, 0, 0, row, &source[208..]);
        for (i, scales) in source[192..208].as_chunks::<4>().0.iter().enumerate() {
            set_dword(unit, 1 + i, row, *scales);
        }
        for half_block in 0..16 {
            let code = |column: usize| source_code(source, 16 * half_block + column);
            for i in 0..3 {
                let bytes = std::array::from_fn(|j| code(4 * i + j) << 2 | code(12 + j) >> (2 * i) & 3);
                set_dword(unit, 5 + 3 * half_block + i, row, bytes);
            }
        }
    }

    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let d = half_line_f16(unit, 0, 0, row);
        let scales = std::array::from_fn(|half| {
            let i = 2 * block + half;
            d * f32::from(dword(unit, 1 + i / 4, row)[i % 4] as i8)
        });
        let mut codes = [0; BLOCK_COLS];
        for half in 0..2 {
            let lines: [[u8; 4]; 3] =
                std::array::from_fn(|i| dword(unit, 5 + 3 * (2 * block + half) + i, row));
            for j in 0..4 {
                for i in 0..3 {
                    codes[16 * half + 4 * i + j] = i16::from(lines[i][j] >> 2) - 32;
                }
                let last = lines[0][j] & 3 | (lines[1][j] & 3) << 2 | (lines[2][j] & 3) << 4;
                codes[16 * half + 12 + j] = i16::from(last) - 32;
            }
        }
        RowBlock { codes, scales, min: 0.0 }
    }
}

/// Code of `column` in a source block (ggml-quants.c, `dequantize_row_q6_K`): 128 columns share 64 bytes
/// of low nibbles and 32 bytes of high bit pairs.
fn source_code(source: &[u8], column: usize) -> u8 {
    let (half, quarter, j) = (column / 128, column % 128 / 32, column % 32);
    let low = source[64 * half + 32 * (quarter % 2) + j] >> (4 * (quarter / 2)) & 15;
    let high = source[128 + 32 * half + j] >> (2 * quarter) & 3;
    low | high << 4
}
