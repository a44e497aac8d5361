//! One table of functions per instruction set; the only place that asks the CPU what it can do.

use crate::BlockType;
use crate::activations::{DenseTile, Int8Tile};
use crate::attention::{Running, Scores, WeighedBlock};
use crate::packed_matrix::{self, UnpackRow};
use crate::product::TileOut;
use crate::{attention, ops, scalar};
use std::sync::OnceLock;

/// Instruction sets with a table, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
    /// 64-bit Arm.
    Neon,
    /// 64-bit Arm with the dot product extension.
    Dotprod,
}

impl Isa {
    /// Its name, as `--isa` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
            Self::Dotprod => "neon-dotprod",
        }
    }
}

/// The kernels for one instruction set. All tables give the same results, bit for bit.
pub struct Kernels {
    pub(crate) isa: Isa,
    pub(crate) quantize: fn(&[f32], &mut [i8; 256], &mut [i16; 16]) -> f32,
    pub(crate) int8_tile: fn(BlockType, &[u8], usize, &Int8Tile, &mut TileOut),
    pub(crate) dense_tile: fn(BlockType, &[u8], &DenseTile, &mut TileOut),
    pub(crate) encode_key: fn(&[f32], &mut [i16]) -> f32,
    pub(crate) encode_value: fn(&[f32], &mut [i16]) -> f32,
    pub(crate) key_products: fn(&[i16], &[i16], usize, &mut [i32], usize),
    pub(crate) softmax_block: fn(&Scores, &mut [i16]) -> (Running, f32),
    pub(crate) weighted_values: fn(&WeighedBlock, &mut [i32]),
    pub(crate) fold_sums: fn(&mut Running, &mut [f32], Running, &[i32], f32),
    pub(crate) fold_span: fn(&mut Running, &mut [f32], Running, &[f32]),
    pub(crate) unpack_row: UnpackRow,
    pub(crate) rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    pub(crate) silu_multiply: fn(&mut [f32], &[f32]),
    pub(crate) add: fn(&mut [f32], &[f32]),
    pub(crate) fold_words: fn(&[u64]) -> u64,
    pub(crate) rotate_halves: fn(&mut [f32], &[f32], &[f32]),
    pub(crate) rotate_neighbours: fn(&mut [f32], &[f32], &[f32]),
}

static SCALAR: Kernels = Kernels {
    isa: Isa::Scalar,
    quantize: ops::quantize,
    int8_tile: scalar::int8_tile,
    dense_tile: scalar::dense_tile,
    encode_key: attention::encode_key,
    encode_value: attention::encode_value,
    key_products: scalar::key_products,
    softmax_block: attention::softmax_block,
    weighted_values: scalar::weighted_values,
    fold_sums: attention::fold_sums,
    fold_span: attention::fold_span,
    unpack_row: packed_matrix::unpack_row,
    rms_norm: ops::rms_norm,
    silu_multiply: ops::silu_multiply,
    add: ops::add,
    fold_words: ops::fold_words,
    rotate_halves: ops::rotate_halves,
    rotate_neighbours: ops::rotate_neighbours,
};

impl Kernels {
    /// The tables this machine can run, weakest first.
    pub fn available() -> &'static [&'static Kernels] {
        static TABLES: OnceLock<Vec<&'static Kernels>> = OnceLock::new();
        TABLES.get_or_init(|| {
            #[allow(unused_mut)]
            let mut tables = vec![&SCALAR];
            #[cfg(target_arch = "x86_64")]
            tables.extend(crate::x86_64::tables());
            #[cfg(target_arch = "aarch64")]
            tables.extend(crate::aarch64::tables());
            tables
        })
    }

    /// The best table for this machine.
    pub fn best() -> &'static Kernels {
        Self::available().last().expect("the scalar table is always there")
    }

    /// The table for `name`, if the machine can run it.
    pub fn named(name: &str) -> Option<&'static Kernels> {
        Self::available().iter().find(|kernels| kernels.isa.name() == name).copied()
    }

    /// Its instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `out = x · weight / rms(x)`, one row.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len(), "rms_norm: lengths differ");
        (self.rms_norm)(x, weight, eps, out);
    }

    /// `gate = silu(gate) · up`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn silu_multiply(&self, gate: &mut [f32], up: &[f32]) {
        assert_eq!(gate.len(), up.len(), "silu_multiply: lengths differ");
        (self.silu_multiply)(gate, up);
    }

    /// `x += y`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len(), "add: lengths differ");
        (self.add)(x, y);
    }

    /// Rotates the pairs `(x[i], x[i + n])`, `i < n = cos.len()`, of one head (RoPE as GPT-NeoX pairs it).
    ///
    /// # Panics
    /// If the head is shorter than `2n` or the angles' lengths differ.
    pub fn rotate_halves(&self, x: &mut [f32], cos: &[f32], sin: &[f32]) {
        assert!(x.len() >= 2 * cos.len() && cos.len() == sin.len(), "rotate_halves: lengths differ");
        (self.rotate_halves)(&mut x[..2 * cos.len()], cos, sin);
    }

    /// Rotates the pairs `(x[2i], x[2i + 1])`, `i < n = cos.len()`, of one head (RoPE as Llama's GGUF
    /// files pair it).
    ///
    /// # Panics
    /// If the head is shorter than `2n` or the angles' lengths differ.
    pub fn rotate_neighbours(&self, x: &mut [f32], cos: &[f32], sin: &[f32]) {
        assert!(x.len() >= 2 * cos.len() && cos.len() == sin.len(), "rotate_neighbours: lengths differ");
        (self.rotate_neighbours)(&mut x[..2 * cos.len()], cos, sin);
    }
}
