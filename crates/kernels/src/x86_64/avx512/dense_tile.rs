//! 16 dense rows times a tile of f32 columns; `scalar/dense_tile.rs` has the formula.

use crate::BlockType;
use crate::activations::DenseTile;
use crate::product::TileOut;
use std::arch::x86_64::*;

/// Columns of the tile that one walk over the weights takes: four sums each stay in registers.
const AT_ONCE: usize = 4;

pub(super) fn dense_tile(block_type: BlockType, group: &[u8], x: &DenseTile, out: &mut TileOut) {
    let n_cols = x.values.len() / x.width.max(1);
    assert!(group.len() >= n_cols * 16 * block_type.block_bytes(), "columns of a group");
    for first in (0..x.width).step_by(AT_ONCE) {
        // SAFETY: the table exists only once its features were detected, and the lengths were checked.
        unsafe {
            match (x.width - first).min(AT_ONCE) {
                1 => tile::<1>(block_type, group, n_cols, x, first, out),
                2 => tile::<2>(block_type, group, n_cols, x, first, out),
                3 => tile::<3>(block_type, group, n_cols, x, first, out),
                _ => tile::<4>(block_type, group, n_cols, x, first, out),
            }
        }
    }
}

/// # Safety
/// The features below, `n_cols` columns in `group` and in `x`, `C` columns from `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
unsafe fn tile<const C: usize>(
    block_type: BlockType,
    group: &[u8],
    n_cols: usize,
    x: &DenseTile,
    first: usize,
    out: &mut TileOut,
) {
    let mut sums = [[_mm512_setzero_ps(); C]; 4];
    for i in 0..n_cols {
        // SAFETY: as for this function.
        unsafe {
            let weights = match block_type {
                BlockType::F32 => _mm512_loadu_ps(group.as_ptr().add(64 * i).cast()),
                BlockType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(group.as_ptr().add(32 * i).cast())),
                _ => {
                    let bits = _mm256_loadu_si256(group.as_ptr().add(32 * i).cast());
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
                }
            };
            for c in 0..C {
                let x = _mm512_set1_ps(*x.values.as_ptr().add(i * x.width + first + c));
                sums[i % 4][c] = _mm512_fmadd_ps(weights, x, sums[i % 4][c]);
            }
        }
    }
    for c in 0..C {
        let total =
            _mm512_add_ps(_mm512_add_ps(sums[0][c], sums[1][c]), _mm512_add_ps(sums[2][c], sums[3][c]));
        // SAFETY: a column of `out` is 16 numbers.
        unsafe { _mm512_storeu_ps(out[first + c].as_mut_ptr(), total) };
    }
}
