//! Softmax of a whole block that all see: its 128 scores stay in eight registers.

use super::rows;
use crate::attention::{MAGIC, NOTHING, ONE, Running, Scores, weight_scales};
use crate::ops::{EXP2_LEAST, EXP2_MAGIC, EXP2_TERMS};
use std::arch::x86_64::*;

/// Slots in a register.
const LANES: usize = 16;
/// Registers of a whole block.
const TILES: usize = crate::attention::BLOCK_POSITIONS / LANES;

pub(super) fn softmax_block(scores: &Scores, weights: &mut [i16]) -> (Running, f32) {
    let tiles = (
        scores.products.as_chunks().0.try_into(),
        scores.key_scales.as_chunks().0.try_into(),
        scores.value_scales.as_chunks().0.try_into(),
        weights.as_chunks_mut().0.try_into(),
    );
    if let (None, (Ok(products), Ok(key_scales), Ok(value_scales), Ok(weights))) = (scores.visible, tiles) {
        // SAFETY: the table exists only once its features were detected.
        unsafe { whole_block(products, scores.query_scale, key_scales, value_scales, weights) }
    } else {
        rows::softmax_block(scores, weights)
    }
}

/// `attention::softmax_block`, step by step.
#[target_feature(enable = "avx512f,avx512bw")]
fn whole_block(
    products: &[[i32; LANES]; TILES],
    query_scale: f32,
    key_scales: &[[f32; LANES]; TILES],
    value_scales: &[[f32; LANES]; TILES],
    weights: &mut [[i16; LANES]; TILES],
) -> (Running, f32) {
    let mut scaled = [_mm512_setzero_ps(); TILES];
    for (scaled, (products, key_scales)) in scaled.iter_mut().zip(products.iter().zip(key_scales)) {
        *scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(ints(products)), floats(key_scales));
    }
    let max = largest_of(&scaled, f32::NEG_INFINITY) * query_scale;
    let magic = _mm512_set1_ps(MAGIC);
    let mut sums = _mm512_setzero_si512();
    let mut counted = [_mm512_setzero_ps(); TILES];
    for ((tile, counted), value_scales) in scaled.iter_mut().zip(&mut counted).zip(value_scales) {
        *tile = exp2(_mm512_sub_ps(_mm512_mul_ps(*tile, _mm512_set1_ps(query_scale)), _mm512_set1_ps(max)));
        let rounded = _mm512_fmadd_ps(*tile, _mm512_set1_ps(ONE), magic);
        sums = _mm512_add_epi32(sums, _mm512_castps_si512(rounded));
        let is_something = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(*tile, _mm512_set1_ps(NOTHING));
        *counted = _mm512_maskz_mov_ps(is_something, floats(value_scales));
    }
    let magics = (MAGIC.to_bits() as i32).wrapping_mul((TILES * LANES) as i32);
    let sum = _mm512_reduce_add_epi32(sums).wrapping_sub(magics);
    let (sum, factor, scale) = weight_scales(sum, largest_of(&counted, 0.0));
    let factor = _mm512_set1_ps(factor);
    for ((tile, value_scales), weights) in scaled.iter().zip(counted).zip(weights) {
        let codes = _mm512_fmadd_ps(*tile, _mm512_mul_ps(value_scales, factor), magic);
        let codes = _mm512_cvtepi32_epi16(_mm512_castps_si512(codes));
        // SAFETY: 16 codes of 16 bits.
        unsafe { _mm256_storeu_si256(weights.as_mut_ptr().cast(), codes) };
    }
    (Running { max, sum }, scale)
}

/// `ops::exp2` of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp2(x: __m512) -> __m512 {
    let [a, b, c, d, e] = EXP2_TERMS;
    let (a, b, c) = (_mm512_set1_ps(a), _mm512_set1_ps(b), _mm512_set1_ps(c));
    let (d, e) = (_mm512_set1_ps(d), _mm512_set1_ps(e));
    let magic = _mm512_set1_ps(EXP2_MAGIC);
    let x = _mm512_max_ps(x, _mm512_set1_ps(EXP2_LEAST));
    let shifted = _mm512_add_ps(x, magic);
    let f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, magic));
    let p = _mm512_fmadd_ps(_mm512_fmadd_ps(e, f, d), f, c);
    let p = _mm512_fmadd_ps(_mm512_fmadd_ps(p, f, b), f, a);
    let p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0));
    let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn largest_of(tiles: &[__m512; TILES], least: f32) -> f32 {
    let [a, b, c, d, e, f, g, h] = *tiles;
    let [a, b] = [
        _mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)),
        _mm512_max_ps(_mm512_max_ps(e, f), _mm512_max_ps(g, h)),
    ];
    let largest = _mm512_reduce_max_ps(_mm512_max_ps(a, b));
    if largest > least { largest } else { least }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn ints(lanes: &[i32; LANES]) -> __m512i {
    // SAFETY: a register's worth.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn floats(lanes: &[f32; LANES]) -> __m512 {
    // SAFETY: a register's worth.
    unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
}
