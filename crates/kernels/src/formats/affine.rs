//! MLX's affine quantization, groups of 64: `weight = scale · code + bias`.
//!
//! Units of 64 columns: a line of scales, a line of biases (f32: mlx-community stores f16 or bf16, and
//! both fit), then 8 lines of codes for 4 bits, 16 for 8 bits.

use super::{BLOCK_COLS, Format, RowBlock, dword, line_f32, nibbles, set_dword};

/// 4-bit codes; the source keeps column `2j` in the low nibble of byte `j`.
pub(crate) struct Affine4;

impl Format for Affine4 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 40;
    const LINES: usize = 10;
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        pack_scale_and_bias(source, row, unit);
        for (block, bytes) in source[8..].chunks_exact(16).enumerate() {
            let code = |column: usize| bytes[column / 2] >> (4 * (column % 2)) & 15;
            let pairs: [u8; 16] = std::array::from_fn(|j| code(j) | code(16 + j) << 4);
            nibbles::pack(&pairs, 2 + 4 * block, row, unit);
        }
    }

    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let scale = line_f32(unit, 0, row);
        let codes = nibbles::codes(unit, 2 + 4 * block, row);
        RowBlock { codes, scales: [scale, scale], min: -line_f32(unit, 1, row) }
    }
}

/// 8-bit codes, unsigned; kept as `code − 128` in signed form, the bias raised to match.
pub(crate) struct Affine8;

impl Format for Affine8 {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 72;
    const LINES: usize = 18;
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        pack_scale_and_bias(source, row, unit);
        for (i, codes) in source[8..].as_chunks::<4>().0.iter().enumerate() {
            set_dword(unit, 2 + i, row, *codes);
        }
    }

    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let scale = line_f32(unit, 0, row);
        let mut codes = [0; BLOCK_COLS];
        for (column, code) in codes.iter_mut().enumerate() {
            *code = i16::from(dword(unit, 2 + 8 * block + column / 4, row)[column % 4]) - 128;
        }
        let bias = line_f32(unit, 1, row);
        RowBlock { codes, scales: [scale, scale], min: -scale.mul_add(128.0, bias) }
    }
}

fn pack_scale_and_bias(source: &[u8], row: usize, unit: &mut [u8]) {
    for line in 0..2 {
        let bytes = source[4 * line..4 * line + 4].try_into().expect("four bytes");
        set_dword(unit, line, row, bytes);
    }
}
