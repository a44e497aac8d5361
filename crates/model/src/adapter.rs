//! Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685): small trained changes beside frozen, quantized weights.

use nano_reasoning_kernels::{Activations, BlockType, Kernels, MAX_PRODUCTS, PackedMatrix, Pool, Product};

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

/// Matrices of one input at most: those of queries, keys and values.
const MAX_SIDE: usize = MAX_PRODUCTS / 2;

/// Buffers for what adapters add.
#[derive(Default)]
pub(crate) struct AdapterScratch {
    sides: [Side; MAX_SIDE],
}

/// Of one adapter.
#[derive(Default)]
struct Side {
    /// `[n, rank]`
    low: Vec<f32>,
    activations: Activations,
    /// `[n, n_rows]`
    change: Vec<f32>,
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
    ///
    /// Adapters' first halves go in the same parallel region as the weights, and their second halves in one together:
    /// in a step of a draft, starting a region takes as long as what it has to do for an adapter.
    pub(crate) fn project<const N: usize>(
        &mut self,
        weights: [&PackedMatrix; N],
        projections: [Projection; N],
        x: &[f32],
        mut outs: [&mut [f32]; N],
    ) {
        let Self { kernels, pool, adapters, activations, scratch: AdapterScratch { sides } } = self;
        let types = weights.iter().map(|weights| weights.block_type());
        activations.set(kernels, pool, x, weights[0].n_cols(), types.chain(adapters.map(|_| BlockType::F32)));
        let x = &**activations;
        let adapters = projections.map(|projection| adapters.and_then(|adapters| adapters.get(projection)));
        let frozen = weights.into_iter().zip(&mut outs);
        let frozen = frozen.map(|(weights, out)| (Product { weights, out }, x));
        let first_halves = adapters.iter().zip(&mut *sides).filter_map(|(adapter, Side { low, .. })| {
            let weights = &adapter.as_ref()?.down;
            low.resize(x.n_tokens() * weights.n_rows(), 0.0);
            Some((Product { weights, out: low }, x))
        });
        // One task each, so that they come first: nobody waits for the last of them.
        kernels.multiply_each(pool, first_halves.chain(frozen));
        if adapters.iter().all(Option::is_none) {
            return;
        }
        let second_halves = adapters.iter().zip(&mut *sides).filter_map(|(adapter, side)| {
            let (Side { low, activations, change }, weights) = (side, &adapter.as_ref()?.up);
            activations.set(kernels, pool, low, weights.n_cols(), [BlockType::F32]);
            change.resize(x.n_tokens() * weights.n_rows(), 0.0);
            Some((Product { weights, out: change }, &*activations))
        });
        kernels.multiply_each(pool, second_halves);
        for ((adapter, side), out) in adapters.iter().zip(sides).zip(outs) {
            if adapter.is_some() {
                kernels.add(out, &side.change);
            }
        }
    }
}
