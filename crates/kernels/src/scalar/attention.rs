//! The two integer products of attention.

use crate::attention::{TILE_SLOTS, WeighedBlock};

/// Products of keys with each query: `out[q][s] = Σ_d key[s][d] · query[q][d]`.
///
/// `keys` is `[n_tiles][head_dim / 2][16][2]`; `queries` is `[n, head_dim]`; `out` is `[n][stride]`.
pub(crate) fn key_products(keys: &[i16], queries: &[i16], head_dim: usize, out: &mut [i32], stride: usize) {
    for (query, out) in queries.chunks_exact(head_dim).zip(out.chunks_mut(stride)) {
        for (slot, out) in out.iter_mut().enumerate().take(keys.len() / head_dim) {
            let tile = &keys[slot / TILE_SLOTS * TILE_SLOTS * head_dim..];
            *out = (0..head_dim)
                .map(|d| {
                    let key = tile[(d / 2 * TILE_SLOTS + slot % TILE_SLOTS) * 2 + d % 2];
                    i32::from(key) * i32::from(query[d])
                })
                .sum();
        }
    }
}

/// Adds up values by weight: `out[q][d] = Σ_s weight[q][s] · value[s][d]`.
pub(crate) fn weighted_values(block: &WeighedBlock, out: &mut [i32]) {
    let head_dim = block.head_dim;
    for (weights, out) in block.weights.chunks_exact(block.stride).zip(out.chunks_exact_mut(head_dim)) {
        for (d, out) in out.iter_mut().enumerate() {
            *out = (0..block.n_slots)
                .map(|s| i32::from(block.values[(s / 2 * head_dim + d) * 2 + s % 2]) * i32::from(weights[s]))
                .sum();
        }
    }
}
