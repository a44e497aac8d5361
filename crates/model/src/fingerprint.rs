//! What a set of weights is recognised by: a hash of sizes and of some rows of each matrix, as numbers, so that it does
//! not depend on how they are laid out in memory.

use nano_reasoning_kernels::PackedMatrix;

use crate::eagle3::HeadLayer;
use crate::{CpuModel, Projection};

/// FNV-1a (Fowler, Noll, Vo) of words: of bytes, it is the usual one.
pub fn fnv1a(words: impl IntoIterator<Item = impl Into<u64>>) -> u64 {
    go_on(0xcbf2_9ce4_8422_2325, words)
}

fn go_on(hash: u64, words: impl IntoIterator<Item = impl Into<u64>>) -> u64 {
    words.into_iter().fold(hash, |hash, word| (hash ^ word.into()).wrapping_mul(0x0100_0000_01b3))
}

/// A hash that grows.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(fnv1a([0_u8; 0]))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0 = go_on(self.0, bytes.iter().copied());
    }

    fn add_matrix(&mut self, matrix: &PackedMatrix) {
        let (n_rows, n_cols) = (matrix.n_rows(), matrix.n_cols());
        self.add(&(n_rows as u64).to_le_bytes());
        self.add(&(n_cols as u64).to_le_bytes());
        let mut numbers = vec![0.0; n_cols];
        for row in [0, n_rows / 3, n_rows / 2, n_rows.saturating_sub(1)] {
            if row < n_rows {
                matrix.read_row(row, &mut numbers);
                self.add_vector(&numbers);
            }
        }
    }

    fn add_vector(&mut self, numbers: &[f32]) {
        numbers.iter().for_each(|number| self.add(&number.to_bits().to_le_bytes()));
    }
}

impl CpuModel {
    /// A number that another model, or the same one quantized otherwise, has with no probability to speak of.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hash::new();
        hash.add(self.config.architecture.as_bytes());
        hash.add_matrix(&self.output);
        hash.add_vector(&self.output_norm);
        for layer in &self.layers {
            hash.add_vector(&layer.attn_norm);
            layer.matrices().into_iter().for_each(|matrix| hash.add_matrix(matrix));
        }
        hash.0
    }
}

impl HeadLayer {
    /// A number that another head, or the same one quantized otherwise, has with no probability to speak of.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hash::new();
        self.config().taps.iter().for_each(|&tap| hash.add(&(tap as u64).to_le_bytes()));
        hash.add_matrix(&self.weights().fc);
        hash.add_vector(&self.weights().output_norm);
        Projection::ALL.into_iter().for_each(|projection| hash.add_matrix(self.projection(projection)));
        hash.0
    }
}
