//! AVX2 with FMA and F16C: 8 rows a register, two registers a line.

mod attention;
mod dense_tile;
mod int8_tile;
mod rows;
mod unpack;

use crate::x86_64::prefetch::{Near, NearAndFar, is_of_intel};
use crate::{Isa, Kernels};

/// The table, if this machine can run it.
pub(super) fn table() -> Option<&'static Kernels> {
    let detected = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    detected.then_some(if is_of_intel() { &TABLE_OF_INTEL } else { &TABLE })
}

static TABLE: Kernels = KERNELS;
static TABLE_OF_INTEL: Kernels = Kernels { int8_tile: int8_tile::int8_tile::<NearAndFar>, ..KERNELS };

const KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    quantize: rows::quantize,
    int8_tile: int8_tile::int8_tile::<Near>,
    dense_tile: dense_tile::dense_tile,
    encode_key: rows::encode_key,
    encode_value: rows::encode_value,
    key_products: attention::key_products,
    softmax_block: rows::softmax_block,
    weighted_values: attention::weighted_values,
    fold_sums: rows::fold_sums,
    fold_span: rows::fold_span,
    unpack_row: rows::unpack_row,
    rms_norm: rows::rms_norm,
    silu_multiply: rows::silu_multiply,
    add: rows::add,
    fold_words: rows::fold_words,
    rotate_halves: rows::rotate_halves,
    rotate_neighbours: rows::rotate_neighbours,
};
