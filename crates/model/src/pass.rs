//! One forward pass over a few tokens: a decoder-only transformer from top to bottom.
//!
//! ```text
//! x = token_embd[tokens]
//! for each layer:
//!     n = rms_norm(x, attn_norm)
//!     q, k, v = attn_q · n, attn_k · n, attn_v · n      one region; then biases, head norms, RoPE
//!     x += attn_output · attention(q, cache)             after k and v went into the cache
//!     n = rms_norm(x, ffn_norm)
//!     x += ffn_down · (silu(ffn_gate · n) * (ffn_up · n))
//! logits = output · rms_norm(x, output_norm)
//! ```
//! In the last layer only those rows go on that logits are wanted of.

use crate::adapter::{AdapterScratch, LayerAdapters, Projection, Projector};
use crate::architecture::{Kind, Rotation};
use crate::config::ModelConfig;
use crate::model::{CpuModel, Layer};
use crate::parallel::for_each_row;
use crate::snapshot::Snapshot;
use nano_reasoning_kernels::{Activations, AttentionScratch, KvLayer, PackedMatrix, Product, Queries};
use std::ops::Range;

/// The tokens of one pass. Their keys and values go to the slots from `n_past` on.
pub(crate) struct Batch<'a> {
    /// `[n_tokens]`
    pub(crate) tokens: &'a [u32],
    /// `[n_tokens]`
    pub(crate) positions: &'a [usize],
    /// Tokens cached before.
    pub(crate) n_past: usize,
    /// For a tree, the ancestors of each node, as [`Queries`] takes them; empty for a chain.
    pub(crate) ancestors: &'a [u64],
    /// Rows that are wanted after the last layer. For a tree all or none.
    pub(crate) wanted: Range<usize>,
    /// Layers whose inputs are wanted.
    pub(crate) taps: &'a [usize],
    /// What the model has learnt beside its weights.
    pub(crate) learnt: Option<&'a Snapshot>,
}

/// Buffers of a pass, made once for the largest batch. Their pages cost nothing until used.
pub(crate) struct Scratch {
    /// The residual stream, `[n_tokens, hidden_dim]`. After a pass its first rows are the wanted ones.
    x: Vec<f32>,
    /// `[n_tokens, hidden_dim]`
    normed: Vec<f32>,
    /// What a layer's half adds to the stream, `[n_tokens, hidden_dim]`
    delta: Vec<f32>,
    /// `[n_tokens, n_heads, head_dim]`
    q: Vec<f32>,
    /// `[n_tokens, n_kv_heads, head_dim]`
    k: Vec<f32>,
    /// `[n_tokens, n_kv_heads, head_dim]`
    v: Vec<f32>,
    /// What attention gives, `[n_tokens, n_heads, head_dim]`
    heads: Vec<f32>,
    /// `[n_tokens, ffn_dim]`
    gate: Vec<f32>,
    /// `[n_tokens, ffn_dim]`
    up: Vec<f32>,
    /// `[n_tokens, n_rot / 2]`
    cos: Vec<f32>,
    /// `[n_tokens, n_rot / 2]`
    sin: Vec<f32>,
    activations: Activations,
    adapters: AdapterScratch,
    attention: AttentionScratch,
}

impl Scratch {
    /// Buffers for up to `n_tokens` a pass.
    pub(crate) fn new(config: &ModelConfig, n_tokens: usize) -> Self {
        let rows = |width: usize| vec![0.0; n_tokens * width];
        Self {
            x: rows(config.hidden_dim),
            normed: rows(config.hidden_dim),
            delta: rows(config.hidden_dim),
            q: rows(config.q_dim()),
            k: rows(config.kv_dim()),
            v: rows(config.kv_dim()),
            heads: rows(config.q_dim()),
            gate: rows(config.ffn_dim),
            up: rows(config.ffn_dim),
            cos: rows(config.rope.n_rot / 2),
            sin: rows(config.rope.n_rot / 2),
            activations: Activations::new(),
            adapters: AdapterScratch::default(),
            attention: AttentionScratch::new(),
        }
    }
}

/// Runs all layers. `taps` is `[n_tokens, n_taps, hidden_dim]`.
pub(crate) fn run_layers(
    model: &CpuModel,
    cache: &mut [KvLayer],
    scratch: &mut Scratch,
    batch: &Batch,
    taps: &mut [f32],
) {
    let n_tokens = batch.tokens.len();
    let hidden_dim = model.config.hidden_dim;
    let Scratch { x, cos, sin, .. } = scratch;
    for_each_row(&model.pool, n_tokens, [&mut x[..n_tokens * hidden_dim]], |row, [x]| {
        model.embed(batch.tokens[row], x);
    });
    let n_pairs = model.rope.n_pairs();
    let angles = [&mut cos[..n_tokens * n_pairs], &mut sin[..n_tokens * n_pairs]];
    for_each_row(&model.pool, n_tokens, angles, |row, [cos, sin]| {
        model.rope.rotation(batch.positions[row], cos, sin);
    });
    for (i, (layer, kv)) in model.layers.iter().zip(cache).enumerate() {
        if let Some(tap) = batch.taps.iter().position(|&tapped| tapped == i) {
            let rows = scratch.x.chunks_exact(hidden_dim);
            for (x, taps) in rows.zip(taps.chunks_exact_mut(batch.taps.len() * hidden_dim)) {
                taps[tap * hidden_dim..][..hidden_dim].copy_from_slice(x);
            }
        }
        let wanted = if i + 1 == model.layers.len() { batch.wanted.clone() } else { 0..n_tokens };
        let weights = LayerWeights { layer, adapters: batch.learnt.and_then(|learnt| learnt.adapters(i)) };
        attention(model, i, weights, kv, scratch, batch, wanted.clone());
        if !wanted.is_empty() {
            feed_forward(model, weights, scratch, wanted.len());
        }
    }
}

/// A layer with what was learnt beside it.
#[derive(Clone, Copy)]
struct LayerWeights<'a> {
    layer: &'a Layer,
    adapters: Option<&'a LayerAdapters>,
}

impl LayerWeights<'_> {
    /// Multiplies rows of `x`, `[n, n_cols]`, with the matrices of `projections`, all of as many columns.
    fn project<const N: usize>(
        self,
        model: &CpuModel,
        projections: [Projection; N],
        x: &[f32],
        activations: &mut Activations,
        scratch: &mut AdapterScratch,
        outs: [&mut [f32]; N],
    ) {
        let CpuModel { kernels, pool, .. } = model;
        let weights = projections.map(|projection| self.layer.projection(projection));
        Projector { kernels, pool, adapters: self.adapters, activations, scratch }.project(
            weights,
            projections,
            x,
            outs,
        );
    }
}

/// Adds the attention half of layer `index` to the rows `wanted` of the stream, and moves those to its front.
fn attention(
    model: &CpuModel,
    index: usize,
    weights: LayerWeights<'_>,
    kv: &mut KvLayer,
    scratch: &mut Scratch,
    batch: &Batch,
    wanted: Range<usize>,
) {
    let CpuModel { config, kernels, pool, architecture, .. } = model;
    let (hidden_dim, q_dim, kv_dim) = (config.hidden_dim, config.q_dim(), config.kv_dim());
    let n_tokens = batch.tokens.len();
    let n_wanted = wanted.len();
    let Scratch { x, normed, delta, q, k, v, heads, cos, sin, activations, adapters, attention, .. } =
        scratch;
    let (x, normed) = (&mut x[..n_tokens * hidden_dim], &mut normed[..n_tokens * hidden_dim]);
    let (k, v) = (&mut k[..n_tokens * kv_dim], &mut v[..n_tokens * kv_dim]);
    let (q, heads) = (&mut q[..n_wanted * q_dim], &mut heads[..n_wanted * q_dim]);

    for_each_row(pool, n_tokens, [&mut *normed], |row, [normed]| {
        kernels.rms_norm(
            &x[row * hidden_dim..][..hidden_dim],
            &weights.layer.attn_norm,
            config.rms_eps,
            normed,
        );
    });
    let [of_q, of_k, of_v] = [Projection::Query, Projection::Key, Projection::Value];
    if n_wanted == n_tokens {
        let outs = [&mut *q, &mut *k, &mut *v];
        weights.project(model, [of_q, of_k, of_v], normed, activations, adapters, outs);
    } else {
        weights.project(model, [of_k, of_v], normed, activations, adapters, [&mut *k, &mut *v]);
        if n_wanted > 0 {
            let normed = &normed[wanted.start * hidden_dim..wanted.end * hidden_dim];
            weights.project(model, [of_q], normed, activations, adapters, [&mut *q]);
        }
    }

    let n_pairs = model.rope.n_pairs();
    let rotation = |row: usize| Rotation {
        cos: &cos[row * n_pairs..][..n_pairs],
        sin: &sin[row * n_pairs..][..n_pairs],
    };
    for_each_row(pool, n_tokens, [&mut *k, &mut *v], |row, [k, v]| {
        architecture.finish(kernels, index, Kind::Key, k, rotation(row));
        architecture.finish_values(kernels, index, v);
    });
    for_each_row(pool, n_wanted, [&mut *q], |row, [q]| {
        architecture.finish(kernels, index, Kind::Query, q, rotation(wanted.start + row));
    });
    for (row, (k, v)) in k.chunks_exact(kv_dim).zip(v.chunks_exact(kv_dim)).enumerate() {
        kv.write(kernels, batch.n_past + row, k, v);
    }
    if n_wanted == 0 {
        return;
    }

    let n_past = batch.n_past + wanted.start;
    let queries = Queries { rows: q, n_heads: config.n_heads, n_past, ancestors: batch.ancestors };
    kernels.attend(pool, kv, &queries, attention, heads);
    let delta = &mut delta[..n_wanted * hidden_dim];
    weights.project(model, [Projection::Output], heads, activations, adapters, [&mut *delta]);
    if wanted.start > 0 {
        x.copy_within(wanted.start * hidden_dim..wanted.end * hidden_dim, 0);
    }
    add(model, &mut x[..n_wanted * hidden_dim], delta, n_wanted);
}

/// Adds the feed-forward half of a layer to the first `n_rows` rows of the stream.
fn feed_forward(model: &CpuModel, weights: LayerWeights<'_>, scratch: &mut Scratch, n_rows: usize) {
    let CpuModel { config, kernels, pool, .. } = model;
    let (hidden_dim, ffn_dim) = (config.hidden_dim, config.ffn_dim);
    let Scratch { x, normed, delta, gate, up, activations, adapters, .. } = scratch;
    let (x, normed) = (&mut x[..n_rows * hidden_dim], &mut normed[..n_rows * hidden_dim]);
    let (gate, up) = (&mut gate[..n_rows * ffn_dim], &mut up[..n_rows * ffn_dim]);
    let delta = &mut delta[..n_rows * hidden_dim];

    for_each_row(pool, n_rows, [&mut *normed], |row, [normed]| {
        kernels.rms_norm(
            &x[row * hidden_dim..][..hidden_dim],
            &weights.layer.ffn_norm,
            config.rms_eps,
            normed,
        );
    });
    let projections = [Projection::Gate, Projection::Up];
    weights.project(model, projections, normed, activations, adapters, [&mut *gate, &mut *up]);
    for_each_row(pool, n_rows, [&mut *gate], |row, [gate]| {
        kernels.silu_multiply(gate, &up[row * ffn_dim..][..ffn_dim]);
    });
    weights.project(model, [Projection::Down], gate, activations, adapters, [&mut *delta]);
    add(model, x, delta, n_rows);
}

/// `x += delta`, `[n_rows, hidden_dim]` each.
fn add(model: &CpuModel, x: &mut [f32], delta: &[f32], n_rows: usize) {
    let hidden_dim = model.config.hidden_dim;
    for_each_row(&model.pool, n_rows, [x], |row, [x]| {
        model.kernels.add(x, &delta[row * hidden_dim..][..hidden_dim]);
    });
}

/// Final norm and `output`, the output matrix or rows of it, over the rows `rows` that [`run_layers`] left at the front
/// of the stream. `hidden` is `[n_rows, hidden_dim]`, `logits` is `[n_rows, output.n_rows()]`.
pub(crate) fn output(
    model: &CpuModel,
    output: &PackedMatrix,
    scratch: &mut Scratch,
    rows: Range<usize>,
    hidden: &mut [f32],
    logits: &mut [f32],
) {
    let CpuModel { config, kernels, pool, output_norm, .. } = model;
    let hidden_dim = config.hidden_dim;
    let x = &scratch.x[rows.start * hidden_dim..rows.end * hidden_dim];
    for_each_row(pool, rows.len(), [&mut *hidden], |row, [hidden]| {
        kernels.rms_norm(&x[row * hidden_dim..][..hidden_dim], output_norm, config.rms_eps, hidden);
    });
    scratch.activations.set(kernels, pool, hidden, hidden_dim, [output.block_type()]);
    kernels.multiply(pool, &mut [Product { weights: output, out: logits }], &scratch.activations);
}
