//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685): small trained changes beside frozen, quantized weights.

use nano_reasoning_kernels::{Activations, BlockType, Kernels, PackedMatrix, Pool, Product};

use crate::{Error, Result};

/// The matrices of a decoder layer that multiply its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Projection {
    /// `attn_q`
    Query,
    /// `attn_k`
    Key,
    /// `attn_v`
    Value,
    /// `attn_output`
    Output,
    /// `ffn_gate`
    Gate,
    /// `ffn_up`
    Up,
    /// `ffn_down`
    Down,
}

impl Projection {
    /// All of them, in the order in which a pass comes to them.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// As GGUF files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }
}

/// A change of one matrix: `up · (down · x)` is added to what it gives.
pub struct Adapter {
    /// `[rank, n_cols]`
    down: PackedMatrix,
    /// `[n_rows, rank]`
    up: PackedMatrix,
}

impl Adapter {
    /// An adapter of `down`, `[rank, n_cols]`, and `up`, `[n_rows, rank]`.
    ///
    /// # Errors
    /// If the numbers are not whole rows, or memory is short.
    pub fn new(pool: &Pool, rank: usize, down: &[f32], up: &[f32]) -> Result<Self> {
        let pack = |values: &[f32], n_rows: usize, n_cols: usize| {
            PackedMatrix::pack_f32(pool, n_rows, n_cols, values)
                .map_err(|reason| Error::Pack { tensor: "adapter".into(), reason })
        };
        let rank = rank.max(1);
        Ok(Self { down: pack(down, rank, down.len() / rank)?, up: pack(up, up.len() / rank, rank)? })
    }
}

/// The adapters of one decoder layer.
#[derive(Default)]
pub struct LayerAdapters {
    /// In the order of [`Projection::ALL`].
    adapters: [Option<Adapter>; 7],
}

impl LayerAdapters {
    /// Sets the adapter of a matrix.
    pub fn set(&mut self, projection: Projection, adapter: Adapter) {
        self.adapters[projection as usize] = Some(adapter);
    }

    /// The adapter of a matrix.
    pub(crate) fn get(&self, projection: Projection) -> Option<&Adapter> {
        self.adapters[projection as usize].as_ref()
    }
}

/// Buffers for what adapters add.
#[derive(Default)]
pub(crate) struct AdapterScratch {
    /// `[n, rank]`
    low: Vec<f32>,
    /// `[n, n_rows]`
    change: Vec<f32>,
    activations: Activations,
}

impl AdapterScratch {
    /// Adds what the adapter of `projection` makes of `x` to `out`, `[n, n_rows]`. `x` is set for dense weights.
    pub(crate) fn add(
        &mut self,
        kernels: &Kernels,
        pool: &Pool,
        adapters: &LayerAdapters,
        projection: Projection,
        x: &Activations,
        out: &mut [f32],
    ) {
        let Some(Adapter { down, up }) = adapters.get(projection) else { return };
        let Self { low, change, activations } = self;
        low.resize(x.n_tokens() * down.n_rows(), 0.0);
        change.resize(out.len(), 0.0);
        kernels.multiply(pool, &mut [Product { weights: down, out: low }], x);
        activations.set(kernels, pool, low, down.n_rows(), [BlockType::F32]);
        kernels.multiply(pool, &mut [Product { weights: up, out: change }], activations);
        kernels.add(out, change);
    }
}
