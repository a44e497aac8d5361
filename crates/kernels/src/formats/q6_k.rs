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
        for (i, codes) in source_codes(source).as_chunks::<16>().0.iter().enumerate() {
            for line in 0..3 {
                let mut bytes = [0; 4];
                for (j, byte) in bytes.iter_mut().enumerate() {
                    *byte = codes[4 * line + j] << 2 | codes[12 + j] >> (2 * line) & 3;
                }
                set_dword(unit, 5 + 3 * i + line, row, bytes);
            }
        }
    }

    #[inline(always)]
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

/// Codes of a source block (ggml-quants.c, `dequantize_row_q6_K`): 128 columns share 64 bytes of low
/// nibbles and 32 bytes of high bit pairs.
fn source_codes(source: &[u8]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (half, codes) in codes.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let low: &[u8; 64] = source[64 * half..][..64].try_into().expect("64 bytes");
        let high: &[u8; 32] = source[128 + 32 * half..][..32].try_into().expect("32 bytes");
        for j in 0..32 {
            codes[j] = low[j] & 15 | (high[j] & 3) << 4;
            codes[32 + j] = low[32 + j] & 15 | (high[j] >> 2 & 3) << 4;
            codes[64 + j] = low[j] >> 4 | (high[j] >> 4 & 3) << 4;
            codes[96 + j] = low[32 + j] >> 4 | (high[j] >> 6) << 4;
        }
    }
    codes
}
