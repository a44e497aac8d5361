//! The row operations of `ops` and `attention`, compiled anew for an instruction set.

/// Declares, for a table's `rows.rs`, one function per row operation, which the compiler vectorises with
/// the given features.
macro_rules! compiled_rows {
    ($features:literal) => {
        use crate::BlockType;
        use crate::attention::{self, Running, Scores};
        use crate::ops;
        use crate::packed_matrix;

        $crate::compiled::compiled_rows! { $features:
            quantize(x: &[f32], codes: &mut [i8; 256], half_sums: &mut [i16; 16]) -> f32 = ops::quantize;
            encode_key(x: &[f32], codes: &mut [i16]) -> f32 = attention::encode_key;
            encode_value(x: &[f32], codes: &mut [i16]) -> f32 = attention::encode_value;
            softmax_block(scores: &Scores, weights: &mut [i16]) -> (Running, f32) = attention::softmax_block;
            fold_sums(running: &mut Running, out: &mut [f32], part: Running, sums: &[i32], scale: f32) -> ()
                = attention::fold_sums;
            fold_span(running: &mut Running, out: &mut [f32], part: Running, values: &[f32]) -> ()
                = attention::fold_span;
            unpack_row(block_type: BlockType, group: &[u8], lane: usize, first: usize, out: &mut [f32]) -> ()
                = packed_matrix::unpack_row;
            rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> () = ops::rms_norm;
            silu_multiply(gate: &mut [f32], up: &[f32]) -> () = ops::silu_multiply;
            add(x: &mut [f32], y: &[f32]) -> () = ops::add;
            fold_words(words: &[u64]) -> u64 = ops::fold_words;
            rotate_halves(x: &mut [f32], cos: &[f32], sin: &[f32]) -> () = ops::rotate_halves;
            rotate_neighbours(x: &mut [f32], cos: &[f32], sin: &[f32]) -> () = ops::rotate_neighbours;
        }
    };
    ($features:literal: $($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:path;)*) => {$(
        pub(super) fn $name($($arg: $type),*) -> $out {
            #[target_feature(enable = $features)]
            fn compiled($($arg: $type),*) -> $out {
                $body($($arg),*)
            }
            // SAFETY: the table exists only once these features were detected.
            unsafe { compiled($($arg),*) }
        }
    )*};
}
pub(crate) use compiled_rows;
