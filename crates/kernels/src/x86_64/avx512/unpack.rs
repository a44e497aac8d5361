//! Codes, scales and minima of each format's units, in registers of 16 rows.

use crate::formats::{Affine, Format, LINE_BYTES, Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0};
use std::arch::x86_64::*;

/// A format's unit in registers. All functions read the unit's lines at `unit`.
pub(super) trait Unpack: Format {
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
        // The odd blocks' codes stay in the high nibbles. SAFETY: as for the trait.
        unsafe { k_scales::<1>(unit, scales, neg_mins) };
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
        unsafe { k_scales::<16>(unit, scales, neg_mins) };
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

/// Scales and negated minima of a K-quant's eight blocks, from lines 0 to 3; those of odd blocks times `ODD_SIXTEENTHS` / 16.
///
/// # Safety
/// As for `line`.
#[inline(always)]
unsafe fn k_scales<const ODD_SIXTEENTHS: u32>(
    unit: *const u8,
    scales: &mut [__m512; 16],
    neg_mins: &mut [__m512; 8],
) {
    // SAFETY: as for this function.
    unsafe {
        let d = half_line_f16(unit, 0, 0);
        let odd_d = _mm512_mul_ps(d, _mm512_set1_ps(ODD_SIXTEENTHS as f32 / 16.0));
        let neg_dmin = _mm512_sub_ps(_mm512_set1_ps(-0.0), half_line_f16(unit, 0, 1));
        let low = |bytes| _mm512_and_si512(bytes, _mm512_set1_epi8(63));
        // Four bits of each byte, and the top two bits of another above them.
        let joined = |four, two| {
            let four = _mm512_and_si512(four, _mm512_set1_epi8(15));
            let two = _mm512_and_si512(_mm512_srli_epi32::<2>(two), _mm512_set1_epi8(0x30));
            _mm512_or_si512(four, two)
        };
        let (s, m, both) = (line(unit, 1), line(unit, 2), line(unit, 3));
        let s = [low(s), joined(both, s)];
        let m = [low(m), joined(_mm512_srli_epi32::<4>(both), m)];
        for half in 0..2 {
            let (s, m) = (bytes_as_f32(s[half]), bytes_as_f32(m[half]));
            for j in 0..4 {
                scales[4 * half + j] = _mm512_mul_ps(if j % 2 == 0 { d } else { odd_d }, s[j]);
                neg_mins[4 * half + j] = _mm512_mul_ps(neg_dmin, m[j]);
            }
        }
    }
}

/// The four bytes of each lane, the lowest first, as numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes_as_f32(lanes: __m512i) -> [__m512; 4] {
    // A byte of each lane to its lowest place, zeros to the others.
    let second = _mm512_set4_epi32(
        0x8080_800du32 as i32,
        0x8080_8009u32 as i32,
        0x8080_8005u32 as i32,
        0x8080_8001u32 as i32,
    );
    let third = _mm512_set4_epi32(
        0x8080_800eu32 as i32,
        0x8080_800au32 as i32,
        0x8080_8006u32 as i32,
        0x8080_8002u32 as i32,
    );
    [
        _mm512_cvtepi32_ps(_mm512_and_si512(lanes, _mm512_set1_epi32(255))),
        _mm512_cvtepi32_ps(_mm512_shuffle_epi8(lanes, second)),
        _mm512_cvtepi32_ps(_mm512_shuffle_epi8(lanes, third)),
        _mm512_cvtepi32_ps(_mm512_srli_epi32::<24>(lanes)),
    ]
}
