//! Attention of a training-time test, forwards and backwards; without own steps it is the usual one over a text.
//!
//! Row `r` of draft step `i` starts from entry `base[r]`. It sees the entries up to that one, whose keys and values
//! are those of step 0, and its own of the steps `1..=i`: just what it would see while it drafts.

use nano_reasoning_kernels::{Dense, Pool, add_product};
use nano_reasoning_model::for_each_row;

/// Sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// Keys or values, and how the loss changes with them.
pub(crate) struct Slots {
    /// `[n_entries or n_rows, n_kv_heads · head_dim]`
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
    pub(crate) d_keys: Vec<f32>,
    pub(crate) d_values: Vec<f32>,
}

impl Slots {
    pub(crate) fn new(keys: Vec<f32>, values: Vec<f32>) -> Self {
        let (d_keys, d_values) = (vec![0.0; keys.len()], vec![0.0; values.len()]);
        Self { keys, values, d_keys, d_values }
    }
}

/// What a step's attention leaves for the way back.
pub(crate) struct Attended {
    /// What it gave, `[n, n_heads · head_dim]`.
    pub(crate) out: Vec<f32>,
    /// By key-value head, weights over the entries, `[n · group, n_entries]`.
    over_entries: Vec<Vec<f32>>,
    /// By key-value head, weights over the row's own steps, `[n · group, n_steps]`.
    over_steps: Vec<Vec<f32>>,
}

impl Heads {
    pub(crate) fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// The heads of one group of all rows, `[n · group, head_dim]`, of `[n, n_heads · head_dim]`.
    fn gather(&self, kv_head: usize, rows: &[f32]) -> Vec<f32> {
        let width = self.group() * self.head_dim;
        let rows = rows.chunks_exact(self.n_heads * self.head_dim);
        rows.flat_map(|row| &row[kv_head * width..][..width]).copied().collect()
    }

    /// Adds such a gathered group back.
    fn scatter(&self, kv_head: usize, group: &[f32], rows: &mut [f32]) {
        let width = self.group() * self.head_dim;
        let rows = rows.chunks_exact_mut(self.n_heads * self.head_dim);
        for (row, from) in rows.zip(group.chunks_exact(width)) {
            row[kv_head * width..][..width].iter_mut().zip(from).for_each(|(x, y)| *x += y);
        }
    }

    /// Row `row`'s part of a head in `[n, kv_dim]`.
    fn of_row<'a>(&self, kv_head: usize, row: usize, all: &'a [f32]) -> &'a [f32] {
        &all[row * self.kv_dim() + kv_head * self.head_dim..][..self.head_dim]
    }

    /// Attends with `queries`, `[n, n_heads · head_dim]`, rotated.
    pub(crate) fn attend(
        &self,
        pool: &Pool,
        queries: &[f32],
        base: &[usize],
        entries: &Slots,
        steps: &[Slots],
    ) -> Attended {
        let (group, dim, kv_dim) = (self.group(), self.head_dim, self.kv_dim());
        let n_entries = base.iter().max().map_or(0, |base| base + 1);
        let mut attended =
            Attended { out: vec![0.0; queries.len()], over_entries: Vec::new(), over_steps: Vec::new() };
        for head in 0..self.n_kv_heads {
            let q = self.gather(head, queries);
            let columns = head * dim..(head + 1) * dim;
            let keys = Dense::new(&entries.keys[..n_entries * kv_dim], kv_dim).columns(columns.clone());
            let values = Dense::new(&entries.values[..n_entries * kv_dim], kv_dim).columns(columns);
            let mut weights = vec![0.0; q.len() / dim * n_entries];
            add_product(
                pool,
                &mut weights,
                n_entries,
                0,
                self.scale(),
                Dense::new(&q, dim),
                keys.transposed(),
            );
            let mut own = vec![0.0; q.len() / dim * steps.len()];
            for_each_row(pool, q.len() / dim, [&mut weights, &mut own], |i, [over_entries, over_steps]| {
                let row = i / group;
                for (weight, step) in over_steps.iter_mut().zip(steps) {
                    *weight = self.scale() * dot(&q[i * dim..][..dim], self.of_row(head, row, &step.keys));
                }
                over_entries[base[row] + 1..].fill(0.0);
                softmax(&mut over_entries[..=base[row]], over_steps);
            });
            let mut out = vec![0.0; q.len()];
            add_product(pool, &mut out, dim, 0, 1.0, Dense::new(&weights, n_entries), values);
            for (i, out) in out.chunks_exact_mut(dim).enumerate() {
                for (weight, step) in own[i * steps.len()..][..steps.len()].iter().zip(steps) {
                    let value = self.of_row(head, i / group, &step.values);
                    out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
                }
            }
            self.scatter(head, &out, &mut attended.out);
            attended.over_entries.push(weights);
            attended.over_steps.push(own);
        }
        attended
    }

    /// The way back: `d_out` is `[n, n_heads · head_dim]`; adds to the slots' and returns the queries'.
    pub(crate) fn attend_back(
        &self,
        pool: &Pool,
        queries: &[f32],
        entries: &mut Slots,
        steps: &mut [Slots],
        attended: &Attended,
        d_out: &[f32],
    ) -> Vec<f32> {
        let (group, dim, kv_dim, scale) = (self.group(), self.head_dim, self.kv_dim(), self.scale());
        let n_steps = steps.len();
        let mut d_queries = vec![0.0; queries.len()];
        for head in 0..self.n_kv_heads {
            let (q, d_out) = (self.gather(head, queries), self.gather(head, d_out));
            let (weights, own) = (&attended.over_entries[head], &attended.over_steps[head]);
            let n_entries = weights.len() / (q.len() / dim);
            let columns = head * dim..(head + 1) * dim;
            let range = ..n_entries * kv_dim;
            let values = Dense::new(&entries.values[range], kv_dim).columns(columns.clone());
            let mut d_scores = vec![0.0; weights.len()];
            let d_out_rows = Dense::new(&d_out, dim);
            add_product(pool, &mut d_scores, n_entries, 0, 1.0, d_out_rows, values.transposed());
            let mut d_own = vec![0.0; own.len()];
            for_each_row(pool, q.len() / dim, [&mut d_scores, &mut d_own], |i, [d_scores, d_own]| {
                let row = i / group;
                let (weights, own) = (&weights[i * n_entries..][..n_entries], &own[i * n_steps..][..n_steps]);
                for (d, step) in d_own.iter_mut().zip(&*steps) {
                    *d = dot(&d_out[i * dim..][..dim], self.of_row(head, row, &step.values));
                }
                let mean = dot(weights, d_scores) + dot(own, d_own);
                d_scores.iter_mut().zip(weights).for_each(|(d, weight)| *d = weight * (*d - mean) * scale);
                d_own.iter_mut().zip(own).for_each(|(d, weight)| *d = weight * (*d - mean) * scale);
            });
            let d_score_rows = Dense::new(&d_scores, n_entries);
            let keys = Dense::new(&entries.keys[range], kv_dim).columns(columns);
            let mut d_q = vec![0.0; q.len()];
            add_product(pool, &mut d_q, dim, 0, 1.0, d_score_rows, keys);
            let (d_keys, d_values) = (&mut entries.d_keys[range], &mut entries.d_values[range]);
            let q_rows = Dense::new(&q, dim);
            add_product(pool, d_keys, kv_dim, head * dim, 1.0, d_score_rows.transposed(), q_rows);
            let weight_rows = Dense::new(weights, n_entries);
            add_product(pool, d_values, kv_dim, head * dim, 1.0, weight_rows.transposed(), d_out_rows);
            for (i, ((q, d_out), d_q)) in
                q.chunks_exact(dim).zip(d_out.chunks_exact(dim)).zip(d_q.chunks_exact_mut(dim)).enumerate()
            {
                let at = i / group * kv_dim + head * dim;
                for (j, step) in steps.iter_mut().enumerate() {
                    let (weight, d) = (own[i * n_steps + j], d_own[i * n_steps + j]);
                    for x in 0..dim {
                        d_q[x] += d * step.keys[at + x];
                        step.d_keys[at + x] += d * q[x];
                        step.d_values[at + x] += weight * d_out[x];
                    }
                }
            }
            self.scatter(head, &d_q, &mut d_queries);
        }
        d_queries
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weights of scores in two parts.
fn softmax(a: &mut [f32], b: &mut [f32]) {
    let max = a.iter().chain(&*b).copied().fold(f32::NEG_INFINITY, f32::max);
    let all = || a.iter().chain(&*b);
    let sum: f32 = all().map(|score| (score - max).exp()).sum();
    a.iter_mut().chain(b).for_each(|score| *score = (*score - max).exp() / sum);
}
