//! Softmax of one query over one block, in powers of two.
//!
//! Scores are in units of ln 2, so that 2ˣ needs no change of base. Whatever is added up is an integer,
//! and rounding happens within one instruction: `w · s + 1.5 · 2²³` ends in the bits of the rounded product.

use super::block::SlotMask;
use super::{BLOCK_SLOTS, TILE_SLOTS};
use crate::ops::exp2;

/// Softmax over the positions seen so far: largest score, sum of weights, weighted sum of values.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(crate) max: f32,
    pub(crate) sum: f32,
}

impl Running {
    pub(crate) const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Adds a part whose values, times `value_scale`, are `values`.
    #[inline(always)]
    fn fold(&mut self, out: &mut [f32], part: Self, values: impl Iterator<Item = f32>, value_scale: f32) {
        let max = if part.max > self.max { part.max } else { self.max };
        let (keep, take) = (exp2(self.max - max), exp2(part.max - max));
        *self = Self { max, sum: part.sum.mul_add(take, self.sum * keep) };
        let take = take * value_scale;
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.mul_add(take, *out * keep);
        }
    }
}

/// [`Running::fold`] with the sums of a block.
#[inline(always)]
pub(crate) fn fold_sums(
    running: &mut Running,
    out: &mut [f32],
    part: Running,
    sums: &[i32],
    value_scale: f32,
) {
    running.fold(out, part, sums.iter().map(|&sum| sum as f32), value_scale);
}

/// [`Running::fold`] with the result of a span.
#[inline(always)]
pub(crate) fn fold_span(running: &mut Running, out: &mut [f32], part: Running, values: &[f32]) {
    running.fold(out, part, values.iter().copied(), 1.0);
}

/// What softmax over one block of one query needs, for whole tiles of slots.
pub(crate) struct Scores<'a> {
    pub(crate) products: &'a [i32],
    pub(crate) query_scale: f32,
    pub(crate) key_scales: &'a [f32],
    pub(crate) value_scales: &'a [f32],
    /// None: all slots.
    pub(crate) visible: Option<&'a SlotMask>,
}

/// 1.5 · 2²³: a sum with it has a last bit worth one, so that it ends in the other summand, rounded.
pub(crate) const MAGIC: f32 = 12_582_912.0;
/// A weight of 1 in the sum of weights: in which order they are added up must not matter.
pub(crate) const ONE: f32 = (1 << 21) as f32;
/// A weight that rounds to 0 in that sum counts nothing, lest the scale of a value without weight decide
/// how precise the others are.
pub(crate) const NOTHING: f32 = 0.5 / ONE;

type Tile<T> = [T; TILE_SLOTS];
const MAX_TILES: usize = BLOCK_SLOTS / TILE_SLOTS;

/// Weights of the slots as 16-bit integers that add up to less than 2¹⁶, each with its value's scale
/// in it; also the block's largest score and sum of weights, and the scale of the weighted sum.
#[inline(always)]
pub(crate) fn softmax_block(scores: &Scores, weights: &mut [i16]) -> (Running, f32) {
    let products = scores.products.as_chunks::<TILE_SLOTS>().0;
    let key_scales = scores.key_scales.as_chunks::<TILE_SLOTS>().0;
    let weights = weights.as_chunks_mut::<TILE_SLOTS>().0;
    let n_tiles = weights.len();
    let mut scaled: [Tile<f32>; MAX_TILES] = [[0.0; TILE_SLOTS]; MAX_TILES];
    let mut value_scales: [Tile<f32>; MAX_TILES] = [[0.0; TILE_SLOTS]; MAX_TILES];
    let value_scales = &mut value_scales[..n_tiles];
    value_scales.copy_from_slice(scores.value_scales.as_chunks().0);
    for ((scaled, products), key_scales) in scaled.iter_mut().zip(products).zip(key_scales) {
        for i in 0..TILE_SLOTS {
            scaled[i] = products[i] as f32 * key_scales[i];
        }
    }
    if let Some(visible) = scores.visible {
        for (tile, (scaled, value_scales)) in scaled.iter_mut().zip(value_scales.iter_mut()).enumerate() {
            for i in 0..TILE_SLOTS {
                if visible[tile / 4] >> (TILE_SLOTS * (tile % 4) + i) & 1 == 0 {
                    (scaled[i], value_scales[i]) = (f32::NEG_INFINITY, 0.0);
                }
            }
        }
    }
    let scaled = &mut scaled[..n_tiles];
    let max = largest_of(scaled, f32::NEG_INFINITY);
    if max == f32::NEG_INFINITY {
        weights.fill([0; TILE_SLOTS]);
        return (Running::EMPTY, 0.0);
    }
    // As the scores themselves are rounded: fused, a score could exceed the largest, and a code 16 bits.
    let max = max * scores.query_scale;
    let mut sums = [0i32; TILE_SLOTS];
    for (tile, value_scales) in scaled.iter_mut().zip(value_scales.iter_mut()) {
        for i in 0..TILE_SLOTS {
            tile[i] = exp2(tile[i] * scores.query_scale - max);
            sums[i] = sums[i].wrapping_add(tile[i].mul_add(ONE, MAGIC).to_bits() as i32);
            value_scales[i] = if tile[i] > NOTHING { value_scales[i] } else { 0.0 };
        }
    }
    // Every slot has added the bits of `MAGIC`, too.
    let magics = (MAGIC.to_bits() as i32).wrapping_mul((n_tiles * TILE_SLOTS) as i32);
    let sum = sums.iter().fold(0i32, |a, &b| a.wrapping_add(b)).wrapping_sub(magics);
    let (sum, factor, scale) = weight_scales(sum, largest_of(value_scales, 0.0));
    for ((weights, values), value_scales) in weights.iter_mut().zip(scaled).zip(value_scales) {
        for i in 0..TILE_SLOTS {
            weights[i] = values[i].mul_add(value_scales[i] * factor, MAGIC).to_bits() as i16;
        }
    }
    (Running { max, sum }, scale)
}

/// From a block's sum of weights and its largest scale of values: the sum, the factor that turns a weight
/// times its value's scale into its code, and the scale of a sum of codes times values.
#[inline(always)]
pub(crate) fn weight_scales(sum: i32, largest_scale: f32) -> (f32, f32, f32) {
    let sum = sum as f32 / ONE;
    let room = 65_535.0 - BLOCK_SLOTS as f32 / 2.0;
    let unit = if 32_767.0 * sum < room { 32_767.0 } else { room / sum };
    let factor = if largest_scale > 0.0 { unit / largest_scale } else { 0.0 };
    (sum, factor, largest_scale / unit)
}

#[inline(always)]
fn largest_of(tiles: &[Tile<f32>], least: f32) -> f32 {
    let mut lanes = [least; TILE_SLOTS];
    for tile in tiles {
        for i in 0..TILE_SLOTS {
            lanes[i] = if tile[i] > lanes[i] { tile[i] } else { lanes[i] };
        }
    }
    lanes.iter().fold(least, |a, &b| if b > a { b } else { a })
}
