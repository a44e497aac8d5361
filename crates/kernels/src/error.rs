//! What can be wrong with weights handed to this crate.

use crate::BlockType;

/// An error of packing weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The byte count does not match the shape.
    #[error("{n_rows} x {n_cols} weights of type {block_type:?} are {wanted} bytes, found {found}")]
    WrongSize {
        /// Type of the blocks.
        block_type: BlockType,
        /// Rows of the matrix.
        n_rows: usize,
        /// Columns of the matrix.
        n_cols: usize,
        /// Bytes such a matrix has.
        wanted: usize,
        /// Bytes handed in.
        found: usize,
    },
    /// The row length is no multiple of the block length.
    #[error("rows of {n_cols} weights cannot be cut into {block_type:?} blocks of {block_len}")]
    PartialBlock {
        /// Type of the blocks.
        block_type: BlockType,
        /// Columns of the matrix.
        n_cols: usize,
        /// Weights in a block.
        block_len: usize,
    },
    /// The system has no memory left for the weights.
    #[error("no memory for {bytes} bytes of weights; close other programs or choose a smaller model")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}
