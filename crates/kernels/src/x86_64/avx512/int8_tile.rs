//! 16 quantized rows times a tile of int8 columns; `scalar/int8_tile.rs` has the formula.
//!
//! A register holds the codes of 16 rows × 4 columns, unpacked once; `vpdpbusd` multiplies them with 4
//! broadcast activations of each column of the tile. Nothing crosses lanes.

use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{
    Affine, BLOCK_COLS, Format, LINE_BYTES, Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0, with_format,
};
use crate::product::TileOut;
use crate::x86_64::prefetch::prefetch;
use std::arch::x86_64::*;

/// `IS_FEW_PREFETCHED`: whether weights are asked for ahead for up to three columns, too (`x86_64/prefetch.rs`).
pub(super) fn int8_tile<const IS_FEW_PREFETCHED: bool>(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    with_format!(block_type, F => {
        assert!(group.len() >= n_units * F::UNIT_BYTES, "units of a group");
        assert!(x.codes.len() >= n_units * F::UNIT_COLS * x.width, "columns of a tile");
        // SAFETY: the table exists only once its features were detected, and the lengths were checked.
        unsafe { of_width::<F, IS_FEW_PREFETCHED>(group, n_units, x, out) }
    }, unreachable!("quantized types only"));
}

/// # Safety
/// AVX-512 VNNI, and slices of the lengths that `int8_tile` checks.
#[rustfmt::skip]
unsafe fn of_width<F: Unpack, const IS_FEW_PREFETCHED: bool>(group: &[u8], n_units: usize, x: &Int8Tile, out: &mut TileOut) {
    // SAFETY: as for this function.
    unsafe {
        match x.width {
            1 => tile::<F, 1, IS_FEW_PREFETCHED>(group, n_units, x, out),
            2 => tile::<F, 2, IS_FEW_PREFETCHED>(group, n_units, x, out),
            3 => tile::<F, 3, IS_FEW_PREFETCHED>(group, n_units, x, out),
            4 => tile::<F, 4, true>(group, n_units, x, out),
            5 => tile::<F, 5, true>(group, n_units, x, out),
            6 => tile::<F, 6, true>(group, n_units, x, out),
            7 => tile::<F, 7, true>(group, n_units, x, out),
            8 => tile::<F, 8, true>(group, n_units, x, out),
            9 => tile::<F, 9, true>(group, n_units, x, out),
            10 => tile::<F, 10, true>(group, n_units, x, out),
            11 => tile::<F, 11, true>(group, n_units, x, out),
            12 => tile::<F, 12, true>(group, n_units, x, out),
            13 => tile::<F, 13, true>(group, n_units, x, out),
            14 => tile::<F, 14, true>(group, n_units, x, out),
            15 => tile::<F, 15, true>(group, n_units, x, out),
            _ => tile::<F, 16, true>(group, n_units, x, out),
        }
    }
}

/// A format's unit in registers. All functions read the unit's lines at `unit`.
trait Unpack: Format {
    /// What was added to the signed codes to make them unsigned: 0 or a power of two up to 128.
    const OFFSET: u32 = 0;

    /// Scales of the blocks (of the half blocks, where those have their own), and negated minima. A scale is
    /// that of the codes as `codes` returns them.
    ///
    /// # Safety
    /// AVX-512 and a whole unit at `unit`.
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]);

    /// Codes of columns `4i … 4i+3` of block `2·pair + ODD`, 16 rows, unsigned.
    ///
    /// # Safety
    /// As for `scales`.
    unsafe fn codes<const ODD: usize>(unit: *const u8, pair: usize, i: usize) -> __m512i;
}

/// # Safety
/// The features below, and slices of the lengths that `int8_tile` checks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn tile<F: Unpack, const C: usize, const IS_PREFETCHED: bool>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    let mut totals = [_mm512_setzero_ps(); C];
    let (mut scales, mut neg_mins) = ([_mm512_setzero_ps(); 16], [_mm512_setzero_ps(); 8]);
    for unit in 0..n_units {
        // SAFETY: all addresses below lie in `group` and in the tile, whose lengths were checked; those
        // of prefetches may lie anywhere.
        unsafe {
            let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
            F::scales(lines, &mut scales, &mut neg_mins);
            let mut sums = [_mm512_setzero_ps(); C];
            for pair in 0..F::BLOCKS / 2 {
                let block = unit * F::BLOCKS + 2 * pair;
                if IS_PREFETCHED {
                    prefetch::<F, 0>(lines, pair);
                }
                add_block::<F, C, 0>(lines, pair, x, block * C, &scales, &neg_mins, &mut sums);
                if F::SCALE_BLOCKS == 1 {
                    fold(&mut totals, &mut sums, x, block);
                }
                let lines = if F::HAS_HALF_SCALES { in_order(lines, &mut sums) } else { lines };
                if IS_PREFETCHED {
                    prefetch::<F, 1>(lines, pair);
                }
                add_block::<F, C, 1>(lines, pair, x, (block + 1) * C, &scales, &neg_mins, &mut sums);
                if F::SCALE_BLOCKS == 1 {
                    fold(&mut totals, &mut sums, x, block + 1);
                }
            }
            if F::SCALE_BLOCKS > 1 {
                fold(&mut totals, &mut sums, x, unit);
            }
        }
    }
    for (out, total) in out.iter_mut().zip(totals) {
        // SAFETY: a column of `out` is 16 numbers.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
    }
}

/// Adds the sums of a run of blocks times its activation scales, number `i`, and starts them anew.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn fold<const C: usize>(totals: &mut [__m512; C], sums: &mut [__m512; C], x: &Int8Tile, i: usize) {
    for c in 0..C {
        // SAFETY: as for this function.
        unsafe {
            let scale = _mm512_set1_ps(*x.scales.as_ptr().add(i * C + c));
            totals[c] = _mm512_fmadd_ps(sums[c], scale, totals[c]);
            sums[c] = _mm512_setzero_ps();
        }
    }
}

/// Hands `lines` on, but lets the compiler see no use of it before `sums` are there: else it mixes the
/// instructions of two blocks and runs out of registers. Emits nothing.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::pointers_in_nomem_asm_block)]
fn in_order<const C: usize>(mut lines: *const u8, sums: &mut [__m512; C]) -> *const u8 {
    // SAFETY: an empty piece of assembly.
    unsafe {
        std::arch::asm!(
            "/* {0} {1} */",
            inout(reg) lines,
            inout(zmm_reg) sums[C - 1],
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    lines
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
    scales: &[__m512; 16],
    neg_mins: &[__m512; 8],
    sums: &mut [__m512; C],
) {
    let parts = if F::HAS_HALF_SCALES { 2 } else { 1 };
    // SAFETY: as for this function.
    unsafe {
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        let half_sums = x.half_sums.as_ptr().add(2 * at);
        for part in 0..parts {
            let mut dots = [_mm512_setzero_si512(); C];
            if let Some(steps) = 128u32.checked_div(F::OFFSET) {
                // What the offset adds to each product is known: start below zero by as much.
                let shift = steps.ilog2();
                for c in 0..C {
                    let sum = if F::HAS_HALF_SCALES {
                        _mm512_set1_epi32(*half_sums.add(2 * c + part))
                    } else {
                        let second = _mm512_set1_epi32(*half_sums.add(2 * c + 1));
                        _mm512_add_epi32(_mm512_set1_epi32(*half_sums.add(2 * c)), second)
                    };
                    dots[c] = if shift == 0 {
                        sum
                    } else {
                        _mm512_srav_epi32(sum, _mm512_set1_epi32(shift as i32))
                    };
                }
            }
            for i in part * 8 / parts..(part + 1) * 8 / parts {
                let weights = F::codes::<ODD>(lines, pair, i);
                for c in 0..C {
                    let x = codes.add(c * BLOCK_COLS + 4 * i).cast::<i32>().read_unaligned();
                    dots[c] = _mm512_dpbusd_epi32(dots[c], weights, _mm512_set1_epi32(x));
                }
            }
            let scale = scales[(2 * pair + ODD) * parts + part];
            for c in 0..C {
                sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[c]), scale, sums[c]);
            }
        }
        if F::HAS_MINS {
            for c in 0..C {
                let sum = _mm512_set1_ps(*x.sums.as_ptr().add(at + c));
                sums[c] = _mm512_fmadd_ps(neg_mins[2 * pair + ODD], sum, sums[c]);
            }
        }
    }
}

/// # Safety
/// AVX-512 and a line at `unit + 64·line`.
#[inline(always)]
unsafe fn line(unit: *const u8, line: usize) -> __m512i {
    // SAFETY: as for this function.
    unsafe { _mm512_loadu_si512(unit.add(line * LINE_BYTES).cast()) }
}

/// 16 f16 numbers, the half `half` of a line.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn half_line_f16(unit: *const u8, line: usize, half: usize) -> __m512 {
    // SAFETY: as for this function.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(unit.add(line * LINE_BYTES + 32 * half).cast())) }
}

/// 16 bf16 numbers, the half `half` of a line.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn half_line_bf16(unit: *const u8, line: usize, half: usize) -> __m512 {
    // SAFETY: as for this function.
    unsafe {
        let bits = _mm256_loadu_si256(unit.add(line * LINE_BYTES + 32 * half).cast());
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }
}

/// Codes `i` of a block of `nibbles`: the low nibbles of lines 0 to 3, then the high ones.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn nibbles(unit: *const u8, first_line: usize, i: usize) -> __m512i {
    // SAFETY: as for this function.
    unsafe {
        let codes = line(unit, first_line + i % 4);
        let codes = if i < 4 { codes } else { _mm512_srli_epi16::<4>(codes) };
        _mm512_and_si512(codes, _mm512_set1_epi8(15))
    }
}

/// The fifth bits of code line `i`, as 16 in each byte, from a line in which they are bit `i`.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn fifth_bits(bits: __m512i, i: usize) -> __m512i {
    // SAFETY: as for this function.
    unsafe {
        // The shift is of 16-bit lanes; a bit stays in its byte.
        let shifted = if i < 4 {
            _mm512_slli_epi16::<4>(_mm512_srlv_epi16(bits, _mm512_set1_epi16(i as i16)))
        } else {
            _mm512_srlv_epi16(bits, _mm512_set1_epi16(i as i16 - 4))
        };
        _mm512_and_si512(shifted, _mm512_set1_epi8(16))
    }
}

impl Unpack for Q4_0 {
    const OFFSET: u32 = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], _: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (half_line_f16(unit, 0, 0), half_line_f16(unit, 0, 1)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, _: usize, i: usize) -> __m512i {
        // SAFETY: as for the trait.
        unsafe { nibbles(unit, 1 + 4 * ODD, i) }
    }
}

impl Unpack for Q4_1 {
    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]) {
        for block in 0..2 {
            // SAFETY: as for the trait.
            unsafe {
                scales[block] = half_line_f16(unit, block, 0);
                neg_mins[block] = half_line_f16(unit, block, 1);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, _: usize, i: usize) -> __m512i {
        // SAFETY: as for the trait.
        unsafe { nibbles(unit, 2 + 4 * ODD, i) }
    }
}

impl Unpack for Q5_0 {
    const OFFSET: u32 = 16;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], _: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (half_line_f16(unit, 0, 0), half_line_f16(unit, 0, 1)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, _: usize, i: usize) -> __m512i {
        // SAFETY: as for the trait.
        unsafe { _mm512_or_si512(nibbles(unit, 3 + 4 * ODD, i), fifth_bits(line(unit, 1 + ODD), i)) }
    }
}

impl Unpack for Q8_0 {
    const OFFSET: u32 = 128;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], _: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (half_line_f16(unit, 0, 0), half_line_f16(unit, 0, 1)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, _: usize, i: usize) -> __m512i {
        // SAFETY: as for the trait.
        unsafe { line(unit, 1 + 8 * ODD + i) }
    }
}

impl<const BITS: usize, const GROUP: usize, const IS_BF16: bool> Unpack for Affine<BITS, GROUP, IS_BF16> {
    const OFFSET: u32 = if BITS == 8 { 128 } else { 0 };

    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]) {
        for block in 0..2 {
            let line = Self::scale_line(block);
            // SAFETY: as for the trait.
            unsafe {
                let (scale, bias) = if IS_BF16 {
                    (half_line_bf16(unit, line, 0), half_line_bf16(unit, line, 1))
                } else {
                    (half_line_f16(unit, line, 0), half_line_f16(unit, line, 1))
                };
                scales[block] = scale;
                neg_mins[block] =
                    if BITS == 8 { _mm512_fmadd_ps(scale, _mm512_set1_ps(128.0), bias) } else { bias };
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, _: usize, i: usize) -> __m512i {
        let first = Self::code_line(ODD);
        // SAFETY: as for the trait.
        unsafe { if BITS == 8 { line(unit, first + i) } else { nibbles(unit, first, i) } }
    }
}

impl Unpack for Q4K {
    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe {
            k_scales(unit, scales, neg_mins);
            // The odd blocks' codes stay in the high nibbles.
            for block in [1, 3, 5, 7] {
                scales[block] = _mm512_mul_ps(scales[block], _mm512_set1_ps(1.0 / 16.0));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, pair: usize, i: usize) -> __m512i {
        let mask = if ODD == 0 { 0x0f } else { 0xf0u8 as i8 };
        // SAFETY: as for the trait.
        unsafe { _mm512_and_si512(line(unit, 4 + 8 * pair + i), _mm512_set1_epi8(mask)) }
    }
}

impl Unpack for Q5K {
    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe { k_scales(unit, scales, neg_mins) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, pair: usize, i: usize) -> __m512i {
        // SAFETY: as for the trait.
        unsafe {
            let codes = line(unit, 12 + 8 * pair + i);
            let codes = if ODD == 0 { codes } else { _mm512_srli_epi16::<4>(codes) };
            let low = _mm512_and_si512(codes, _mm512_set1_epi8(15));
            _mm512_or_si512(low, fifth_bits(line(unit, 4 + 2 * pair + ODD), i))
        }
    }
}

impl Unpack for Q6K {
    // Codes come out times four, without a shift.
    const OFFSET: u32 = 4 * 32;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, scales: &mut [__m512; 16], _: &mut [__m512; 8]) {
        // SAFETY: as for the trait.
        unsafe {
            let d = _mm512_mul_ps(half_line_f16(unit, 0, 0), _mm512_set1_ps(0.25));
            for i in 0..4 {
                let bytes = line(unit, 1 + i);
                scales[4 * i] = times_top_byte(d, _mm512_slli_epi32::<24>(bytes));
                scales[4 * i + 1] = times_top_byte(d, _mm512_slli_epi32::<16>(bytes));
                scales[4 * i + 2] = times_top_byte(d, _mm512_slli_epi32::<8>(bytes));
                scales[4 * i + 3] = times_top_byte(d, bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, pair: usize, i: usize) -> __m512i {
        let first = 5 + 3 * (2 * (2 * pair + ODD) + i / 4);
        // SAFETY: as for the trait.
        unsafe {
            if i % 4 < 3 {
                return _mm512_and_si512(line(unit, first + i % 4), _mm512_set1_epi8(!3));
            }
            let two_bits = _mm512_set1_epi8(3);
            let low = _mm512_and_si512(line(unit, first), two_bits);
            let middle = _mm512_and_si512(line(unit, first + 1), two_bits);
            let high = _mm512_and_si512(line(unit, first + 2), two_bits);
            let lower = _mm512_or_si512(_mm512_slli_epi16::<2>(low), _mm512_slli_epi16::<4>(middle));
            _mm512_or_si512(lower, _mm512_slli_epi16::<6>(high))
        }
    }
}

/// `d` times the top byte, signed, of each 32-bit lane.
///
/// # Safety
/// AVX-512.
#[inline(always)]
unsafe fn times_top_byte(d: __m512, lanes: __m512i) -> __m512 {
    // SAFETY: as for this function.
    unsafe { _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(lanes))) }
}

/// Scales and negated minima of a K-quant's eight blocks, from lines 0 to 3.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn k_scales(unit: *const u8, scales: &mut [__m512; 16], neg_mins: &mut [__m512; 8]) {
    // SAFETY: as for this function.
    unsafe {
        let d = half_line_f16(unit, 0, 0);
        let neg_dmin = _mm512_sub_ps(_mm512_set1_ps(-0.0), half_line_f16(unit, 0, 1));
        let (low_six, low_four, high_two) =
            (_mm512_set1_epi32(63), _mm512_set1_epi32(15), _mm512_set1_epi32(0x30));
        let (mut s, mut m, mut both) = (line(unit, 1), line(unit, 2), line(unit, 3));
        // What the top two bits of the first bytes add to the last four scales.
        let (mut s_top, mut m_top) = (_mm512_srli_epi32::<2>(s), _mm512_srli_epi32::<2>(m));
        for j in 0..4 {
            let last_scale =
                _mm512_or_si512(_mm512_and_si512(both, low_four), _mm512_and_si512(s_top, high_two));
            let last_min = _mm512_or_si512(
                _mm512_and_si512(_mm512_srli_epi32::<4>(both), low_four),
                _mm512_and_si512(m_top, high_two),
            );
            scales[j] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_and_si512(s, low_six)));
            scales[4 + j] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(last_scale));
            neg_mins[j] = _mm512_mul_ps(neg_dmin, _mm512_cvtepi32_ps(_mm512_and_si512(m, low_six)));
            neg_mins[4 + j] = _mm512_mul_ps(neg_dmin, _mm512_cvtepi32_ps(last_min));
            (s, m, both) =
                (_mm512_srli_epi32::<8>(s), _mm512_srli_epi32::<8>(m), _mm512_srli_epi32::<8>(both));
            (s_top, m_top) = (_mm512_srli_epi32::<8>(s_top), _mm512_srli_epi32::<8>(m_top));
        }
    }
}
