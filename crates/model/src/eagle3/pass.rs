//! The head's layer over a few entries.

use super::config::HeadConfig;
use super::weights::HeadWeights;
use crate::architecture::{Pairing, Rotation, rotate};
use crate::model::CpuModel;
use crate::parallel::for_each_row;
use crate::rope::Rope;
use nano_reasoning_kernels::{Activations, AttentionScratch, KvLayer, PackedMatrix, Product, Queries};
use std::ops::Range;

/// Entries of one call: their `g` lies in [`Scratch`].
pub(super) struct Entries<'a> {
    /// The token whose embedding each takes, `[n]`.
    pub(super) tokens: &'a [u32],
    /// Where their keys and values go.
    pub(super) first_slot: usize,
    /// Entries before the ones that `ancestors` speaks of, all visible.
    pub(super) n_past: usize,
    /// `[n]`; `None` where an entry's position is its slot.
    pub(super) positions: Option<&'a [usize]>,
    /// Of all nodes of a draft, those of earlier calls too; empty for a chain.
    pub(super) ancestors: &'a [u64],
    /// Entries whose output is wanted.
    pub(super) wanted: Range<usize>,
}

/// Buffers of a call.
pub(super) struct Scratch {
    /// Fused hidden states, `[n, hidden_dim]`.
    g: Vec<f32>,
    /// `[n, 2 · hidden_dim]`
    x: Vec<f32>,
    /// Rotated queries of a draft's nodes, or of the entries of a call, `[n, n_heads · head_dim]`.
    q: Vec<f32>,
    /// `[n, n_kv_heads · head_dim]`
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[n, n_heads · head_dim]`
    heads: Vec<f32>,
    /// `[n, hidden_dim]`
    normed: Vec<f32>,
    delta: Vec<f32>,
    /// `[n, ffn_dim]`
    gate: Vec<f32>,
    up: Vec<f32>,
    /// `[n_pairs]`
    cos: Vec<f32>,
    sin: Vec<f32>,
    activations: Activations,
    hidden_dim: usize,
}

impl Scratch {
    pub(super) fn new(config: &HeadConfig, n: usize) -> Self {
        let rows = |width: usize| vec![0.0; n * width];
        let (hidden_dim, q_dim, kv_dim) = (config.hidden_dim, config.q_dim(), config.kv_dim());
        Self {
            g: rows(hidden_dim),
            x: rows(2 * hidden_dim),
            q: rows(q_dim),
            k: rows(kv_dim),
            v: rows(kv_dim),
            heads: rows(q_dim),
            normed: rows(hidden_dim),
            delta: rows(hidden_dim),
            gate: rows(config.ffn_dim),
            up: rows(config.ffn_dim),
            cos: vec![0.0; config.head_dim / 2],
            sin: vec![0.0; config.head_dim / 2],
            activations: Activations::new(),
            hidden_dim,
        }
    }

    /// Sets the hidden state of entry `i` of the next call, `[hidden_dim]`.
    pub(super) fn set_g(&mut self, i: usize, g: &[f32]) {
        self.g[i * self.hidden_dim..][..self.hidden_dim].copy_from_slice(g);
    }
}

/// Fuses `taps`, `[n, n_taps, hidden_dim]`, to the hidden states of the next call.
pub(super) fn fuse(target: &CpuModel, weights: &HeadWeights, scratch: &mut Scratch, taps: &[f32]) {
    let CpuModel { kernels, pool, .. } = target;
    let fc = &weights.fc;
    let n = taps.len() / fc.n_cols();
    scratch.activations.set(kernels, pool, taps, fc.n_cols(), [fc.block_type()]);
    let out = &mut scratch.g[..n * fc.n_rows()];
    kernels.multiply(pool, &mut [Product { weights: fc, out }], &scratch.activations);
}

/// Runs the layer. Appends the outputs of the wanted entries to `y`, `[.., hidden_dim]`.
#[allow(clippy::too_many_arguments, reason = "the parts of a head, borrowed apart")]
pub(super) fn run(
    target: &CpuModel,
    config: &HeadConfig,
    weights: &HeadWeights,
    rope: &Rope,
    cache: &mut KvLayer,
    scratch: &mut Scratch,
    attention: &mut AttentionScratch,
    entries: &Entries,
    y: &mut Vec<f32>,
) {
    let CpuModel { kernels, pool, .. } = target;
    let (n, hidden_dim) = (entries.tokens.len(), scratch.hidden_dim);
    let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
    let Scratch { g, x, q, k, v, heads, normed, delta, gate, up, cos, sin, activations, .. } = scratch;
    let (g, x) = (&mut g[..n * hidden_dim], &mut x[..n * 2 * hidden_dim]);
    let (k, v) = (&mut k[..n * kv_dim], &mut v[..n * kv_dim]);
    // Queries of earlier nodes stay before these, as attention over a tree wants all of its nodes.
    let n_before = entries.first_slot - entries.n_past;

    for_each_row(pool, n, [&mut *x], |row, [x]| {
        let (embedding, hidden) = x.split_at_mut(hidden_dim);
        // The embedding goes through the place of the hidden state, which is filled last.
        target.embed(entries.tokens[row], hidden);
        kernels.rms_norm(hidden, &weights.attn_norm, config.rms_eps, embedding);
        let g = &g[row * hidden_dim..][..hidden_dim];
        kernels.rms_norm(g, &weights.attn_norm_2, config.rms_eps, hidden);
    });
    let types = [&weights.attn_q, &weights.attn_k, &weights.attn_v].map(PackedMatrix::block_type);
    activations.set(kernels, pool, x, 2 * hidden_dim, types);
    {
        let q = &mut q[n_before * q_dim..][..n * q_dim];
        let q_product = Product { weights: &weights.attn_q, out: &mut *q };
        let k_product = Product { weights: &weights.attn_k, out: &mut *k };
        let v_product = Product { weights: &weights.attn_v, out: &mut *v };
        kernels.multiply(pool, &mut [q_product, k_product, v_product], activations);
        for row in 0..n {
            rope.rotation(entries.positions.map_or(entries.first_slot + row, |p| p[row]), cos, sin);
            let by = || Rotation { cos, sin };
            rotate(kernels, Pairing::Neighbours, &mut q[row * q_dim..][..q_dim], config.head_dim, by());
            rotate(kernels, Pairing::Neighbours, &mut k[row * kv_dim..][..kv_dim], config.head_dim, by());
        }
    }
    for (row, (k, v)) in k.chunks_exact(kv_dim).zip(v.chunks_exact(kv_dim)).enumerate() {
        cache.write(kernels, entries.first_slot + row, k, v);
    }
    let wanted = entries.wanted.clone();
    if wanted.is_empty() {
        return;
    }

    // Of a chain only the wanted entries are asked for; of a tree all nodes, whose results before are dropped.
    let (first, n_queries, n_past) = if entries.ancestors.is_empty() {
        (n_before + wanted.start, wanted.len(), entries.n_past + wanted.start)
    } else {
        (0, n_before + n, entries.n_past)
    };
    let queries = Queries {
        rows: &q[first * q_dim..][..n_queries * q_dim],
        n_heads: config.n_heads,
        n_past,
        ancestors: entries.ancestors,
    };
    let heads = &mut heads[..n_queries * q_dim];
    kernels.attend(pool, cache, &queries, attention, heads);
    let heads = &heads[(n_queries - wanted.len()) * q_dim..];

    let n_wanted = wanted.len();
    let a = &mut g[wanted.start * hidden_dim..wanted.end * hidden_dim];
    let delta = &mut delta[..n_wanted * hidden_dim];
    activations.set(kernels, pool, heads, q_dim, [weights.attn_output.block_type()]);
    let product = Product { weights: &weights.attn_output, out: &mut *delta };
    kernels.multiply(pool, &mut [product], activations);
    kernels.add(a, delta);

    let normed = &mut normed[..n_wanted * hidden_dim];
    for (a, normed) in a.chunks_exact(hidden_dim).zip(normed.chunks_exact_mut(hidden_dim)) {
        kernels.rms_norm(a, &weights.ffn_norm, config.rms_eps, normed);
    }
    let ffn_dim = config.ffn_dim;
    let (gate, up) = (&mut gate[..n_wanted * ffn_dim], &mut up[..n_wanted * ffn_dim]);
    let types = [&weights.ffn_gate, &weights.ffn_up].map(PackedMatrix::block_type);
    activations.set(kernels, pool, normed, hidden_dim, types);
    let gate_product = Product { weights: &weights.ffn_gate, out: &mut *gate };
    let up_product = Product { weights: &weights.ffn_up, out: &mut *up };
    kernels.multiply(pool, &mut [gate_product, up_product], activations);
    kernels.silu_multiply(gate, up);
    activations.set(kernels, pool, gate, ffn_dim, [weights.ffn_down.block_type()]);
    let product = Product { weights: &weights.ffn_down, out: &mut *delta };
    kernels.multiply(pool, &mut [product], activations);
    kernels.add(a, delta);
    y.extend_from_slice(a);
}

/// The final norm of `y`, `[n, hidden_dim]`.
pub(super) fn norm<'a>(
    target: &CpuModel,
    weights: &HeadWeights,
    config: &HeadConfig,
    scratch: &'a mut Scratch,
    y: &[f32],
) -> &'a [f32] {
    let hidden_dim = config.hidden_dim;
    let normed = &mut scratch.normed[..y.len()];
    for (y, normed) in y.chunks_exact(hidden_dim).zip(normed.chunks_exact_mut(hidden_dim)) {
        target.kernels.rms_norm(y, &weights.output_norm, config.rms_eps, normed);
    }
    normed
}
