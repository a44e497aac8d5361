//! 16 quantized rows times a tile of int8 columns; `scalar/int8_tile.rs` has the formula.
//!
//! Two registers hold the codes of 16 rows × 4 columns. `vpmaddubsw` multiplies unsigned codes with
//! signed activations into 16-bit pair sums; as many of those as fit 16 bits are added up before
//! `vpmaddwd` widens them: 8 for 4-bit codes, 4 for 5 bits, 2 for 6 bits. 8-bit codes go through their
//! magnitude, with the sign moved to the activation, and are widened one by one.
//!
//! No closures below [`tile`]: one does not have the features of the function around it, and where the
//! compiler does not inline it each intrinsic becomes a call (`tests/inlined.rs` looks for them).

use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, Format, with_format};
use crate::product::TileOut;
use crate::x86_64::avx2::unpack::{Pair, Unpack};
use crate::x86_64::prefetch::{Ahead, prefetch};
use std::arch::x86_64::*;

/// Columns of the tile that one walk over the weights takes: their sums, two registers each, stay in
/// the 16 there are.
const AT_ONCE: usize = 4;

pub(super) fn int8_tile<A: Ahead>(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    with_format!(block_type, F => {
        assert!(group.len() >= n_units * F::UNIT_BYTES, "units of a group");
        assert!(x.codes.len() >= n_units * F::UNIT_COLS * x.width, "columns of a tile");
        for first in (0..x.width).step_by(AT_ONCE) {
            // SAFETY: the table exists only once its features were detected, and the lengths were checked.
            unsafe {
                match (x.width - first).min(AT_ONCE) {
                    1 => tile::<F, A, 1>(group, n_units, x, first, out),
                    2 => tile::<F, A, 2>(group, n_units, x, first, out),
                    3 => tile::<F, A, 3>(group, n_units, x, first, out),
                    _ => tile::<F, A, 4>(group, n_units, x, first, out),
                }
            }
        }
    }, unreachable!("quantized types only"));
}

/// Columns `first … first + C` of the tile.
///
/// # Safety
/// The features below, and slices of the lengths that `int8_tile` checks.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<F: Unpack, A: Ahead, const C: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    first: usize,
    out: &mut TileOut,
) {
    let zero: Pair = [_mm256_setzero_ps(); 2];
    let mut totals = [zero; C];
    let (mut scales, mut neg_mins) = ([zero; 16], [zero; 8]);
    for unit in 0..n_units {
        // SAFETY: all addresses below lie in `group` and in the tile, whose lengths were checked; those
        // of prefetches may lie anywhere.
        unsafe {
            let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
            F::scales(lines, 0, &mut scales, &mut neg_mins);
            F::scales(lines, 1, &mut scales, &mut neg_mins);
            let mut sums = [zero; C];
            for pair in 0..F::BLOCKS / 2 {
                let at = (unit * F::BLOCKS + 2 * pair) * x.width + first;
                if first == 0 {
                    prefetch::<F, A, C, 0>(lines, pair);
                    prefetch::<F, A, C, 1>(lines, pair);
                }
                add_block::<F, C, 0>(lines, pair, x, at, &scales, &neg_mins, &mut sums);
                if F::SCALE_BLOCKS == 1 {
                    fold(&mut totals, &mut sums, x, at);
                }
                add_block::<F, C, 1>(lines, pair, x, at + x.width, &scales, &neg_mins, &mut sums);
                if F::SCALE_BLOCKS == 1 {
                    fold(&mut totals, &mut sums, x, at + x.width);
                }
            }
            if F::SCALE_BLOCKS > 1 {
                fold(&mut totals, &mut sums, x, unit * x.width + first);
            }
        }
    }
    for (out, total) in out[first..].iter_mut().zip(totals) {
        for half in 0..2 {
            // SAFETY: a column of `out` is 16 numbers.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(8 * half), total[half]) };
        }
    }
}

/// Adds the sums of a run of blocks times its activation scales, from number `at` on, and starts them anew.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn fold<const C: usize>(totals: &mut [Pair; C], sums: &mut [Pair; C], x: &Int8Tile, at: usize) {
    for c in 0..C {
        for half in 0..2 {
            // SAFETY: as for this function.
            unsafe {
                let scale = _mm256_set1_ps(*x.scales.as_ptr().add(at + c));
                totals[c][half] = _mm256_fmadd_ps(sums[c][half], scale, totals[c][half]);
                sums[c][half] = _mm256_setzero_ps();
            }
        }
    }
}

/// Adds block `2·pair + ODD` of a unit; `at` is its place in the tile, in columns.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_block<F: Unpack, const C: usize, const ODD: usize>(
    lines: *const u8,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    scales: &[Pair; 16],
    neg_mins: &[Pair; 8],
    sums: &mut [Pair; C],
) {
    let parts = if F::HAS_HALF_SCALES { 2 } else { 1 };
    // SAFETY: as for this function.
    unsafe {
        for part in 0..parts {
            let columns = part * 8 / parts..(part + 1) * 8 / parts;
            let dots = if F::PAIR_SUMS == 0 {
                signed_dots::<F, C, ODD>(lines, pair, x, at, columns)
            } else {
                unsigned_dots::<F, C, ODD>(lines, pair, x, at, columns)
            };
            let scale = scales[(2 * pair + ODD) * parts + part];
            for c in 0..C {
                for half in 0..2 {
                    let dot = _mm256_cvtepi32_ps(dots[c][half]);
                    sums[c][half] = _mm256_fmadd_ps(dot, scale[half], sums[c][half]);
                }
            }
        }
        if F::HAS_MINS {
            for c in 0..C {
                let sum = _mm256_set1_ps(*x.sums.as_ptr().add(at + c));
                for half in 0..2 {
                    sums[c][half] = _mm256_fmadd_ps(neg_mins[2 * pair + ODD][half], sum, sums[c][half]);
                }
            }
        }
    }
}

/// Dot products over `columns`, in fours, with unsigned codes.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn unsigned_dots<F: Unpack, const C: usize, const ODD: usize>(
    lines: *const u8,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    columns: std::ops::Range<usize>,
) -> [[__m256i; 2]; C] {
    // SAFETY: as for this function.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        let mut dots = [[_mm256_setzero_si256(); 2]; C];
        if let Some(steps) = 128u32.checked_div(F::OFFSET) {
            // What the offset adds to each product is known: start below zero by as much.
            let shift = _mm256_set1_epi32(steps.ilog2() as i32);
            let half_sums = x.half_sums.as_ptr().add(2 * at);
            for c in 0..C {
                let sum = if F::HAS_HALF_SCALES {
                    *half_sums.add(2 * c + columns.start / 4)
                } else {
                    *half_sums.add(2 * c) + *half_sums.add(2 * c + 1)
                };
                dots[c] = [_mm256_srav_epi32(_mm256_set1_epi32(sum), shift); 2];
            }
        }
        let mut start = columns.start;
        while start < columns.end {
            let mut pairs = [[_mm256_setzero_si256(); 2]; C];
            for i in start..start + F::PAIR_SUMS.min(columns.end - start) {
                let weights = [F::codes::<ODD>(lines, 0, pair, i), F::codes::<ODD>(lines, 1, pair, i)];
                for c in 0..C {
                    let x = codes.add(c * BLOCK_COLS + 4 * i).cast::<i32>().read_unaligned();
                    let x = _mm256_set1_epi32(x);
                    for half in 0..2 {
                        pairs[c][half] = if i == start {
                            _mm256_maddubs_epi16(weights[half], x)
                        } else {
                            add_products(pairs[c][half], weights[half], x)
                        };
                    }
                }
            }
            for c in 0..C {
                for half in 0..2 {
                    let sum = _mm256_madd_epi16(pairs[c][half], ones);
                    dots[c][half] = _mm256_add_epi32(dots[c][half], sum);
                }
            }
            start += F::PAIR_SUMS;
        }
        dots
    }
}

/// `sums` and the products of unsigned `codes` and signed `x`, added up in pairs.
///
/// As intrinsics the compiler adds products to each other before it adds them to the sums, and keeps so
/// many of them that it runs out of registers.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(mut sums: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the function has the feature, and the instructions work on registers alone.
    unsafe {
        std::arch::asm!(
            "vpmaddubsw {products}, {codes}, {x}",
            "vpaddw {sums}, {sums}, {products}",
            products = out(ymm_reg) _,
            sums = inout(ymm_reg) sums,
            codes = in(ymm_reg) codes,
            x = in(ymm_reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Dot products over `columns`, in fours, with signed codes.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn signed_dots<F: Unpack, const C: usize, const ODD: usize>(
    lines: *const u8,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    columns: std::ops::Range<usize>,
) -> [[__m256i; 2]; C] {
    // SAFETY: as for this function.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        let mut dots = [[_mm256_setzero_si256(); 2]; C];
        for i in columns {
            for half in 0..2 {
                let weights = F::codes::<ODD>(lines, half, pair, i);
                let magnitudes = _mm256_abs_epi8(weights);
                for c in 0..C {
                    let x = codes.add(c * BLOCK_COLS + 4 * i).cast::<i32>().read_unaligned();
                    let x = _mm256_sign_epi8(_mm256_set1_epi32(x), weights);
                    let sum = _mm256_madd_epi16(_mm256_maddubs_epi16(magnitudes, x), ones);
                    dots[c][half] = _mm256_add_epi32(dots[c][half], sum);
                }
            }
        }
        dots
    }
}
