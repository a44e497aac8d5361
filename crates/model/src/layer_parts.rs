//! The parts of a pass that training goes through one by one, forwards as inference does, and backwards.

use crate::architecture::{Kind, Rotation, rotate};
use crate::model::{CpuModel, Layer};

/// Angles of some positions, `[n, n_rot / 2]` each.
pub struct Angles {
    n_pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// `sin` negated: they turn back.
    minus_sin: Vec<f32>,
}

impl CpuModel {
    /// Its decoder layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Weights of the last norm, `[hidden_dim]`.
    pub fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    /// The angles of `positions`, `[n]`.
    pub fn angles(&self, positions: &[usize]) -> Angles {
        let n_pairs = self.rope.n_pairs();
        let n = positions.len() * n_pairs;
        let mut angles =
            Angles { n_pairs, cos: vec![0.0; n], sin: vec![0.0; n], minus_sin: Vec::with_capacity(n) };
        let rows = angles.cos.chunks_exact_mut(n_pairs).zip(angles.sin.chunks_exact_mut(n_pairs));
        for (&position, (cos, sin)) in positions.iter().zip(rows) {
            self.rope.rotation(position, cos, sin);
        }
        angles.minus_sin.extend(angles.sin.iter().map(|sin| -sin));
        angles
    }

    /// What layer `layer` does to the queries, `[n_heads, head_dim]`, of the token of row `row` of `angles`.
    pub fn finish_queries(&self, layer: usize, queries: &mut [f32], angles: &Angles, row: usize) {
        self.architecture.finish(self.kernels, layer, Kind::Query, queries, angles.row(row, &angles.sin));
    }

    /// The same to its keys, `[n_kv_heads, head_dim]`.
    pub fn finish_keys(&self, layer: usize, keys: &mut [f32], angles: &Angles, row: usize) {
        self.architecture.finish(self.kernels, layer, Kind::Key, keys, angles.row(row, &angles.sin));
    }

    /// The same to its values, `[n_kv_heads, head_dim]`; the way back from it changes nothing.
    pub fn finish_values(&self, layer: usize, values: &mut [f32]) {
        self.architecture.finish_values(self.kernels, layer, values);
    }

    /// Back from finished queries or keys, `[n, head_dim]`, over the rotation.
    pub fn rotate_back(&self, heads: &mut [f32], angles: &Angles, row: usize) {
        let by = angles.row(row, &angles.minus_sin);
        rotate(self.kernels, self.pairing, heads, self.config.head_dim, by);
    }

    /// Weights of the norms that heads of queries and of keys go through before they are rotated, `[head_dim]`.
    pub fn head_norms(&self, layer: usize) -> [Option<&[f32]>; 2] {
        [Kind::Query, Kind::Key].map(|kind| self.architecture.head_norm(layer, kind))
    }
}

impl Angles {
    fn row<'a>(&'a self, row: usize, sin: &'a [f32]) -> Rotation<'a> {
        let at = row * self.n_pairs..(row + 1) * self.n_pairs;
        Rotation { cos: &self.cos[at.clone()], sin: &sin[at] }
    }
}
