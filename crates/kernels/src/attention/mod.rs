//! Attention of a few query rows over a long cache.
//!
//! Keys and values are 16-bit integers with one scale per token and head: as many bytes as f16, more
//! precise, and a product of two of them is an exact integer sum, which every instruction set does at
//! twice the rate of f32. Each tile of keys and values is read once for all query rows and all heads
//! of its group.
//!
//! Exactness across batches and trees comes from three rules. Integer sums have no order. Softmax is
//! cut into *blocks* of 128 and *spans* of 1,024 **positions** (not cache slots, which differ for a node of
//! a tree), folded in ascending order. And inside a block everything that is a sum is an integer, so a
//! masked slot changes nothing.

mod block;
mod kv_layer;
mod queries;
mod softmax;

pub use kv_layer::KvLayer;
pub(crate) use kv_layer::{encode_key, encode_value};
pub use queries::{AttentionScratch, Queries};
#[cfg(target_arch = "x86_64")]
pub(crate) use softmax::{MAGIC, NOTHING, ONE, weight_scales};
pub(crate) use softmax::{Running, Scores, fold_span, fold_sums, softmax_block};

/// Slots in a tile of keys.
pub(crate) const TILE_SLOTS: usize = 16;
/// Positions in a block.
pub(crate) const BLOCK_POSITIONS: usize = 128;
/// Blocks in a span.
pub(crate) const SPAN_BLOCKS: usize = 8;
/// Nodes a tree may have: one bit each in a mask of ancestors.
pub(crate) const MAX_TREE_NODES: usize = 64;
/// Slots one block may need to look at: its own, those of a tree, and up to the start of a tile.
pub(crate) const BLOCK_SLOTS: usize = BLOCK_POSITIONS + MAX_TREE_NODES + TILE_SLOTS;
/// Largest head a kernel keeps sums for.
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// Values of a block's slots and the weight that each query gives them.
pub(crate) struct WeighedBlock<'a> {
    pub(crate) head_dim: usize,
    /// Slots in use, even.
    pub(crate) n_slots: usize,
    /// `[n_slots / 2][head_dim][2]`.
    pub(crate) values: &'a [i16],
    /// `[n_queries][stride]`.
    pub(crate) weights: &'a [i16],
    pub(crate) stride: usize,
}
