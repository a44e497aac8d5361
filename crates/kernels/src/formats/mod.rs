//! Packed layouts, one file a block type.
//!
//! A packed matrix is cut into *groups* of 16 rows and, along the columns, into *units*. A unit is a
//! run of 64-byte lines that hold 16 rows × [`Format::UNIT_COLS`] weights; in a line of codes, dword
//! `r` belongs to row `r`, and its four bytes to four neighbouring columns. So a vector register holds
//! 16 rows, an activation is broadcast to all of them, and no sum ever crosses lanes. A group's units
//! follow each other: one stream of memory per group, with the bits per weight of the source.
//!
//! A unit is a sequence of *blocks* of 32 columns that share a scale (or two, one for each half) and
//! perhaps a minimum: `weight = scale · code − min`, with signed integer codes.
//!
//! Each file defines packing and the plain decoding that every kernel must agree with.

mod affine;
mod nibbles;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_k;
mod q6_k;
mod q8_0;

pub(crate) use affine::Affine;
pub(crate) use q4_0::Q4_0;
pub(crate) use q4_1::Q4_1;
pub(crate) use q4_k::Q4K;
pub(crate) use q5_0::Q5_0;
pub(crate) use q5_k::Q5K;
pub(crate) use q6_k::Q6K;
pub(crate) use q8_0::Q8_0;

/// Rows in a group: dwords in a 64-byte line.
pub(crate) const GROUP_ROWS: usize = 16;
/// Columns in a block.
pub(crate) const BLOCK_COLS: usize = 32;
/// Bytes in a line.
pub(crate) const LINE_BYTES: usize = 64;

/// One row's share of a block of 32 columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowBlock {
    /// Signed codes.
    pub(crate) codes: [i16; BLOCK_COLS],
    /// Scales of the first and the second 16 columns.
    pub(crate) scales: [f32; 2],
    /// Subtracted from every weight.
    pub(crate) min: f32,
}

/// A packed layout. All weights of one row in one unit come from `UNIT_COLS / block_len` blocks of the
/// source, that is [`Format::SOURCE_BYTES`] bytes.
pub(crate) trait Format {
    /// Columns of a unit, a multiple of 64.
    const UNIT_COLS: usize;
    /// Source bytes of one row in one unit.
    const SOURCE_BYTES: usize;
    /// Lines of a unit.
    const LINES: usize;
    /// Lines before the others that hold 32 numbers of 16 bits, two a row, instead of 16 dwords.
    const HALF_LINES: usize = 1;
    /// Whether the two halves of a block have scales of their own.
    const HAS_HALF_SCALES: bool = false;
    /// Whether blocks have a minimum.
    const HAS_MINS: bool = false;
    /// Bytes of a unit.
    const UNIT_BYTES: usize = Self::LINES * LINE_BYTES;
    /// Blocks of a unit.
    const BLOCKS: usize = Self::UNIT_COLS / BLOCK_COLS;
    /// Blocks whose activations share a scale: one, or a whole unit for K-quants, as in llama.cpp.
    const SCALE_BLOCKS: usize = if Self::UNIT_COLS == 256 { Self::BLOCKS } else { 1 };

    /// Writes row `row`'s source bytes of one unit into the unit's lines, which start zeroed.
    fn pack_row(source: &[u8], row: usize, unit: &mut [u8]);

    /// Row `row`'s share of block `block` of a unit.
    fn row_block(unit: &[u8], block: usize, row: usize) -> RowBlock;

    /// Copies row `from_row`'s share of unit `from` to row `row` of `unit`.
    fn copy_row(from: &[u8], from_row: usize, unit: &mut [u8], row: usize) {
        for line in 0..Self::HALF_LINES {
            for half in 0..2 {
                let at = line * LINE_BYTES + 32 * half + 2 * from_row;
                set_half_line(unit, line, half, row, &from[at..at + 2]);
            }
        }
        for line in Self::HALF_LINES..Self::LINES {
            set_dword(unit, line, row, dword(from, line, from_row));
        }
    }
}

/// Dword `row` of line `line`.
#[inline(always)]
pub(crate) fn dword(unit: &[u8], line: usize, row: usize) -> [u8; 4] {
    let at = line * LINE_BYTES + 4 * row;
    unit[at..at + 4].try_into().expect("four bytes")
}

pub(crate) fn set_dword(unit: &mut [u8], line: usize, row: usize, bytes: [u8; 4]) {
    let at = line * LINE_BYTES + 4 * row;
    unit[at..at + 4].copy_from_slice(&bytes);
}

/// Half `half` (0 or 1) of line `line` holds 16 f16 numbers, one a row.
#[inline(always)]
pub(crate) fn half_line_f16(unit: &[u8], line: usize, half: usize, row: usize) -> f32 {
    let at = line * LINE_BYTES + 32 * half + 2 * row;
    half::f16::from_le_bytes([unit[at], unit[at + 1]]).to_f32()
}

pub(crate) fn set_half_line(unit: &mut [u8], line: usize, half: usize, row: usize, bytes: &[u8]) {
    let at = line * LINE_BYTES + 32 * half + 2 * row;
    unit[at..at + 2].copy_from_slice(&bytes[..2]);
}

/// Runs `$body` with `$format` bound to the [`Format`] of a quantized block type; dense types are
/// `$otherwise`.
macro_rules! with_format {
    ($block_type:expr, $format:ident => $body:expr, $otherwise:expr) => {
        match $block_type {
            $crate::BlockType::Q4_0 => {
                type $format = $crate::formats::Q4_0;
                $body
            }
            $crate::BlockType::Q4_1 => {
                type $format = $crate::formats::Q4_1;
                $body
            }
            $crate::BlockType::Q5_0 => {
                type $format = $crate::formats::Q5_0;
                $body
            }
            $crate::BlockType::Q8_0 => {
                type $format = $crate::formats::Q8_0;
                $body
            }
            $crate::BlockType::Q4_K => {
                type $format = $crate::formats::Q4K;
                $body
            }
            $crate::BlockType::Q5_K => {
                type $format = $crate::formats::Q5K;
                $body
            }
            $crate::BlockType::Q6_K => {
                type $format = $crate::formats::Q6K;
                $body
            }
            $crate::BlockType::Affine($crate::AffineType { is_8_bit, is_group_32, is_bf16 }) => {
                match (is_8_bit, is_group_32, is_bf16) {
                    (false, false, false) => {
                        type $format = $crate::formats::Affine<4, 64, false>;
                        $body
                    }
                    (false, false, true) => {
                        type $format = $crate::formats::Affine<4, 64, true>;
                        $body
                    }
                    (false, true, false) => {
                        type $format = $crate::formats::Affine<4, 32, false>;
                        $body
                    }
                    (false, true, true) => {
                        type $format = $crate::formats::Affine<4, 32, true>;
                        $body
                    }
                    (true, false, false) => {
                        type $format = $crate::formats::Affine<8, 64, false>;
                        $body
                    }
                    (true, false, true) => {
                        type $format = $crate::formats::Affine<8, 64, true>;
                        $body
                    }
                    (true, true, false) => {
                        type $format = $crate::formats::Affine<8, 32, false>;
                        $body
                    }
                    (true, true, true) => {
                        type $format = $crate::formats::Affine<8, 32, true>;
                        $body
                    }
                }
            }
            $crate::BlockType::F32 | $crate::BlockType::F16 | $crate::BlockType::BF16 => $otherwise,
        }
    };
}
pub(crate) use with_format;
