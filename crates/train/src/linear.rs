//! A matrix of a layer that is trained: frozen with an adapter or a change beside it, or itself.

use nano_reasoning_kernels::{
    Activations, Dense, Kernels, PackedMatrix, Pool, Product, add_product, add_transposed_product,
};

use crate::change::{Change, SCALE};
use crate::int8::pack_q8_0;
use crate::{Parameter, Result};

/// Rows that the frozen weights are multiplied with at once.
const ROWS_AT_ONCE: usize = 64;

/// What of a matrix is learnt.
#[derive(Default)]
pub(crate) enum Learnt {
    /// Nothing.
    #[default]
    Nothing,
    /// A change of low rank beside the frozen matrix: `scale · up · down`.
    LowRank { down: Parameter, up: Parameter, rank: usize, scale: f32 },
    /// The matrix, `[n_rows, n_cols]`, in place of the frozen one.
    All(Parameter),
    /// A change of full rank beside the frozen matrix, in 8 bits.
    Change(Change),
}

impl Learnt {
    /// An adapter that changes nothing yet. `draw` gives numbers of mean 0 and variance 1.
    pub(crate) fn low_rank(
        weights: &PackedMatrix,
        rank: usize,
        alpha: f32,
        draw: &mut dyn FnMut() -> f32,
    ) -> Self {
        let width = 1.0 / (weights.n_cols() as f32).sqrt();
        let down = (0..rank * weights.n_cols()).map(|_| draw() * width).collect();
        let up = vec![0.0; rank * weights.n_rows()];
        let scale = alpha / rank as f32;
        Self::LowRank { down: Parameter::new(down), up: Parameter::new(up), rank, scale }
    }

    /// The matrix itself, starting from what it is.
    pub(crate) fn all(weights: &PackedMatrix) -> Self {
        Self::All(Parameter::new(weights.to_vec()))
    }

    /// What it is called in a checkpoint, after its matrix, with its shape.
    pub(crate) fn named(&self, weights: &PackedMatrix) -> Vec<(&'static str, Vec<usize>)> {
        let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
        match self {
            Self::Nothing => Vec::new(),
            Self::LowRank { rank, .. } => vec![("down", vec![*rank, n_cols]), ("up", vec![n_rows, *rank])],
            Self::All(_) => vec![("weight", vec![n_rows, n_cols])],
            Self::Change(_) => vec![("change", vec![n_rows, n_cols])],
        }
    }

    /// The matrix with what was learnt, as inference takes it; of adapters nothing is in it.
    ///
    /// # Errors
    /// If rows are not whole blocks of 32, or memory is short.
    pub(crate) fn packed(&self, pool: &Pool, weights: &PackedMatrix) -> Result<PackedMatrix> {
        let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
        match self {
            Self::Change(change) => change.applied(pool, weights),
            Self::All(Parameter { value, .. }) => pack_q8_0(pool, n_rows, n_cols, |row, out| {
                out.copy_from_slice(&value[row * n_cols..][..n_cols]);
            }),
            _ => pack_q8_0(pool, n_rows, n_cols, |row, out| weights.read_row(row, out)),
        }
    }

    /// Bytes that stay from step to step.
    pub(crate) fn size_bytes(&self) -> usize {
        let of_change = if let Self::Change(change) = self { change.size_bytes() } else { 0 };
        of_change + self.parameters().map(Parameter::size_bytes).sum::<usize>()
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        let (first, second) = match self {
            Self::Nothing | Self::Change(_) => (None, None),
            Self::LowRank { down, up, .. } => (Some(down), Some(up)),
            Self::All(weights) => (Some(weights), None),
        };
        first.into_iter().chain(second)
    }

    pub(crate) fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let (first, second) = match self {
            Self::Nothing | Self::Change(_) => (None, None),
            Self::LowRank { down, up, .. } => (Some(down), Some(up)),
            Self::All(weights) => (Some(weights), None),
        };
        first.into_iter().chain(second)
    }
}

/// The threads and kernels of a trainer.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) pool: &'a Pool,
}

/// What a matrix took and gave, for the way back.
pub(crate) struct Multiplied {
    /// `[n, n_rows]`
    pub(crate) out: Vec<f32>,
    /// What the adapter's first half gave, `[n, rank]`.
    low: Vec<f32>,
}

impl Machine<'_> {
    /// Multiplies rows of `x`, `[n, n_cols]`.
    pub(crate) fn multiply(&self, weights: &PackedMatrix, learnt: &Learnt, x: &[f32]) -> Multiplied {
        let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
        let n = x.len() / n_cols;
        let mut out = vec![0.0; n * n_rows];
        let rows = Dense::new(x, n_cols);
        if let Learnt::All(Parameter { value, .. }) = learnt {
            add_product(self.pool, &mut out, n_rows, 0, 1.0, rows, Dense::new(value, n_cols).transposed());
            return Multiplied { out, low: Vec::new() };
        }
        if let Learnt::Change(change) = learnt {
            self.multiply_changed(weights, change, x, &mut out);
            return Multiplied { out, low: Vec::new() };
        }
        self.multiply_frozen(weights, x, &mut out);
        let Multiplied { low, .. } = self.multiply_low(weights, learnt, x);
        let Learnt::LowRank { up, rank, scale, .. } = learnt else { return Multiplied { out, low } };
        let up = Dense::new(&up.value, *rank).transposed();
        add_product(self.pool, &mut out, n_rows, 0, *scale, Dense::new(&low, *rank), up);
        Multiplied { out, low }
    }

    /// What [`Self::multiply`] leaves for the way back, without what the matrix gives.
    pub(crate) fn multiply_low(&self, weights: &PackedMatrix, learnt: &Learnt, x: &[f32]) -> Multiplied {
        let n_cols = weights.n_cols();
        let Learnt::LowRank { down, rank, .. } = learnt else {
            return Multiplied { out: Vec::new(), low: Vec::new() };
        };
        let mut low = vec![0.0; x.len() / n_cols * rank];
        let down = Dense::new(&down.value, n_cols).transposed();
        add_product(self.pool, &mut low, *rank, 0, 1.0, Dense::new(x, n_cols), down);
        Multiplied { out: Vec::new(), low }
    }

    /// Multiplies as inference does: `out`, `[n, n_rows]`, becomes the products of `weights` and rows of `x`.
    pub(crate) fn multiply_frozen(&self, weights: &PackedMatrix, x: &[f32], out: &mut [f32]) {
        let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
        let mut activations = Activations::new();
        // A few at a time: tasks are then short enough for the brake.
        for (x, out) in x.chunks(ROWS_AT_ONCE * n_cols).zip(out.chunks_mut(ROWS_AT_ONCE * n_rows)) {
            activations.set(self.kernels, self.pool, x, n_cols, [weights.block_type()]);
            self.kernels.multiply(self.pool, &mut [Product { weights, out }], &activations);
        }
    }

    /// As [`Self::multiply_frozen`], by `weights` and their change.
    fn multiply_changed(&self, weights: &PackedMatrix, change: &Change, x: &[f32], out: &mut [f32]) {
        let change = change.weights();
        let mut changes = vec![0.0; out.len()];
        let mut activations = Activations::new();
        let types = [weights.block_type(), change.block_type()];
        activations.set(self.kernels, self.pool, x, weights.n_cols(), types);
        let frozen = Product { weights, out: &mut *out };
        let changed = Product { weights: change, out: &mut changes };
        self.kernels.multiply(self.pool, &mut [frozen, changed], &activations);
        out.iter_mut().zip(changes).for_each(|(out, change)| *out += change / SCALE);
    }

    /// The way back: adds to the gradients of what is learnt and to `dx`, `[n, n_cols]`, where that is wanted.
    pub(crate) fn multiply_back(
        &self,
        weights: &PackedMatrix,
        learnt: &mut Learnt,
        x: &[f32],
        multiplied: &Multiplied,
        dy: &[f32],
        dx: Option<&mut [f32]>,
    ) {
        let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
        let (dy_rows, x_rows) = (Dense::new(dy, n_rows), Dense::new(x, n_cols));
        match learnt {
            Learnt::All(Parameter { value, gradient, .. }) => {
                add_product(self.pool, gradient, n_cols, 0, 1.0, dy_rows.transposed(), x_rows);
                if let Some(dx) = dx {
                    add_product(self.pool, dx, n_cols, 0, 1.0, dy_rows, Dense::new(value, n_cols));
                }
            }
            Learnt::LowRank { down, up, rank, scale } => {
                let low = Dense::new(&multiplied.low, *rank);
                add_product(self.pool, &mut up.gradient, *rank, 0, *scale, dy_rows.transposed(), low);
                let mut d_low = vec![0.0; multiplied.low.len()];
                let up = Dense::new(&up.value, *rank);
                add_product(self.pool, &mut d_low, *rank, 0, *scale, dy_rows, up);
                let d_low = Dense::new(&d_low, *rank);
                add_product(self.pool, &mut down.gradient, n_cols, 0, 1.0, d_low.transposed(), x_rows);
                if let Some(dx) = dx {
                    add_transposed_product(self.pool, dx, dy, weights);
                    add_product(self.pool, dx, n_cols, 0, 1.0, d_low, Dense::new(&down.value, n_cols));
                }
            }
            Learnt::Change(change) => {
                if let Some(dx) = dx {
                    add_transposed_product(self.pool, dx, dy, weights);
                    let dy: Vec<f32> = dy.iter().map(|dy| dy / SCALE).collect();
                    add_transposed_product(self.pool, dx, &dy, change.weights());
                }
                change.add_gradient(x, dy);
            }
            Learnt::Nothing => {
                if let Some(dx) = dx {
                    add_transposed_product(self.pool, dx, dy, weights);
                }
            }
        }
    }
}
