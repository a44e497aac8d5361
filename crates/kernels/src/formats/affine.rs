//! MLX's affine quantization: `weight = scale · code + bias`, one scale and bias for each group of columns.
//!
//! Units of 64 columns. For each group a line of 16 scales and 16 biases in the 16-bit type of the source,
//! f16 or bf16; then 8 lines of codes for 4 bits, 16 for 8 bits. So groups of 32 and 64 take exactly the
//! source's bytes; a group of 128 has its scales and biases twice.

use super::{BLOCK_COLS, Format, LINE_BYTES, RowBlock, dword, nibbles, set_dword, set_half_line};
use half::{bf16, f16};

/// Codes of `BITS` bits, 4 or 8; groups of `GROUP` columns, 32 or 64. The source is, group by group,
/// the scale, the bias and the codes. 4-bit codes have column `2j` in the low nibble of byte `j`. Codes
/// of 8 bits are unsigned; in signed form they are `code − 128`, the bias raised to match.
pub(crate) struct Affine<const BITS: usize, const GROUP: usize, const IS_BF16: bool>;

impl<const BITS: usize, const GROUP: usize, const IS_BF16: bool> Affine<BITS, GROUP, IS_BF16> {
    /// The line with the scales and biases of block `block`.
    pub(crate) const fn scale_line(block: usize) -> usize {
        block * BLOCK_COLS / GROUP
    }

    /// The first line of codes of block `block`.
    pub(crate) const fn code_line(block: usize) -> usize {
        64 / GROUP + block * BITS
    }

    fn number(unit: &[u8], line: usize, half: usize, row: usize) -> f32 {
        let at = line * LINE_BYTES + 32 * half + 2 * row;
        let bytes = [unit[at], unit[at + 1]];
        if IS_BF16 { bf16::from_le_bytes(bytes).to_f32() } else { f16::from_le_bytes(bytes).to_f32() }
    }
}

impl<const BITS: usize, const GROUP: usize, const IS_BF16: bool> Format for Affine<BITS, GROUP, IS_BF16> {
    const UNIT_COLS: usize = 64;
    const SOURCE_BYTES: usize = 64 / GROUP * 4 + 8 * BITS;
    const LINES: usize = Self::code_line(2);
    const HALF_LINES: usize = Self::code_line(0);
    const HAS_MINS: bool = true;

    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]) {
        for (group, source) in source.chunks_exact(4 + GROUP * BITS / 8).enumerate() {
            set_half_line(unit, group, 0, row, &source[..2]);
            set_half_line(unit, group, 1, row, &source[2..4]);
            for (block, bytes) in source[4..].chunks_exact(BLOCK_COLS * BITS / 8).enumerate() {
                let first_line = Self::code_line(group * GROUP / BLOCK_COLS + block);
                if BITS == 4 {
                    nibbles::pack(&halves_apart(bytes), first_line, row, unit);
                } else {
                    for (i, codes) in bytes.as_chunks::<4>().0.iter().enumerate() {
                        set_dword(unit, first_line + i, row, *codes);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock {
        let line = Self::scale_line(block);
        let (scale, bias) = (Self::number(unit, line, 0, row), Self::number(unit, line, 1, row));
        let scales = [scale, scale];
        if BITS == 4 {
            return RowBlock { codes: nibbles::codes(unit, Self::code_line(block), row), scales, min: -bias };
        }
        let mut codes = [0; BLOCK_COLS];
        for (column, code) in codes.iter_mut().enumerate() {
            *code = i16::from(dword(unit, Self::code_line(block) + column / 4, row)[column % 4]) - 128;
        }
        RowBlock { codes, scales, min: -scale.mul_add(128.0, bias) }
    }
}

/// From neighbouring columns in a byte to columns `j` and `16 + j` in byte `j`.
fn halves_apart(bytes: &[u8]) -> [u8; 16] {
    let mut codes = [0; BLOCK_COLS];
    for (codes, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *codes = [byte & 15, byte >> 4];
    }
    std::array::from_fn(|j| codes[j] | codes[16 + j] << 4)
}
