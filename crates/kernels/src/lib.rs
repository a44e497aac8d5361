//! Small-batch kernels for quantized weights, and the worker pool they run on.
//!
//! Verifying a draft means multiplying the same weights with a few activation columns at once. Here
//! each block of weights is unpacked once for all of them, so that a pass over 8 tokens costs little
//! more than one over a single token. And a row's result depends on nothing but that row: not on how
//! many columns stand beside it, not on the thread count, not on the instruction set. Integer sums are
//! exact, and floats are rounded in one fixed order, which `scalar/` defines and every other table
//! repeats bit for bit.
//!
//! | module | what |
//! |---|---|
//! | [`PackedMatrix`] | weights in rows of 16, as `formats/` lays them out |
//! | [`Activations`] | columns quantized to int8, as the products read them |
//! | [`Kernels`] | the table of functions for one instruction set |
//! | [`KvLayer`] | keys and values of one layer, 16-bit |
//! | [`Dense`] | f32 matrices, whose products training needs |
//! | [`Pool`] | the worker threads |

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod activations;
mod attention;
mod bandwidth;
mod block_type;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod compiled;
mod dense_product;
mod dispatch;
mod error;
mod formats;
mod memory;
mod ops;
mod packed_matrix;
mod pool;
mod product;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use activations::Activations;
pub use attention::{AttentionScratch, KvLayer, Queries};
pub use bandwidth::stream_read_gb_per_s;
pub use block_type::{AffineType, BlockType};
pub use dense_product::{Dense, add_product, add_transposed_product};
pub use dispatch::{Isa, Kernels};
pub use error::Error;
pub use packed_matrix::{AffinePlanes, PackedMatrix};
pub use pool::{Brake, Pool};
pub use product::{MAX_PRODUCTS, Product};

#[cfg(test)]
mod tests;
