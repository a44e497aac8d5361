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

/// Products side by side at most: of queries, keys and values.
const MAX_SIDE: usize = 3;

/// Buffers for what adapters add.
#[derive(Default)]
pub(crate) struct AdapterScratch {
    /// `[n, rank]` each
    low: [Vec<f32>; MAX_SIDE],
    /// `[n, n_rows]`
    change: Vec<f32>,
    activations: Activations,
}

/// Multiplies with matrices of a decoder layer, and adds what their adapters change.
pub(crate) struct Projector<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) pool: &'a Pool,
    pub(crate) adapters: Option<&'a LayerAdapters>,
    pub(crate) activations: &'a mut Activations,
    pub(crate) scratch: &'a mut AdapterScratch,
}

impl Projector<'_> {
    /// Multiplies rows of `x`, `[n, n_cols]`, with `weights`, those of `projections`, all of as many columns. Each of
    /// `outs` is `[n, n_rows]`.
    pub(crate) fn project<const N: usize>(
        &mut self,
        weights: [&PackedMatrix; N],
        projections: [Projection; N],
        x: &[f32],
        mut outs: [&mut [f32]; N],
    ) {
        let Self { kernels, pool, adapters, activations, scratch } = self;
        let types = weights.iter().map(|weights| weights.block_type());
        activations.set(kernels, pool, x, weights[0].n_cols(), types.chain(adapters.map(|_| BlockType::F32)));
        let mut weights = weights.into_iter();
        let mut products =
            outs.each_mut().map(|out| Product { weights: weights.next().expect("one each"), out });
        kernels.multiply(pool, &mut products, activations);
        let Some(adapters) = adapters else { return };
        let adapters = projections.map(|projection| adapters.get(projection));
        if adapters.iter().all(Option::is_some) {
            scratch.add(
                kernels,
                pool,
                adapters.map(|adapter| adapter.expect("as just seen")),
                activations,
                outs,
            );
            return;
        }
        for (adapter, out) in
            adapters.into_iter().zip(outs).filter_map(|(adapter, out)| Some((adapter?, out)))
        {
            scratch.add(kernels, pool, [adapter], activations, [out]);
        }
    }
}

impl AdapterScratch {
    /// Adds what `adapters` make of `x` to `outs`, `[n, n_rows]` each. `x` is set for dense weights.
    fn add<const N: usize>(
        &mut self,
        kernels: &Kernels,
        pool: &Pool,
        adapters: [&Adapter; N],
        x: &Activations,
        outs: [&mut [f32]; N],
    ) {
        let Self { low, change, activations } = self;
        let mut pairs = adapters.iter().zip(&mut *low);
        // One region for all: each is too small for more than one thread.
        let mut products: [Product; N] = std::array::from_fn(|_| {
            let (adapter, low) = pairs.next().expect("no more than there are buffers");
            low.resize(x.n_tokens() * adapter.down.n_rows(), 0.0);
            Product { weights: &adapter.down, out: low }
        });
        kernels.multiply(pool, &mut products, x);
        for ((adapter, low), out) in adapters.iter().zip(low).zip(outs) {
            change.resize(out.len(), 0.0);
            activations.set(kernels, pool, low, adapter.down.n_rows(), [BlockType::F32]);
            kernels.multiply(pool, &mut [Product { weights: &adapter.up, out: change }], activations);
            kernels.add(out, change);
        }
    }
}
