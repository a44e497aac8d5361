//! The head's layer over a few entries.

use super::HeadLayer;
use super::config::HeadConfig;
use crate::adapter::{AdapterScratch, LayerAdapters, Projection, Projector};
use crate::model::CpuModel;
use crate::parallel::for_each_row;
use nano_reasoning_kernels::{Activations, AttentionScratch, KvLayer, Product, Queries};
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

/// The parts of a head that a call needs beside its buffers.
pub(super) struct Layer<'a> {
    pub(super) target: &'a CpuModel,
    pub(super) head: &'a HeadLayer,
    pub(super) adapters: Option<&'a LayerAdapters>,
    pub(super) adapter_scratch: &'a mut AdapterScratch,
    pub(super) cache: &'a mut KvLayer,
    pub(super) attention: &'a mut AttentionScratch,
}

impl Layer<'_> {
    /// Multiplies rows of `x`, `[n, n_cols]`, with the matrices of `projections`, all of as many columns.
    fn project<const N: usize>(
        &mut self,
        projections: [Projection; N],
        x: &[f32],
        activations: &mut Activations,
        outs: [&mut [f32]; N],
    ) {
        let CpuModel { kernels, pool, .. } = self.target;
        let weights = projections.map(|projection| self.head.projection(projection));
        let mut projector =
            Projector { kernels, pool, adapters: self.adapters, activations, scratch: self.adapter_scratch };
        projector.project(weights, projections, x, outs);
    }
}

/// Fuses `taps`, `[n, n_taps, hidden_dim]`, to the hidden states of the next call.
pub(super) fn fuse(target: &CpuModel, head: &HeadLayer, scratch: &mut Scratch, taps: &[f32]) {
    let CpuModel { kernels, pool, .. } = target;
    let fc = &head.weights.fc;
    let n = taps.len() / fc.n_cols();
    scratch.activations.set(kernels, pool, taps, fc.n_cols(), [fc.block_type()]);
    let out = &mut scratch.g[..n * fc.n_rows()];
    kernels.multiply(pool, &mut [Product { weights: fc, out }], &scratch.activations);
}

/// Runs the layer. Appends the outputs of the wanted entries to `y`, `[.., hidden_dim]`.
pub(super) fn run(mut layer: Layer<'_>, scratch: &mut Scratch, entries: &Entries, y: &mut Vec<f32>) {
    let (target, HeadLayer { config, weights, .. }) = (layer.target, layer.head);
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
    {
        let q = &mut q[n_before * q_dim..][..n * q_dim];
        let projections = [Projection::Query, Projection::Key, Projection::Value];
        layer.project(projections, x, activations, [&mut *q, &mut *k, &mut *v]);
        for row in 0..n {
            let position = entries.positions.map_or(entries.first_slot + row, |p| p[row]);
            layer.head.rotation(position, cos, sin);
            layer.head.rotate(kernels, &mut q[row * q_dim..][..q_dim], cos, sin);
            layer.head.rotate(kernels, &mut k[row * kv_dim..][..kv_dim], cos, sin);
        }
    }
    for (row, (k, v)) in k.chunks_exact(kv_dim).zip(v.chunks_exact(kv_dim)).enumerate() {
        layer.cache.write(kernels, entries.first_slot + row, k, v);
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
    kernels.attend(pool, layer.cache, &queries, layer.attention, heads);
    let heads = &heads[(n_queries - wanted.len()) * q_dim..];

    let n_wanted = wanted.len();
    let a = &mut g[wanted.start * hidden_dim..wanted.end * hidden_dim];
    let delta = &mut delta[..n_wanted * hidden_dim];
    layer.project([Projection::Output], heads, activations, [&mut *delta]);
    kernels.add(a, delta);

    let normed = &mut normed[..n_wanted * hidden_dim];
    for (a, normed) in a.chunks_exact(hidden_dim).zip(normed.chunks_exact_mut(hidden_dim)) {
        kernels.rms_norm(a, &weights.ffn_norm, config.rms_eps, normed);
    }
    let ffn_dim = config.ffn_dim;
    let (gate, up) = (&mut gate[..n_wanted * ffn_dim], &mut up[..n_wanted * ffn_dim]);
    layer.project([Projection::Gate, Projection::Up], normed, activations, [&mut *gate, &mut *up]);
    kernels.silu_multiply(gate, up);
    layer.project([Projection::Down], gate, activations, [&mut *delta]);
    kernels.add(a, delta);
    y.extend_from_slice(a);
}

/// The final norm of `y`, `[n, hidden_dim]`.
pub(super) fn norm<'a>(
    target: &CpuModel,
    head: &HeadLayer,
    scratch: &'a mut Scratch,
    y: &[f32],
) -> &'a [f32] {
    let HeadLayer { config, weights, .. } = head;
    let normed = &mut scratch.normed[..y.len()];
    let rows = y.chunks_exact(config.hidden_dim).zip(normed.chunks_exact_mut(config.hidden_dim));
    rows.for_each(|(y, normed)| target.kernels.rms_norm(y, &weights.output_norm, config.rms_eps, normed));
    normed
}
