//! AVX-512 with VNNI: 16 rows a register, 64 products an instruction.

mod attention;
mod dense_tile;
mod int8_tile;
mod rows;
mod softmax;
mod unpack;

use crate::x86_64::prefetch::{NearAndFar, NearForFour, is_of_intel};
use crate::{Isa, Kernels};

/// The table, if this machine can run it.
pub(super) fn table() -> Option<&'static Kernels> {
    let detected = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    detected.then_some(if is_of_intel() { &TABLE_OF_INTEL } else { &TABLE })
}

static TABLE: Kernels = KERNELS;
static TABLE_OF_INTEL: Kernels = Kernels { int8_tile: int8_tile::int8_tile::<NearAndFar>, ..KERNELS };

const KERNELS: Kernels = Kernels {
    isa: Isa::Avx512Vnni,
    quantize: rows::quantize,
    int8_tile: int8_tile::int8_tile::<NearForFour>,
    dense_tile: dense_tile::dense_tile,
    encode_key: rows::encode_key,
    encode_value: rows::encode_value,
    key_products: attention::key_products,
    softmax_block: softmax::softmax_block,
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
