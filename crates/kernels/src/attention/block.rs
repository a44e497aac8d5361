//! One block of positions, folded into the running softmax of a few queries.

use super::softmax::{Running, Scores};
use super::{BLOCK_SLOTS, KvLayer, MAX_HEAD_DIM, TILE_SLOTS, WeighedBlock};
use crate::Kernels;

/// Queries a task works on at once.
pub(super) const MAX_QUERIES: usize = 64;

/// Bit `i` of word `w`: slot `64w + i` of a block is seen.
pub(crate) type SlotMask = [u64; BLOCK_SLOTS.div_ceil(64)];

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
    /// Scale of each query, with log₂e/√head_dim in it.
    pub(super) scales: &'a [f32],
    /// Query heads a token has in this tile; the queries of a token follow each other.
    pub(super) heads_per_token: usize,
}

/// Slots of a block, from the start of a tile on, and which of them a token sees.
pub(super) struct BlockSlots<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What each token sees, `[n_tokens]`; none if all tokens see all slots, which are whole tiles then.
    pub(super) visible: Option<&'a [SlotMask]>,
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
    let keys = layer.key_tiles(head, slots.start, n_slots);
    (kernels.key_products)(keys, queries.codes, head_dim, &mut workspace.products, BLOCK_SLOTS);
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
            visible: slots.visible.map(|visible| &visible[query / queries.heads_per_token]),
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
