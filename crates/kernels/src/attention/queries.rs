//! Attention of a batch of query rows: which task works on what.

use super::block::{BlockSlots, MAX_QUERIES, QueryTile, SlotMask, Workspace, fold_block};
use super::softmax::Running;
use super::{BLOCK_POSITIONS, BLOCK_SLOTS, KvLayer, MAX_HEAD_DIM, MAX_TREE_NODES, SPAN_BLOCKS, TILE_SLOTS};
use crate::packed_matrix::SharedChunks;
use crate::{Kernels, Pool};
use std::sync::Mutex;

/// Positions in a span.
const SPAN_POSITIONS: usize = SPAN_BLOCKS * BLOCK_POSITIONS;

/// A batch of query rows whose keys and values already lie in the slots after the first `n_past`.
pub struct Queries<'a> {
    /// Rotated queries, `[n_tokens, n_heads, head_dim]`.
    pub rows: &'a [f32],
    /// Query heads of a token.
    pub n_heads: usize,
    /// Cached tokens before the batch; token `i` of the batch lies in slot `n_past + i`.
    pub n_past: usize,
    /// For a tree, the ancestors of each token, itself included, bit `j` for token `j`, at most 64
    /// tokens; empty for a chain, in which all earlier tokens are ancestors.
    pub ancestors: &'a [u64],
}

/// Buffers of attention, reused from pass to pass.
#[derive(Default)]
pub struct AttentionScratch {
    codes: Vec<i16>,
    scales: Vec<f32>,
    /// `[n_spans][n_tokens][n_heads]`.
    running: Vec<Running>,
    /// `[n_spans][n_tokens][n_heads][head_dim]`.
    out: Vec<f32>,
    /// One for each task that ran at the same time.
    workspaces: Mutex<Vec<Workspace>>,
}

impl AttentionScratch {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }
}

/// How a batch is cut into tasks.
struct Plan {
    n_tokens: usize,
    group: usize,
    tile_tokens: usize,
    n_spans: usize,
    n_past: usize,
    /// Number of ancestors, itself included, that lie in the batch: position = n_past + depth − 1.
    depths: Vec<usize>,
}

impl Kernels {
    /// Attention with softmax of `queries · keys / √head_dim` over the slots each token sees; writes
    /// `[n_tokens, n_heads, head_dim]`.
    ///
    /// # Panics
    /// If a shape does not fit, or a tree has more than 64 nodes.
    pub fn attend(
        &self,
        pool: &Pool,
        layer: &KvLayer,
        queries: &Queries,
        scratch: &mut AttentionScratch,
        out: &mut [f32],
    ) {
        let (head_dim, n_heads) = (layer.head_dim(), queries.n_heads);
        let n_tokens = queries.rows.len() / (n_heads * head_dim);
        assert_eq!(queries.rows.len(), n_tokens * n_heads * head_dim, "length of the queries");
        assert_eq!(out.len(), queries.rows.len(), "length of the output");
        assert!(n_heads.is_multiple_of(layer.n_kv_heads()), "query heads per KV head");
        assert!(queries.n_past + n_tokens <= layer.capacity(), "slots in the cache");
        if n_tokens == 0 {
            return;
        }
        let plan = Plan::new(queries, n_tokens, n_heads / layer.n_kv_heads());
        self.encode_queries(pool, layer, queries, scratch);
        let n_queries = n_tokens * n_heads;
        // Each task clears its own part.
        grow(&mut scratch.running, plan.n_spans * n_queries, Running::EMPTY);
        grow(&mut scratch.out, plan.n_spans * n_queries * head_dim, 0.0);
        let (codes, scales, workspaces) = (&scratch.codes, &scratch.scales, &scratch.workspaces);
        let lock = || workspaces.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let running = SharedChunks::new(&mut scratch.running, 1);
        let partial = SharedChunks::new(&mut scratch.out, 1);
        let n_tiles = n_tokens.div_ceil(plan.tile_tokens);
        let n_kv_heads = layer.n_kv_heads();
        pool.run(n_kv_heads * n_tiles * plan.n_spans, |task| {
            // Heads change slowest: threads then work on different heads, each with its own part of the cache.
            let (span, tile, head) =
                (task % plan.n_spans, task / plan.n_spans % n_tiles, task / (plan.n_spans * n_tiles));
            let first = tile * plan.tile_tokens;
            let tokens = first..(first + plan.tile_tokens).min(n_tokens);
            let at = span * n_queries + (head * n_tokens + first) * plan.group;
            let len = tokens.len() * plan.group;
            // SAFETY: span, head and tokens are one task's, and so are these places.
            let (running, out) =
                unsafe { (running.range(at, len), partial.range(at * head_dim, len * head_dim)) };
            running.fill(Running::EMPTY);
            out.fill(0.0);
            let at = (head * n_tokens + first) * plan.group;
            let tile = QueryTile {
                codes: &codes[at * head_dim..][..len * head_dim],
                scales: &scales[at..][..len],
                heads_per_token: plan.group,
            };
            let mut workspace = lock().pop().unwrap_or_else(Workspace::new);
            self.attend_span(layer, head, &tile, queries, &plan, tokens, span, &mut workspace, running, out);
            lock().push(workspace);
        });
        self.fold_spans(pool, layer, &plan, scratch, n_heads, out);
    }

    /// Encodes the queries, `[kv head][token][head of the group]`.
    fn encode_queries(
        &self,
        pool: &Pool,
        layer: &KvLayer,
        queries: &Queries,
        scratch: &mut AttentionScratch,
    ) {
        let (head_dim, n_heads) = (layer.head_dim(), queries.n_heads);
        let n_tokens = queries.rows.len() / (n_heads * head_dim);
        let group = n_heads / layer.n_kv_heads();
        grow(&mut scratch.codes, queries.rows.len(), 0);
        grow(&mut scratch.scales, n_tokens * n_heads, 0.0);
        let unit = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        let codes = SharedChunks::new(&mut scratch.codes, head_dim);
        let scales = SharedChunks::new(&mut scratch.scales, 1);
        let encode_token = |token: usize| {
            for head in 0..n_heads {
                let row = &queries.rows[(token * n_heads + head) * head_dim..][..head_dim];
                let at = (head / group * n_tokens + token) * group + head % group;
                // SAFETY: each token and head has a place of its own, and a token is one task's.
                let (codes, scale) = unsafe { (codes.chunk(at), scales.chunk(at)) };
                scale[0] = (self.encode_key)(row, codes) * unit;
            }
        };
        if n_tokens <= 4 { (0..n_tokens).for_each(encode_token) } else { pool.run(n_tokens, encode_token) }
    }

    #[allow(clippy::too_many_arguments)]
    fn attend_span(
        &self,
        layer: &KvLayer,
        head: usize,
        tile: &QueryTile,
        queries: &Queries,
        plan: &Plan,
        tokens: std::ops::Range<usize>,
        span: usize,
        workspace: &mut Workspace,
        running: &mut [Running],
        out: &mut [f32],
    ) {
        let last_position = tokens.clone().map(|token| plan.position(token)).max().unwrap_or(0);
        let first_block = span * SPAN_BLOCKS;
        for block in first_block..first_block + SPAN_BLOCKS {
            if block * BLOCK_POSITIONS > last_position {
                break;
            }
            let mut visible = [[0; BLOCK_SLOTS.div_ceil(64)]; MAX_QUERIES];
            let slots = if plan.is_seen_by_all(queries, block, tokens.start) {
                let start = block * BLOCK_POSITIONS;
                BlockSlots { start, end: start + BLOCK_POSITIONS, visible: None }
            } else {
                let (start, end) = plan.visible_slots(queries, block, tokens.clone(), &mut visible);
                BlockSlots { start, end, visible: Some(&visible[..tokens.len()]) }
            };
            fold_block(self, layer, head, tile, &slots, workspace, running, out);
        }
    }

    /// Folds the spans of each query in order, divides by the sum of weights, and puts heads in place.
    fn fold_spans(
        &self,
        pool: &Pool,
        layer: &KvLayer,
        plan: &Plan,
        scratch: &AttentionScratch,
        n_heads: usize,
        out: &mut [f32],
    ) {
        let (head_dim, n_tokens, group) = (layer.head_dim(), plan.n_tokens, plan.group);
        let n_queries = n_tokens * n_heads;
        let out = SharedChunks::new(out, n_heads * head_dim);
        let fold_token = |token: usize| {
            // SAFETY: each token has a chunk of its own, and is one task's.
            let out = unsafe { out.chunk(token) };
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let at = (head / group * n_tokens + token) * group + head % group;
                let mut total = Running::EMPTY;
                out.fill(0.0);
                for span in 0..plan.n_spans {
                    let part = scratch.running[span * n_queries + at];
                    if part.max > f32::NEG_INFINITY {
                        let values = &scratch.out[(span * n_queries + at) * head_dim..][..head_dim];
                        (self.fold_span)(&mut total, out, part, values);
                    }
                }
                out.iter_mut().for_each(|x| *x /= total.sum);
            }
        };
        if n_tokens <= 4 { (0..n_tokens).for_each(fold_token) } else { pool.run(n_tokens, fold_token) }
    }
}

impl Plan {
    fn new(queries: &Queries, n_tokens: usize, group: usize) -> Self {
        let depths: Vec<usize> = if queries.ancestors.is_empty() {
            (1..=n_tokens).collect()
        } else {
            assert_eq!(queries.ancestors.len(), n_tokens, "a mask of ancestors per token");
            assert!(n_tokens <= MAX_TREE_NODES, "a tree of {n_tokens} nodes, {MAX_TREE_NODES} at most");
            queries.ancestors.iter().map(|mask| mask.count_ones() as usize).collect()
        };
        let positions = queries.n_past + depths.iter().max().expect("there are tokens");
        Self {
            n_tokens,
            group,
            tile_tokens: (MAX_QUERIES / group).max(1),
            n_spans: positions.div_ceil(SPAN_POSITIONS),
            n_past: queries.n_past,
            depths,
        }
    }

    fn position(&self, token: usize) -> usize {
        self.n_past + self.depths[token] - 1
    }

    /// Whether all tokens from `first` on see all positions of a block, which lie in slots of the same numbers.
    fn is_seen_by_all(&self, queries: &Queries, block: usize, first: usize) -> bool {
        let seen = if queries.ancestors.is_empty() { self.n_past + first + 1 } else { self.n_past };
        (block + 1) * BLOCK_POSITIONS <= seen
    }

    /// The slots that hold the positions of a block, from the start of a tile on, and who sees which.
    fn visible_slots(
        &self,
        queries: &Queries,
        block: usize,
        tokens: std::ops::Range<usize>,
        visible: &mut [SlotMask],
    ) -> (usize, usize) {
        let positions = block * BLOCK_POSITIONS..(block + 1) * BLOCK_POSITIONS;
        let is_tree = !queries.ancestors.is_empty();
        let cached_end = positions.end.min(self.n_past);
        if !is_tree || positions.end <= self.n_past {
            let end = positions.end.min(self.n_past + self.n_tokens);
            for (token, mask) in tokens.zip(visible) {
                set_bits(mask, 0, (self.position(token) + 1).min(end).saturating_sub(positions.start));
            }
            return (positions.start, end);
        }
        let start = positions.start.min(self.n_past) / TILE_SLOTS * TILE_SLOTS;
        for (token, mask) in tokens.zip(visible) {
            if positions.start < cached_end {
                set_bits(mask, positions.start - start, cached_end - start);
            }
            for node in 0..self.n_tokens {
                let is_ancestor = queries.ancestors[token] >> node & 1 != 0;
                if is_ancestor && positions.contains(&self.position(node)) {
                    let bit = self.n_past + node - start;
                    mask[bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        (start, self.n_past + self.n_tokens)
    }
}

/// Makes room for `len` items; what is in them stays.
fn grow<T: Copy>(items: &mut Vec<T>, len: usize, item: T) {
    if items.len() < len {
        items.resize(len, item);
    }
}

/// Sets the bits `from..to`.
fn set_bits(mask: &mut [u64], from: usize, to: usize) {
    for bit in from..to {
        mask[bit / 64] |= 1 << (bit % 64);
    }
}

const _: () = assert!(MAX_HEAD_DIM.is_multiple_of(2) && BLOCK_POSITIONS.is_multiple_of(TILE_SLOTS));
