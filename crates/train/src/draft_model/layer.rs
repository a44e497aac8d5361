//! A decoder layer over the tokens of a window, forwards as inference computes it but for attention in 32 bits, and
//! backwards.

use nano_reasoning_model::{Angles, Projection, for_each_row};

use super::DraftModelTrainer;
use crate::attention::{Attended, Heads, Slots};
use crate::linear::Multiplied;
use crate::ops::{rms_norm_back, silu_multiply_back};

/// What a layer computes for `n` tokens on its way to the last product.
struct Trace {
    /// Norm of its input, `[n, hidden_dim]`.
    normed: Vec<f32>,
    q: Multiplied,
    k: Multiplied,
    v: Multiplied,
    /// Normed and rotated, `[n, n_heads · head_dim]`.
    queries: Vec<f32>,
    /// Keys and values, as queries are.
    slots: Slots,
    attended: Attended,
    output: Multiplied,
    /// After attention, `[n, hidden_dim]`, and its norm.
    a: Vec<f32>,
    t: Vec<f32>,
    gate: Multiplied,
    up: Multiplied,
    /// `[n, ffn_dim]`
    h: Vec<f32>,
}

impl DraftModelTrainer {
    fn heads(&self) -> Heads {
        let config = self.model.config();
        Heads { n_heads: config.n_heads, n_kv_heads: config.n_kv_heads, head_dim: config.head_dim }
    }

    fn multiply(&self, layer: usize, projection: Projection, x: &[f32]) -> Multiplied {
        let weights = self.model.layers()[layer].projection(projection);
        self.machine().multiply(weights, &self.learnt[layer][projection as usize], x)
    }

    /// The norm of rows of `x`, `[n, hidden_dim]`.
    pub(super) fn norm(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let config = self.model.config();
        let mut out = vec![0.0; x.len()];
        for_each_row(&self.pool, x.len() / config.hidden_dim, [&mut out], |row, [out]| {
            let x = &x[row * config.hidden_dim..][..config.hidden_dim];
            self.model.kernels().rms_norm(x, weight, config.rms_eps, out);
        });
        out
    }

    /// Back through norms of `weight.len()` numbers each: adds to `dx`, which is `n_rows` rows as `x` and `dy` are.
    pub(super) fn norm_back(&self, n_rows: usize, x: &[f32], weight: &[f32], dy: &[f32], dx: &mut [f32]) {
        let eps = self.model.config().rms_eps;
        let width = dx.len() / n_rows.max(1);
        for_each_row(&self.pool, n_rows, [dx], |row, [dx]| {
            let at = row * width..(row + 1) * width;
            rms_norm_back(&x[at.clone()], weight, eps, &dy[at], dx, None);
        });
    }

    /// What layer `index` makes of its inputs `x`, `[n, hidden_dim]`.
    pub(super) fn layer(&self, index: usize, x: &[f32], angles: &Angles) -> Vec<f32> {
        let Trace { a, h, .. } = self.trace(index, x, angles);
        sum(&a, &self.multiply(index, Projection::Down, &h).out)
    }

    /// The same up to the last product, which the way back does not ask for.
    fn trace(&self, index: usize, x: &[f32], angles: &Angles) -> Trace {
        let (model, pool) = (&*self.model, &*self.pool);
        let (config, layer) = (model.config(), &model.layers()[index]);
        let n = x.len() / config.hidden_dim;
        let normed = self.norm(x, layer.attn_norm());
        let [q, k, v] = [Projection::Query, Projection::Key, Projection::Value]
            .map(|projection| self.multiply(index, projection, &normed));
        let [mut queries, mut keys, mut values] = [&q, &k, &v].map(|multiplied| multiplied.out.clone());
        for_each_row(pool, n, [&mut queries, &mut keys, &mut values], |row, [queries, keys, values]| {
            model.finish_queries(index, queries, angles, row);
            model.finish_keys(index, keys, angles, row);
            model.finish_values(index, values);
        });
        let slots = Slots::new(keys, values);
        let each_sees_itself: Vec<usize> = (0..n).collect();
        let attended = self.heads().attend(pool, &queries, &each_sees_itself, &slots, &[]);
        let output = self.multiply(index, Projection::Output, &attended.out);
        let a = sum(x, &output.out);
        let t = self.norm(&a, layer.ffn_norm());
        let gate = self.multiply(index, Projection::Gate, &t);
        let up = self.multiply(index, Projection::Up, &t);
        let mut h = gate.out.clone();
        for_each_row(pool, n, [&mut h], |row, [h]| {
            model.kernels().silu_multiply(h, &up.out[row * config.ffn_dim..][..config.ffn_dim]);
        });
        Trace { normed, q, k, v, queries, slots, attended, output, a, t, gate, up, h }
    }

    /// Back through layer `index`, which took `x`: `dy` is how the loss changes with what it gave, the result how it
    /// changes with `x`, `[n, hidden_dim]`. Adds to the gradients.
    pub(super) fn layer_back(&mut self, index: usize, x: &[f32], dy: Vec<f32>, angles: &Angles) -> Vec<f32> {
        let Trace { normed, q, k, v, queries, mut slots, attended, output, a, t, gate, up, h } =
            self.trace(index, x, angles);
        let (model, pool) = (self.model.clone(), self.pool.clone());
        let (config, layer) = (model.config(), &model.layers()[index]);
        let (n, ffn_dim) = (x.len() / config.hidden_dim, config.ffn_dim);

        // The feed-forward half.
        let mut d_h = vec![0.0; n * ffn_dim];
        let down = layer.projection(Projection::Down);
        let down = self.machine().multiply_low(down, &self.learnt[index][Projection::Down as usize], &h);
        self.multiply_back(index, Projection::Down, &h, &down, &dy, Some(&mut d_h));
        let mut d_up = vec![0.0; d_h.len()];
        for_each_row(&pool, n, [&mut d_h, &mut d_up], |row, [d_h, d_up]| {
            let at = row * ffn_dim..(row + 1) * ffn_dim;
            silu_multiply_back(&gate.out[at.clone()], &up.out[at], d_h, d_up);
        });
        let mut d_t = vec![0.0; dy.len()];
        self.multiply_back(index, Projection::Gate, &t, &gate, &d_h, Some(&mut d_t));
        self.multiply_back(index, Projection::Up, &t, &up, &d_up, Some(&mut d_t));
        let mut d_a = dy;
        self.norm_back(n, &a, layer.ffn_norm(), &d_t, &mut d_a);

        // Attention.
        let mut d_out = vec![0.0; attended.out.len()];
        self.multiply_back(index, Projection::Output, &attended.out, &output, &d_a, Some(&mut d_out));
        let mut d_q = self.heads().attend_back(&pool, &queries, &mut slots, &mut [], &attended, &d_out);
        let Slots { mut d_keys, d_values, .. } = slots;
        for_each_row(&pool, n, [&mut d_q, &mut d_keys], |row, [d_q, d_keys]| {
            model.rotate_back(d_q, angles, row);
            model.rotate_back(d_keys, angles, row);
        });
        let [q_norm, k_norm] = model.head_norms(index);
        for (norm, multiplied, d_heads) in [(q_norm, &q, &mut d_q), (k_norm, &k, &mut d_keys)] {
            if let Some(norm) = norm {
                let mut d_before = vec![0.0; d_heads.len()];
                self.norm_back(n, &multiplied.out, norm, d_heads, &mut d_before);
                *d_heads = d_before;
            }
        }
        // Embeddings are not learnt.
        let wants_inputs = index > 0;
        let mut d_normed = wants_inputs.then(|| vec![0.0; normed.len()]);
        for (projection, multiplied, d) in [
            (Projection::Query, &q, &d_q),
            (Projection::Key, &k, &d_keys),
            (Projection::Value, &v, &d_values),
        ] {
            self.multiply_back(index, projection, &normed, multiplied, d, d_normed.as_deref_mut());
        }
        let mut d_x = d_a;
        if let Some(d_normed) = d_normed {
            self.norm_back(n, x, layer.attn_norm(), &d_normed, &mut d_x);
        }
        d_x
    }

    fn multiply_back(
        &mut self,
        layer: usize,
        projection: Projection,
        x: &[f32],
        multiplied: &Multiplied,
        dy: &[f32],
        dx: Option<&mut [f32]>,
    ) {
        let mut learnt = std::mem::take(&mut self.learnt[layer][projection as usize]);
        let weights = self.model.layers()[layer].projection(projection);
        self.machine().multiply_back(weights, &mut learnt, x, multiplied, dy, dx);
        self.learnt[layer][projection as usize] = learnt;
    }
}

fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
