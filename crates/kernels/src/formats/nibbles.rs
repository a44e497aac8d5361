//! Four-bit codes of two blocks of 32 columns in eight lines, shared by the 64-column formats.
//!
//! GGUF's blocks keep column `j` in the low and column `16 + j` in the high nibble of byte `j`. Here
//! line `i` of a block holds the source's bytes `4i … 4i+3` of each row, for `i` in 0..4: the low
//! nibbles are columns `4i…`, the high ones columns `16 + 4i…`.

use super::{BLOCK_COLS, dword, set_dword};

/// Lines of one block.
pub(super) const BLOCK_LINES: usize = 4;

/// Writes a block's 16 source bytes.
pub(super) fn pack(source: &[u8], first_line: usize, row: usize, unit: &mut [u8]) {
    for (i, bytes) in source.as_chunks::<4>().0.iter().enumerate().take(BLOCK_LINES) {
        set_dword(unit, first_line + i, row, *bytes);
    }
}

/// Reads a block's codes, 0..16.
#[inline(always)]
pub(super) fn codes(unit: &[u8], first_line: usize, row: usize) -> [i16; BLOCK_COLS] {
    let mut codes = [0; BLOCK_COLS];
    for i in 0..BLOCK_LINES {
        for (j, byte) in dword(unit, first_line + i, row).into_iter().enumerate() {
            codes[4 * i + j] = i16::from(byte & 15);
            codes[16 + 4 * i + j] = i16::from(byte >> 4);
        }
    }
    codes
}
