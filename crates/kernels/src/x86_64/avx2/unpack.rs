//! Packed formats in registers of 8 rows.

use crate::formats::{Affine, Format, LINE_BYTES, Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0};
use std::arch::x86_64::*;

/// 16 numbers, rows 0 to 7 and 8 to 15.
pub(super) type Pair = [__m256; 2];

/// A format's unit in registers. All functions read the unit's lines at `unit`.
pub(super) trait Unpack: Format {
    /// What was added to the signed codes to make them unsigned: 0 or a power of two up to 128.
    const OFFSET: u32 = 0;
    /// Pair sums that can be added up in 16 bits; 0 for codes that stay signed.
    const PAIR_SUMS: usize;

    /// Scales of the blocks (of the half blocks, where those have their own) and negated minima of 8 rows.
    ///
    /// # Safety
    /// AVX2, FMA and F16C, and a whole unit at `unit`; `half` is 0 or 1.
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]);

    /// Codes of columns `4i … 4i+3` of block `2·pair + ODD`, 8 rows, unsigned, or signed where
    /// [`Unpack::PAIR_SUMS`] is 0.
    ///
    /// # Safety
    /// As for `scales`.
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, pair: usize, i: usize) -> __m256i;
}

/// Rows `8·half …` of a line.
///
/// # Safety
/// AVX2 and a line at `unit + 64·line`.
#[inline(always)]
unsafe fn half_line(unit: *const u8, line: usize, half: usize) -> __m256i {
    // SAFETY: as for this function.
    unsafe { _mm256_loadu_si256(unit.add(line * LINE_BYTES + 32 * half).cast()) }
}

/// Rows `8·half …` of the 16 f16 numbers in half `part` of a line.
///
/// # Safety
/// As for `half_line`, and F16C.
#[inline(always)]
unsafe fn f16s(unit: *const u8, line: usize, part: usize, half: usize) -> __m256 {
    // SAFETY: as for this function.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(unit.add(line * LINE_BYTES + 32 * part + 16 * half).cast())) }
}

/// Rows `8·half …` of the 16 bf16 numbers in half `part` of a line.
///
/// # Safety
/// As for `half_line`.
#[inline(always)]
unsafe fn bf16s(unit: *const u8, line: usize, part: usize, half: usize) -> __m256 {
    // SAFETY: as for this function.
    unsafe {
        let bits = _mm_loadu_si128(unit.add(line * LINE_BYTES + 32 * part + 16 * half).cast());
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    }
}

/// The low or the high nibbles of each byte.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn nibbles(codes: __m256i, high: bool) -> __m256i {
    // SAFETY: as for this function.
    unsafe {
        let codes = if high { _mm256_srli_epi16::<4>(codes) } else { codes };
        _mm256_and_si256(codes, _mm256_set1_epi8(15))
    }
}

/// The fifth bits of code line `i`, as 16 in each byte, from a line in which they are bit `i`.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn fifth_bits(bits: __m256i, i: usize) -> __m256i {
    // SAFETY: as for this function.
    unsafe {
        // The shift is of 32-bit lanes; a bit stays in its byte.
        let shifted = if i < 4 {
            _mm256_sllv_epi32(bits, _mm256_set1_epi32(4 - i as i32))
        } else {
            _mm256_srlv_epi32(bits, _mm256_set1_epi32(i as i32 - 4))
        };
        _mm256_and_si256(shifted, _mm256_set1_epi8(16))
    }
}

/// Declares [`Unpack`] for a 64-column format with one scale a block.
macro_rules! unpack_simple {
    ($format:ty, offset $offset:literal, sums $sums:literal, |$unit:ident, $half:ident, $odd:ident, $i:ident| $codes:expr) => {
        impl Unpack for $format {
            const OFFSET: u32 = $offset;
            const PAIR_SUMS: usize = $sums;

            #[inline(always)]
            unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], _: &mut [Pair; 8]) {
                // SAFETY: as for the trait.
                unsafe {
                    (scales[0][half], scales[1][half]) = (f16s(unit, 0, 0, half), f16s(unit, 0, 1, half))
                };
            }

            #[inline(always)]
            unsafe fn codes<const ODD: usize>(
                $unit: *const u8,
                $half: usize,
                _: usize,
                $i: usize,
            ) -> __m256i {
                let $odd = ODD;
                // SAFETY: as for the trait.
                unsafe { $codes }
            }
        }
    };
}

unpack_simple!(Q4_0, offset 8, sums 8, |unit, half, odd, i| nibbles(
    half_line(unit, 1 + 4 * odd + i % 4, half),
    i >= 4
));
unpack_simple!(Q5_0, offset 16, sums 4, |unit, half, odd, i| _mm256_or_si256(
    nibbles(half_line(unit, 3 + 4 * odd + i % 4, half), i >= 4),
    fifth_bits(half_line(unit, 1 + odd, half), i)
));
unpack_simple!(Q8_0, offset 0, sums 0, |unit, half, odd, i| _mm256_xor_si256(
    half_line(unit, 1 + 8 * odd + i, half),
    _mm256_set1_epi8(-128)
));

impl Unpack for Q4_1 {
    const PAIR_SUMS: usize = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]) {
        for block in 0..2 {
            // SAFETY: as for the trait.
            unsafe {
                scales[block][half] = f16s(unit, block, 0, half);
                neg_mins[block][half] = f16s(unit, block, 1, half);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, _: usize, i: usize) -> __m256i {
        // SAFETY: as for the trait.
        unsafe { nibbles(half_line(unit, 2 + 4 * ODD + i % 4, half), i >= 4) }
    }
}

impl<const BITS: usize, const GROUP: usize, const IS_BF16: bool> Unpack for Affine<BITS, GROUP, IS_BF16> {
    const PAIR_SUMS: usize = if BITS == 8 { 0 } else { 8 };

    #[inline(always)]
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]) {
        for block in 0..2 {
            let line = Self::scale_line(block);
            // SAFETY: as for the trait.
            unsafe {
                let (scale, bias) = if IS_BF16 {
                    (bf16s(unit, line, 0, half), bf16s(unit, line, 1, half))
                } else {
                    (f16s(unit, line, 0, half), f16s(unit, line, 1, half))
                };
                scales[block][half] = scale;
                neg_mins[block][half] =
                    if BITS == 8 { _mm256_fmadd_ps(scale, _mm256_set1_ps(128.0), bias) } else { bias };
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, _: usize, i: usize) -> __m256i {
        let first = Self::code_line(ODD);
        // SAFETY: as for the trait.
        unsafe {
            if BITS == 8 {
                _mm256_xor_si256(half_line(unit, first + i, half), _mm256_set1_epi8(-128))
            } else {
                nibbles(half_line(unit, first + i % 4, half), i >= 4)
            }
        }
    }
}

impl Unpack for Q4K {
    const PAIR_SUMS: usize = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]) {
        // SAFETY: as for the trait.
        unsafe { k_scales(unit, half, scales, neg_mins) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, pair: usize, i: usize) -> __m256i {
        // SAFETY: as for the trait.
        unsafe { nibbles(half_line(unit, 4 + 8 * pair + i, half), ODD == 1) }
    }
}

impl Unpack for Q5K {
    const PAIR_SUMS: usize = 4;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]) {
        // SAFETY: as for the trait.
        unsafe { k_scales(unit, half, scales, neg_mins) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, pair: usize, i: usize) -> __m256i {
        // SAFETY: as for the trait.
        unsafe {
            let low = nibbles(half_line(unit, 12 + 8 * pair + i, half), ODD == 1);
            _mm256_or_si256(low, fifth_bits(half_line(unit, 4 + 2 * pair + ODD, half), i))
        }
    }
}

impl Unpack for Q6K {
    const OFFSET: u32 = 32;
    const PAIR_SUMS: usize = 2;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], _: &mut [Pair; 8]) {
        // SAFETY: as for the trait.
        unsafe {
            let d = f16s(unit, 0, 0, half);
            for i in 0..4 {
                let bytes = half_line(unit, 1 + i, half);
                scales[4 * i][half] = times_top_byte(d, _mm256_slli_epi32::<24>(bytes));
                scales[4 * i + 1][half] = times_top_byte(d, _mm256_slli_epi32::<16>(bytes));
                scales[4 * i + 2][half] = times_top_byte(d, _mm256_slli_epi32::<8>(bytes));
                scales[4 * i + 3][half] = times_top_byte(d, bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, half: usize, pair: usize, i: usize) -> __m256i {
        let first = 5 + 3 * (2 * (2 * pair + ODD) + i / 4);
        // SAFETY: as for the trait.
        unsafe {
            if i % 4 < 3 {
                let codes = _mm256_srli_epi16::<2>(half_line(unit, first + i % 4, half));
                return _mm256_and_si256(codes, _mm256_set1_epi8(63));
            }
            let two_bits = _mm256_set1_epi8(3);
            let low = _mm256_and_si256(half_line(unit, first, half), two_bits);
            let middle = _mm256_and_si256(half_line(unit, first + 1, half), two_bits);
            let high = _mm256_and_si256(half_line(unit, first + 2, half), two_bits);
            let upper = _mm256_or_si256(_mm256_slli_epi16::<2>(middle), _mm256_slli_epi16::<4>(high));
            _mm256_or_si256(low, upper)
        }
    }
}

/// `d` times the top byte, signed, of each 32-bit lane.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn times_top_byte(d: __m256, lanes: __m256i) -> __m256 {
    // SAFETY: as for this function.
    unsafe { _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(lanes))) }
}

/// Scales and negated minima of a K-quant's eight blocks, from lines 0 to 3.
///
/// # Safety
/// As for `f16s`.
#[inline(always)]
unsafe fn k_scales(unit: *const u8, half: usize, scales: &mut [Pair; 16], neg_mins: &mut [Pair; 8]) {
    // SAFETY: as for this function.
    unsafe {
        let d = f16s(unit, 0, 0, half);
        let neg_dmin = _mm256_sub_ps(_mm256_set1_ps(-0.0), f16s(unit, 0, 1, half));
        let (low_six, low_four, high_two) =
            (_mm256_set1_epi32(63), _mm256_set1_epi32(15), _mm256_set1_epi32(0x30));
        let (mut s, mut m) = (half_line(unit, 1, half), half_line(unit, 2, half));
        let mut both = half_line(unit, 3, half);
        // What the top two bits of the first bytes add to the last four scales.
        let (mut s_top, mut m_top) = (_mm256_srli_epi32::<2>(s), _mm256_srli_epi32::<2>(m));
        for j in 0..4 {
            let last_scale =
                _mm256_or_si256(_mm256_and_si256(both, low_four), _mm256_and_si256(s_top, high_two));
            let last_min = _mm256_or_si256(
                _mm256_and_si256(_mm256_srli_epi32::<4>(both), low_four),
                _mm256_and_si256(m_top, high_two),
            );
            scales[j][half] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(s, low_six)));
            scales[4 + j][half] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(last_scale));
            neg_mins[j][half] = _mm256_mul_ps(neg_dmin, _mm256_cvtepi32_ps(_mm256_and_si256(m, low_six)));
            neg_mins[4 + j][half] = _mm256_mul_ps(neg_dmin, _mm256_cvtepi32_ps(last_min));
            (s, m, both) =
                (_mm256_srli_epi32::<8>(s), _mm256_srli_epi32::<8>(m), _mm256_srli_epi32::<8>(both));
            (s_top, m_top) = (_mm256_srli_epi32::<8>(s_top), _mm256_srli_epi32::<8>(m_top));
        }
    }
}
