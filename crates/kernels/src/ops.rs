//! Elementwise and row operations, written so that a compiler vectorises them for the instruction set
//! of the function they are inlined into.
//!
//! Sums run over 16 lanes in a fixed order and every product-and-sum is a fused `mul_add`, so that all
//! tables give the same bits.

/// Lanes of a running sum.
const LANES: usize = 16;

/// `out = x · weight / rms(x)` (Zhang & Sennrich 2019).
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sums = [0.0f32; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for x in lanes {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = x.mul_add(*x, *sum);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = x.mul_add(*x, *sum);
    }
    let scale = 1.0 / (sum_lanes(sums) / x.len() as f32 + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

#[inline(always)]
fn sum_lanes(mut sums: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}

/// `gate = silu(gate) · up`.
#[inline(always)]
pub(crate) fn silu_multiply(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// `x += y`.
#[inline(always)]
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Rotates the pairs `(x[i], x[i + n])` of one head, `n = cos.len()`, the rest untouched.
#[inline(always)]
pub(crate) fn rotate_halves(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = x.split_at_mut(cos.len());
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = (a.mul_add(*cos, -(*b * sin)), a.mul_add(*sin, *b * cos));
    }
}

/// Rotates the neighbouring pairs `(x[2i], x[2i + 1])` of one head.
#[inline(always)]
pub(crate) fn rotate_neighbours(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (([a, b], cos), sin) in x.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
        (*a, *b) = (a.mul_add(*cos, -(*b * sin)), a.mul_add(*sin, *b * cos));
    }
}

/// Rounds to int8 with one scale, which it returns; also the sums of each 16 codes.
#[inline(always)]
pub(crate) fn quantize(x: &[f32], codes: &mut [i8; 256], half_sums: &mut [i16; 16]) -> f32 {
    let largest = max_abs(x);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = round_to_int(x * inverse) as i8;
    }
    for (sum, codes) in half_sums.iter_mut().zip(codes[..x.len()].as_chunks::<16>().0) {
        *sum = codes.iter().map(|code| i16::from(*code)).sum();
    }
    largest / 127.0
}

/// Rounds to the nearest integer, ties to even, for |x| < 2²²; anything for other numbers.
#[inline(always)]
pub(crate) fn round_to_int(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2²³: the sum's last bit is worth one
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// All words, or-ed exclusively: what reading memory costs, and nothing else.
#[inline(always)]
pub(crate) fn fold_words(words: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    let (lanes, rest) = words.as_chunks::<64>();
    for words in lanes {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum ^= word;
        }
    }
    sums.iter().chain(rest).fold(0, |a, b| a ^ b)
}

/// Largest magnitude.
#[inline(always)]
pub(crate) fn max_abs(x: &[f32]) -> f32 {
    let mut largest = [0.0f32; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for x in lanes {
        for (largest, x) in largest.iter_mut().zip(x) {
            *largest = if x.abs() > *largest { x.abs() } else { *largest };
        }
    }
    // Halved until one is left: one after the other, each would wait for the one before.
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            largest[i] = if largest[i + n] > largest[i] { largest[i + n] } else { largest[i] };
        }
    }
    rest.iter().fold(largest[0], |a: f32, x| if x.abs() > a { x.abs() } else { a })
}

/// Sum of squares.
#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for x in lanes {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = x.mul_add(*x, *sum);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = x.mul_add(*x, *sum);
    }
    sum_lanes(sums)
}

/// eˣ within 2 units in the last place for normal results; 0 below −87, e⁸⁸ above 88.
#[inline(always)]
#[allow(clippy::excessive_precision, clippy::approx_constant)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if x < 88.0 { x } else { 88.0 };
    let clamped = if clamped > -87.0 { clamped } else { -87.0 };
    let n = round_to_int(clamped * 1.442_695_041);
    let n_float = n as f32;
    // Cody and Waite: ln 2 in two parts, so that the remainder is exact.
    let r = n_float.mul_add(-0.693_359_375, clamped);
    let r = n_float.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4f32;
    p = p.mul_add(r, 1.398_199_950_7e-3);
    p = p.mul_add(r, 8.333_451_907_3e-3);
    p = p.mul_add(r, 4.166_579_589_4e-2);
    p = p.mul_add(r, 1.666_666_545_9e-1);
    p = p.mul_add(r, 5.000_000_120_1e-1);
    let e = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits(((n + 127) << 23) as u32);
    if x > -87.0 { e * power } else { 0.0 }
}

/// 2ˣ for x ≤ 0 within 2e-7 of itself; 2⁻¹²⁰ below −120.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    let x = if x > EXP2_LEAST { x } else { EXP2_LEAST };
    let shifted = x + EXP2_MAGIC;
    let f = x - (shifted - EXP2_MAGIC);
    let [a, b, c, d, e] = EXP2_TERMS;
    let p = e.mul_add(f, d).mul_add(f, c).mul_add(f, b).mul_add(f, a).mul_add(f, 1.0);
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

pub(crate) const EXP2_LEAST: f32 = -120.0;
/// 1.5 · 2²³: what is added to it ends up rounded in its last bits.
pub(crate) const EXP2_MAGIC: f32 = 12_582_912.0;
#[allow(clippy::excessive_precision, clippy::approx_constant)]
/// 2ᶠ = 1 + a·f + b·f² + … for |f| ≤ 1/2, of least relative error.
pub(crate) const EXP2_TERMS: [f32; 5] =
    [6.931_470_04e-1, 2.402_224_24e-1, 5.550_733_58e-2, 9.671_513e-3, 1.326_472_7e-3];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_and_ends_at_zero() {
        for i in -8_600..8_700 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!(((f64::from(exp(x)) - exact) / exact).abs() < 3e-7, "exp({x})");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn exp2_is_close_and_ends_near_zero() {
        for i in -12_000..=0 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp2();
            assert!(((f64::from(exp2(x)) - exact) / exact).abs() < 2e-7, "exp2({x})");
        }
        assert_eq!(exp2(0.0), 1.0);
        for x in [-121.0, -1e9, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exp2(x), 2f32.powi(-120));
        }
    }

    #[test]
    fn rounds_ties_to_even() {
        assert_eq!([0.5, 1.5, -0.5, -2.5, 126.9].map(round_to_int), [0, 2, 0, -2, 127]);
    }

    #[test]
    fn quantizes_to_the_full_range() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 - 63.0).collect();
        let (mut codes, mut sums) = ([0; 256], [0; 16]);
        let scale = quantize(&x, &mut codes, &mut sums);
        assert_eq!((codes[0], codes[63]), (-127, 0));
        for (x, code) in x.iter().zip(codes) {
            assert!((x - scale * f32::from(code)).abs() <= scale / 2.0);
        }
        assert_eq!(sums[0], codes[..16].iter().map(|&c| i16::from(c)).sum::<i16>());
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        let (mut codes, mut sums) = ([1; 256], [1; 16]);
        assert_eq!(quantize(&[0.0; 64], &mut codes, &mut sums), 0.0);
        assert!(codes[..64].iter().all(|&c| c == 0));
    }
}
