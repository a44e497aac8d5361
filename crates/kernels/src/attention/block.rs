//! One block of positions, folded into the running softmax of a few queries.

use super::{BLOCK_SLOTS, KvLayer, MAX_HEAD_DIM, TILE_SLOTS, WeighedBlock};
use crate::Kernels;
use crate::ops::{exp, round_to_int};

/// Queries a task works on at once.
pub(super) const MAX_QUERIES: usize = 64;

/// Softmax over the positions seen so far: largest score, sum of weights, weighted sum of values.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(super) max: f32,
    pub(super) sum: f32,
}

impl Running {
    pub(super) const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Adds a part whose values, times `value_scale`, are `values`.
    #[inline(always)]
    pub(super) fn fold(
        &mut self,
        out: &mut [f32],
        part: Self,
        values: impl Iterator<Item = f32>,
        value_scale: f32,
    ) {
        let max = if part.max > self.max { part.max } else { self.max };
        let (keep, take) = (exp(self.max - max), exp(part.max - max));
        *self = Self { max, sum: part.sum.mul_add(take, self.sum * keep) };
        let take = take * value_scale;
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.mul_add(take, *out * keep);
        }
    }
}

/// Buffers of one task.
pub(super) struct Workspace {
    products: Vec<i32>,
    weights: Vec<i16>,
    sums: Vec<i32>,
}

impl Workspace {
    pub(super) fn new() -> Self {
        Self {
            products: vec![0; MAX_QUERIES * BLOCK_SLOTS],
            weights: vec![0; MAX_QUERIES * BLOCK_SLOTS],
            sums: vec![0; MAX_QUERIES * MAX_HEAD_DIM],
        }
    }
}

/// Encoded queries of one task, all of one KV head.
pub(super) struct QueryTile<'a> {
    /// `[n, head_dim]`.
    pub(super) codes: &'a [i16],
    /// Scale of each query, with 1/√head_dim in it.
    pub(super) scales: &'a [f32],
    /// Query heads a token has in this tile; the queries of a token follow each other.
    pub(super) heads_per_token: usize,
}

/// Slots of a block, from the start of a tile on, and which of them a token sees.
pub(super) struct BlockSlots<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Bit `i` of word `w` of a token's mask: it sees slot `start + 64w + i`. `[n_tokens]`.
    pub(super) visible: &'a [[u64; BLOCK_SLOTS.div_ceil(64)]],
}

/// Folds one block into the running softmax of each query. Queries that see none of it stay as they are.
#[allow(clippy::too_many_arguments)]
pub(super) fn fold_block(
    kernels: &Kernels,
    layer: &KvLayer,
    head: usize,
    queries: &QueryTile,
    slots: &BlockSlots,
    workspace: &mut Workspace,
    running: &mut [Running],
    out: &mut [f32],
) {
    let head_dim = layer.head_dim();
    let n_slots = (slots.end - slots.start).next_multiple_of(TILE_SLOTS);
    for (i, products) in (0..n_slots).step_by(TILE_SLOTS).zip(0..) {
        let tile = layer.key_tile(head, slots.start / TILE_SLOTS + products);
        (kernels.key_products)(tile, queries.codes, head_dim, &mut workspace.products[i..], BLOCK_SLOTS);
    }
    let key_scales = &layer.key_scales(head)[slots.start..][..n_slots];
    let value_scales = &layer.value_scales(head)[slots.start..][..n_slots];
    let n_queries = queries.scales.len();
    let mut parts = [(Running::EMPTY, 0.0); MAX_QUERIES];
    for (query, part) in parts.iter_mut().enumerate().take(n_queries) {
        let row = query * BLOCK_SLOTS..query * BLOCK_SLOTS + n_slots;
        let scores = Scores {
            products: &workspace.products[row.clone()],
            query_scale: queries.scales[query],
            key_scales,
            value_scales,
            visible: &slots.visible[query / queries.heads_per_token],
        };
        *part = (kernels.softmax_block)(&scores, &mut workspace.weights[row]);
    }
    let block = WeighedBlock {
        head_dim,
        n_slots,
        values: layer.values_from(head, slots.start),
        weights: &workspace.weights[..n_queries * BLOCK_SLOTS],
        stride: BLOCK_SLOTS,
    };
    let sums = &mut workspace.sums[..n_queries * head_dim];
    (kernels.weighted_values)(&block, sums);
    for (query, (part, value_scale)) in parts.iter().enumerate().take(n_queries) {
        if part.max > f32::NEG_INFINITY {
            let range = query * head_dim..(query + 1) * head_dim;
            (kernels.fold_sums)(
                &mut running[query],
                &mut out[range.clone()],
                *part,
                &sums[range],
                *value_scale,
            );
        }
    }
}

/// What softmax over one block of one query needs.
pub(crate) struct Scores<'a> {
    products: &'a [i32],
    query_scale: f32,
    key_scales: &'a [f32],
    value_scales: &'a [f32],
    visible: &'a [u64],
}

/// Weights of the slots as 16-bit integers that add up to less than 2¹⁶, each with its value's scale
/// in it; also the block's largest score and sum of weights, and the scale of the weighted sum.
#[inline(always)]
pub(crate) fn softmax_block(scores: &Scores, weights: &mut [i16]) -> (Running, f32) {
    let n_tiles = weights.len() / TILE_SLOTS;
    let mut values = [[f32::NEG_INFINITY; TILE_SLOTS]; BLOCK_SLOTS / TILE_SLOTS];
    let values = &mut values[..n_tiles];
    let products = scores.products.as_chunks::<TILE_SLOTS>().0.iter();
    let key_scales = scores.key_scales.as_chunks::<TILE_SLOTS>().0;
    let value_scales = scores.value_scales.as_chunks::<TILE_SLOTS>().0;
    let mut max = [f32::NEG_INFINITY; TILE_SLOTS];
    for (tile, ((values, products), key_scales)) in
        values.iter_mut().zip(products).zip(key_scales).enumerate()
    {
        for i in 0..TILE_SLOTS {
            values[i] = products[i] as f32 * (scores.query_scale * key_scales[i]);
        }
        let visible = scores.visible[tile / 4] >> (TILE_SLOTS * (tile % 4)) & 0xffff;
        if visible != 0xffff {
            for (i, value) in values.iter_mut().enumerate() {
                *value = if visible >> i & 1 != 0 { *value } else { f32::NEG_INFINITY };
            }
        }
        for i in 0..TILE_SLOTS {
            max[i] = if values[i] > max[i] { values[i] } else { max[i] };
        }
    }
    let max = largest_of(max);
    if max == f32::NEG_INFINITY {
        weights.fill(0);
        return (Running::EMPTY, 0.0);
    }
    // The sum of weights, as integers: in which order they are added up must not matter.
    const ONE: f32 = (1 << 21) as f32;
    let mut sums = [0i32; TILE_SLOTS];
    let mut largest = [0.0f32; TILE_SLOTS];
    for (values, value_scales) in values.iter_mut().zip(value_scales) {
        for i in 0..TILE_SLOTS {
            let weight = exp(values[i] - max);
            sums[i] += round_to_int(weight * ONE);
            let scale = if weight > 0.0 { value_scales[i] } else { 0.0 };
            largest[i] = if scale > largest[i] { scale } else { largest[i] };
            values[i] = weight * scale;
        }
    }
    let largest = largest_of(largest);
    let sum = sums.iter().sum::<i32>() as f32 / ONE;
    let room = 65_535.0 - BLOCK_SLOTS as f32 / 2.0;
    let unit = if 32_767.0 * sum < room { 32_767.0 } else { room / sum };
    let factor = if largest > 0.0 { unit / largest } else { 0.0 };
    for (weights, values) in weights.as_chunks_mut::<TILE_SLOTS>().0.iter_mut().zip(values) {
        for i in 0..TILE_SLOTS {
            weights[i] = round_to_int(values[i] * factor) as i16;
        }
    }
    (Running { max, sum }, largest / unit)
}

#[inline(always)]
fn largest_of(mut lanes: [f32; TILE_SLOTS]) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
    }
    lanes[0]
}

/// [`Running::fold`] with integer values.
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
