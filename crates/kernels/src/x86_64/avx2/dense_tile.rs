//! 16 dense rows times a tile of f32 columns; `scalar/dense_tile.rs` has the formula.

use crate::BlockType;
use crate::activations::DenseTile;
use crate::product::TileOut;
use std::arch::x86_64::*;

pub(super) fn dense_tile(block_type: BlockType, group: &[u8], x: &DenseTile, out: &mut TileOut) {
    let n_cols = x.values.len() / x.width.max(1);
    assert!(group.len() >= n_cols * 16 * block_type.block_bytes(), "columns of a group");
    for half in 0..2 {
        for first in (0..x.width).step_by(2) {
            // SAFETY: the table exists only once its features were detected, and the lengths were checked.
            unsafe {
                match x.width - first {
                    1 => tile::<1>(block_type, group, n_cols, x, half, first, out),
                    _ => tile::<2>(block_type, group, n_cols, x, half, first, out),
                }
            }
        }
    }
}

/// Rows `8·half …` times `C` columns from `first` on.
///
/// # Safety
/// The features below, `n_cols` columns in `group` and in `x`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const C: usize>(
    block_type: BlockType,
    group: &[u8],
    n_cols: usize,
    x: &DenseTile,
    half: usize,
    first: usize,
    out: &mut TileOut,
) {
    let mut sums = [[_mm256_setzero_ps(); C]; 4];
    // Four at a time, so that each running sum stays in a register of its own.
    for start in (0..n_cols).step_by(4) {
        if start + 4 <= n_cols {
            for (lane, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as for this function.
                unsafe { add_column(block_type, group, x, half, first, start + lane, sums) };
            }
        } else {
            for (lane, sums) in sums.iter_mut().enumerate().take(n_cols - start) {
                // SAFETY: as for this function.
                unsafe { add_column(block_type, group, x, half, first, start + lane, sums) };
            }
        }
    }
    for c in 0..C {
        let total =
            _mm256_add_ps(_mm256_add_ps(sums[0][c], sums[1][c]), _mm256_add_ps(sums[2][c], sums[3][c]));
        // SAFETY: a column of `out` is 16 numbers.
        unsafe { _mm256_storeu_ps(out[first + c].as_mut_ptr().add(8 * half), total) };
    }
}

/// Adds what column `i` of the weights makes of `C` columns of `x` to `sums`.
///
/// # Safety
/// As for [`tile`], and there is a column `i`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_column<const C: usize>(
    block_type: BlockType,
    group: &[u8],
    x: &DenseTile,
    half: usize,
    first: usize,
    i: usize,
    sums: &mut [__m256; C],
) {
    // SAFETY: as for this function.
    unsafe {
        let weights = match block_type {
            BlockType::F32 => _mm256_loadu_ps(group.as_ptr().add(64 * i + 32 * half).cast()),
            BlockType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(group.as_ptr().add(32 * i + 16 * half).cast())),
            _ => {
                let bits = _mm_loadu_si128(group.as_ptr().add(32 * i + 16 * half).cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            }
        };
        for (c, sum) in sums.iter_mut().enumerate() {
            let x = _mm256_set1_ps(*x.values.as_ptr().add(i * x.width + first + c));
            *sum = _mm256_fmadd_ps(weights, x, *sum);
        }
    }
}
