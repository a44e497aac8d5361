//! Where weights come from, whatever the file format. Names are GGUF's: `blk.0.attn_q.weight`.

use crate::Result;
use nano_reasoning_kernels::PackedMatrix;

/// Hands out each tensor of a model once.
pub(crate) trait WeightSource {
    /// Whether there is an output matrix; if not, the embedding serves.
    fn has_output(&self) -> bool;

    /// A matrix, `[n_rows, n_cols]`, packed.
    fn matrix(&mut self, name: &str, n_rows: usize, n_cols: usize) -> Result<PackedMatrix>;

    /// A vector, `[len]`.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>>;
}
