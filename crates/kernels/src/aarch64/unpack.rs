//! Units of each format in registers: a register holds the codes of 4 rows × 4 columns, signed as the
//! format defines them, so that they multiply signed activations without a correction.
//!
//! NEON is part of every 64-bit Arm target, so nothing here names a feature.

use crate::formats::{Affine, Format, LINE_BYTES, Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0};
use std::arch::aarch64::*;
use std::arch::asm;

/// A format's unit in registers. All functions read the unit's lines at `unit`, rows `4·quad …`.
pub(super) trait Unpack: Format {
    /// Products of a code and an activation (at most 127) that can be added up in 16 bits: 2 or 8.
    const I16_PRODUCTS: usize;

    /// Scales of the blocks (of the half blocks, where those have their own) and negated minima.
    ///
    /// # Safety
    /// A whole unit at `unit`; `quad` below 4.
    unsafe fn scales(
        unit: *const u8,
        quad: usize,
        scales: &mut [float32x4_t; 16],
        neg_mins: &mut [float32x4_t; 8],
    );

    /// Codes of columns `4i … 4i+3` of block `2·pair + ODD`.
    ///
    /// # Safety
    /// As for `scales`; `i` below 8.
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, pair: usize, i: usize) -> int8x16_t;
}

impl Unpack for Q4_0 {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, quad: usize, scales: &mut [float32x4_t; 16], _: &mut [float32x4_t; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (f16s(unit, 0, 0, quad), f16s(unit, 0, 1, quad)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, _: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe { minus(nibbles(quad_line(unit, 1 + 4 * ODD + i % 4, quad), i >= 4), 8) }
    }
}

impl Unpack for Q4_1 {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(
        unit: *const u8,
        quad: usize,
        scales: &mut [float32x4_t; 16],
        neg_mins: &mut [float32x4_t; 8],
    ) {
        for block in 0..2 {
            // SAFETY: as for the trait.
            unsafe {
                scales[block] = f16s(unit, block, 0, quad);
                neg_mins[block] = f16s(unit, block, 1, quad);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, _: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe { vreinterpretq_s8_u8(nibbles(quad_line(unit, 2 + 4 * ODD + i % 4, quad), i >= 4)) }
    }
}

impl Unpack for Q5_0 {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, quad: usize, scales: &mut [float32x4_t; 16], _: &mut [float32x4_t; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (f16s(unit, 0, 0, quad), f16s(unit, 0, 1, quad)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, _: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe {
            let low = nibbles(quad_line(unit, 3 + 4 * ODD + i % 4, quad), i >= 4);
            minus(with_fifth_bits(low, quad_line(unit, 1 + ODD, quad), i), 16)
        }
    }
}

impl Unpack for Q8_0 {
    const I16_PRODUCTS: usize = 2;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, quad: usize, scales: &mut [float32x4_t; 16], _: &mut [float32x4_t; 8]) {
        // SAFETY: as for the trait.
        unsafe { (scales[0], scales[1]) = (f16s(unit, 0, 0, quad), f16s(unit, 0, 1, quad)) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, _: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe { minus_128(quad_line(unit, 1 + 8 * ODD + i, quad)) }
    }
}

impl<const BITS: usize, const GROUP: usize, const IS_BF16: bool> Unpack for Affine<BITS, GROUP, IS_BF16> {
    const I16_PRODUCTS: usize = if BITS == 8 { 2 } else { 8 };

    #[inline(always)]
    unsafe fn scales(
        unit: *const u8,
        quad: usize,
        scales: &mut [float32x4_t; 16],
        neg_mins: &mut [float32x4_t; 8],
    ) {
        let numbers = |line, part| {
            // SAFETY: as for the trait.
            unsafe { if IS_BF16 { bf16s(unit, line, part, quad) } else { f16s(unit, line, part, quad) } }
        };
        for block in 0..2 {
            let line = Self::scale_line(block);
            let (scale, bias) = (numbers(line, 0), numbers(line, 1));
            scales[block] = scale;
            // SAFETY: NEON.
            neg_mins[block] = if BITS == 8 { unsafe { vfmaq_n_f32(bias, scale, 128.0) } } else { bias };
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, _: usize, i: usize) -> int8x16_t {
        let first = Self::code_line(ODD);
        // SAFETY: as for the trait.
        unsafe {
            if BITS == 8 {
                minus_128(quad_line(unit, first + i, quad))
            } else {
                vreinterpretq_s8_u8(nibbles(quad_line(unit, first + i % 4, quad), i >= 4))
            }
        }
    }
}

impl Unpack for Q4K {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(
        unit: *const u8,
        quad: usize,
        scales: &mut [float32x4_t; 16],
        neg_mins: &mut [float32x4_t; 8],
    ) {
        // SAFETY: as for the trait.
        unsafe { k_scales(unit, quad, scales, neg_mins) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, pair: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe { vreinterpretq_s8_u8(nibbles(quad_line(unit, 4 + 8 * pair + i, quad), ODD == 1)) }
    }
}

impl Unpack for Q5K {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(
        unit: *const u8,
        quad: usize,
        scales: &mut [float32x4_t; 16],
        neg_mins: &mut [float32x4_t; 8],
    ) {
        // SAFETY: as for the trait.
        unsafe { k_scales(unit, quad, scales, neg_mins) };
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, pair: usize, i: usize) -> int8x16_t {
        // SAFETY: as for the trait.
        unsafe {
            let low = nibbles(quad_line(unit, 12 + 8 * pair + i, quad), ODD == 1);
            vreinterpretq_s8_u8(with_fifth_bits(low, quad_line(unit, 4 + 2 * pair + ODD, quad), i))
        }
    }
}

impl Unpack for Q6K {
    const I16_PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, quad: usize, scales: &mut [float32x4_t; 16], _: &mut [float32x4_t; 8]) {
        // SAFETY: as for the trait.
        unsafe {
            let d = f16s(unit, 0, 0, quad);
            let scale = |bytes| vmulq_f32(d, vcvtq_f32_s32(vshrq_n_s32::<24>(bytes)));
            for i in 0..4 {
                let bytes = vreinterpretq_s32_u8(quad_line(unit, 1 + i, quad));
                scales[4 * i] = scale(vshlq_n_s32::<24>(bytes));
                scales[4 * i + 1] = scale(vshlq_n_s32::<16>(bytes));
                scales[4 * i + 2] = scale(vshlq_n_s32::<8>(bytes));
                scales[4 * i + 3] = scale(bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const ODD: usize>(unit: *const u8, quad: usize, pair: usize, i: usize) -> int8x16_t {
        let first = 5 + 3 * (2 * (2 * pair + ODD) + i / 4);
        // SAFETY: as for the trait.
        unsafe {
            let high_six = if i % 4 < 3 {
                quad_line(unit, first + i % 4, quad)
            } else {
                // Shift left and insert: the low two bits of the three lines come to stand side by side.
                let [a, b, c] = [0, 1, 2].map(|i| quad_line(unit, first + i, quad));
                vshlq_n_u8::<2>(vsliq_n_u8::<2>(a, vsliq_n_u8::<2>(b, c)))
            };
            // The sign bit flipped, six unsigned bits less 32 are six signed ones.
            vshrq_n_s8::<2>(minus_128(high_six))
        }
    }
}

/// Rows `4·quad …` of a line.
///
/// # Safety
/// A line at `unit + 64·line`.
#[inline(always)]
unsafe fn quad_line(unit: *const u8, line: usize, quad: usize) -> uint8x16_t {
    // SAFETY: as for this function.
    unsafe { vld1q_u8(unit.add(line * LINE_BYTES + 16 * quad)) }
}

/// Rows `4·quad …` of the 16 f16 numbers in half `part` of a line.
///
/// # Safety
/// As for `quad_line`.
#[inline(always)]
unsafe fn f16s(unit: *const u8, line: usize, part: usize, quad: usize) -> float32x4_t {
    // SAFETY: as for this function.
    unsafe { widen_f16(vld1_u16(unit.add(line * LINE_BYTES + 32 * part + 8 * quad).cast())) }
}

/// Rows `4·quad …` of the 16 bf16 numbers in half `part` of a line.
///
/// # Safety
/// As for `quad_line`.
#[inline(always)]
unsafe fn bf16s(unit: *const u8, line: usize, part: usize, quad: usize) -> float32x4_t {
    // SAFETY: as for this function.
    unsafe {
        let bits = vld1_u16(unit.add(line * LINE_BYTES + 32 * part + 8 * quad).cast());
        vreinterpretq_f32_u32(vshll_n_u16::<16>(bits))
    }
}

/// Four f16 numbers as f32. The intrinsic is not stable in the oldest Rust that this workspace supports.
#[inline(always)]
pub(super) fn widen_f16(bits: uint16x4_t) -> float32x4_t {
    let wide;
    // SAFETY: `fcvtl` is part of NEON and touches nothing but its operands.
    unsafe {
        asm!(
            "fcvtl {wide:v}.4s, {bits:v}.4h",
            wide = lateout(vreg) wide,
            bits = in(vreg) bits,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    wide
}

/// The low or the high nibbles of each byte.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn nibbles(codes: uint8x16_t, high: bool) -> uint8x16_t {
    // SAFETY: as for this function.
    unsafe { if high { vshrq_n_u8::<4>(codes) } else { vandq_u8(codes, vdupq_n_u8(15)) } }
}

/// Four-bit codes of code line `i` with a fifth bit, which is bit `i` of each byte of `bits`.
///
/// # Safety
/// NEON; `i` below 8.
#[inline(always)]
unsafe fn with_fifth_bits(low: uint8x16_t, bits: uint8x16_t, i: usize) -> uint8x16_t {
    // SAFETY: as for this function.
    unsafe { vbslq_u8(vdupq_n_u8(16), vshlq_u8(bits, vdupq_n_s8(4 - i as i8)), low) }
}

/// Unsigned codes less `offset`, signed.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn minus(codes: uint8x16_t, offset: i8) -> int8x16_t {
    // SAFETY: as for this function.
    unsafe { vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(offset)) }
}

/// Unsigned codes less 128, signed.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn minus_128(codes: uint8x16_t) -> int8x16_t {
    // SAFETY: as for this function.
    unsafe { vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128))) }
}

/// Scales and negated minima of a K-quant's eight blocks, from lines 0 to 3.
///
/// # Safety
/// As for `quad_line`.
#[inline(always)]
unsafe fn k_scales(
    unit: *const u8,
    quad: usize,
    scales: &mut [float32x4_t; 16],
    neg_mins: &mut [float32x4_t; 8],
) {
    // SAFETY: as for this function.
    unsafe {
        let d = f16s(unit, 0, 0, quad);
        let neg_dmin = vnegq_f32(f16s(unit, 0, 1, quad));
        let [s, m, both] = [1, 2, 3].map(|line| quad_line(unit, line, quad));
        let low_six = |x| vandq_u8(x, vdupq_n_u8(63));
        // What the top two bits of the first bytes add to the last four scales.
        let top_two = |x| vandq_u8(vshrq_n_u8::<2>(x), vdupq_n_u8(0x30));
        let last_s = vorrq_u8(nibbles(both, false), top_two(s));
        let last_m = vorrq_u8(nibbles(both, true), top_two(m));
        for (first, s, m) in [(0, low_six(s), low_six(m)), (4, last_s, last_m)] {
            let (s, m) = (byte_floats(s), byte_floats(m));
            for j in 0..4 {
                scales[first + j] = vmulq_f32(d, s[j]);
                neg_mins[first + j] = vmulq_f32(neg_dmin, m[j]);
            }
        }
    }
}

/// Byte `j` of each dword, as a number. The conversion divides by the byte's place.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn byte_floats(bytes: uint8x16_t) -> [float32x4_t; 4] {
    // SAFETY: as for this function.
    unsafe {
        let byte = |j: usize| vandq_u32(vreinterpretq_u32_u8(bytes), vdupq_n_u32(0xff << (8 * j)));
        [
            vcvtq_f32_u32(byte(0)),
            vcvtq_n_f32_u32::<8>(byte(1)),
            vcvtq_n_f32_u32::<16>(byte(2)),
            vcvtq_n_f32_u32::<24>(byte(3)),
        ]
    }
}
