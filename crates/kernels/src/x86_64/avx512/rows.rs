//! The row operations of `ops` and `attention`, compiled for this instruction set.

use crate::attention::{self, Running, Scores};
use crate::ops;

/// Wraps a plain function in one that the compiler vectorises with AVX-512.
macro_rules! compiled {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $body:path;)*) => {$(
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn compiled($($arg: $type),*) $(-> $out)? {
                $body($($arg),*)
            }
            // SAFETY: the table exists only once these features were detected.
            unsafe { compiled($($arg),*) }
        }
    )*};
}

compiled! {
    fn quantize(x: &[f32], codes: &mut [i8; 256], half_sums: &mut [i16; 16]) -> f32 = ops::quantize;
    fn encode_key(x: &[f32], codes: &mut [i16]) -> f32 = attention::encode_key;
    fn encode_value(x: &[f32], codes: &mut [i16]) -> f32 = attention::encode_value;
    fn softmax_block(scores: &Scores, weights: &mut [i16]) -> (Running, f32) = attention::softmax_block;
    fn fold_sums(running: &mut Running, out: &mut [f32], part: Running, sums: &[i32], scale: f32) = attention::fold_sums;
    fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) = ops::rms_norm;
    fn silu_multiply(gate: &mut [f32], up: &[f32]) = ops::silu_multiply;
    fn add(x: &mut [f32], y: &[f32]) = ops::add;
    fn rotate_halves(x: &mut [f32], cos: &[f32], sin: &[f32]) = ops::rotate_halves;
    fn rotate_neighbours(x: &mut [f32], cos: &[f32], sin: &[f32]) = ops::rotate_neighbours;
}
