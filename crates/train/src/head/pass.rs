//! The steps of a few rows, forwards.
//!
//! All entries of a sample have keys and values; only the rows that start from `bases` go through the rest of the
//! layer, and on to further steps, each with the output of the step before in place of taps.

use nano_reasoning_model::Projection;

use super::{HeadTrainer, Sample, Scored};
use crate::Result;
use crate::attention::{Attended, Heads, Slots};
use crate::linear::Multiplied;

/// What a pass leaves for the way back.
pub(super) struct Trace {
    pub(super) entries: Entries,
    pub(super) steps: Vec<Step>,
    /// Keys and values of the rows' own steps, from step 1.
    pub(super) slots: Vec<Slots>,
    pub(super) scored: Scored,
}

/// Step 0 of all entries, as far as attention needs it.
pub(super) struct Entries {
    /// Taps, where they are fused here, `[n_entries, n_taps · hidden_dim]`.
    pub(super) taps: Option<(Vec<f32>, Multiplied)>,
    /// Fused, `[n_entries, hidden_dim]`.
    pub(super) g: Vec<f32>,
    /// `[n_entries, 2 · hidden_dim]`
    pub(super) x: Vec<f32>,
    pub(super) k: Multiplied,
    pub(super) v: Multiplied,
    pub(super) slots: Slots,
}

/// One step of the rows, `n` of them.
pub(super) struct Step {
    /// What it took in place of taps, `[n, hidden_dim]`.
    pub(super) g: Vec<f32>,
    /// `[n, 2 · hidden_dim]`
    pub(super) x: Vec<f32>,
    /// Not rotated.
    pub(super) q: Multiplied,
    /// Rotated, `[n, n_heads · head_dim]`.
    pub(super) queries: Vec<f32>,
    /// From step 1 on.
    pub(super) kv: Option<(Multiplied, Multiplied)>,
    pub(super) attended: Attended,
    pub(super) output: Multiplied,
    /// After attention, `[n, hidden_dim]`, and its norm.
    pub(super) a: Vec<f32>,
    pub(super) t: Vec<f32>,
    pub(super) gate: Multiplied,
    pub(super) up: Multiplied,
    /// `[n, ffn_dim]`
    pub(super) h: Vec<f32>,
    pub(super) down: Multiplied,
    /// `[n, hidden_dim]`
    pub(super) y: Vec<f32>,
    /// How the loss changes with each logit, `[n, n_rows]`, the rows weighted.
    pub(super) slopes: Vec<f32>,
}

impl HeadTrainer {
    pub(super) fn heads(&self) -> Heads {
        let config = self.head.config();
        Heads { n_heads: config.n_heads, n_kv_heads: config.n_kv_heads, head_dim: config.head_dim }
    }

    pub(super) fn forward(&mut self, sample: &Sample, bases: &[usize]) -> Result<Trace> {
        self.check(sample, bases)?;
        for &token in &sample.tokens {
            self.rows.add(&self.target, token);
        }
        let entries = self.entries(sample, bases);
        let (mut steps, mut slots) = (Vec::<Step>::new(), Vec::<Slots>::new());
        let mut scored = Scored { n_rows: bases.len(), loss: 0.0, n_right: vec![0; bases.len()] };
        for i in 0..self.training.n_steps {
            let g = match steps.last() {
                Some(before) => before.y.clone(),
                None => gather(&entries.g, bases, self.head.config().hidden_dim),
            };
            let step = self.one_step(i, sample, bases, g, &entries, &mut slots, &mut scored);
            steps.push(step);
        }
        Ok(Trace { entries, steps, slots, scored })
    }

    fn entries(&self, sample: &Sample, bases: &[usize]) -> Entries {
        let config = self.head.config();
        let (hidden_dim, kv_dim) = (config.hidden_dim, config.kv_dim());
        let n = bases.iter().max().map_or(0, |base| base + 1);
        let width = sample.states.len() / sample.tokens.len().max(1);
        let states: Vec<f32> = sample.states[..n * width].iter().map(|state| state.to_f32()).collect();
        let (taps, g) = if width == hidden_dim {
            (None, states)
        } else {
            let fused = self.machine().multiply(&self.head.weights().fc, &self.fusion, &states);
            let g = fused.out.clone();
            (Some((states, fused)), g)
        };
        let x = self.inputs((0..n).map(|entry| sample.tokens[entry + 1]), &g);
        let multiply = |projection: Projection| {
            self.machine().multiply(self.matrix(projection), &self.learnt[projection as usize], &x)
        };
        let (k, v) = (multiply(Projection::Key), multiply(Projection::Value));
        let mut keys = k.out.clone();
        self.rotate(&mut keys, kv_dim, |entry| sample.position + entry, false);
        let slots = Slots::new(keys, v.out.clone());
        Entries { taps, g, x, k, v, slots }
    }

    /// The layer's inputs for the embeddings of `tokens` and `g`, `[n, hidden_dim]`: `[n, 2 · hidden_dim]`.
    fn inputs(&self, tokens: impl Iterator<Item = u32>, g: &[f32]) -> Vec<f32> {
        let config = self.head.config();
        let hidden_dim = config.hidden_dim;
        let [attn_norm, attn_norm_2, ..] = self.norm_weights();
        let kernels = self.target.kernels();
        let mut x = vec![0.0; 2 * g.len()];
        let mut embedding = vec![0.0; hidden_dim];
        for ((token, g), x) in tokens.zip(g.chunks_exact(hidden_dim)).zip(x.chunks_exact_mut(2 * hidden_dim))
        {
            self.target.embed(token, &mut embedding);
            let (first, second) = x.split_at_mut(hidden_dim);
            kernels.rms_norm(&embedding, attn_norm, config.rms_eps, first);
            kernels.rms_norm(g, attn_norm_2, config.rms_eps, second);
        }
        x
    }

    /// The norms' weights, of [`super::Norms`] in order.
    pub(super) fn norm_weights(&self) -> [&[f32]; 4] {
        let weights = self.head.weights();
        match &self.norms {
            Some(norms) => norms.all().map(|norm| norm.value.as_slice()),
            None => [&weights.attn_norm, &weights.attn_norm_2, &weights.ffn_norm, &weights.output_norm],
        }
    }

    /// Rotates rows of heads, `[n, width]`, to their positions, or back from them.
    pub(super) fn rotate(
        &self,
        rows: &mut [f32],
        width: usize,
        position: impl Fn(usize) -> usize,
        is_back: bool,
    ) {
        let n_pairs = self.head.config().head_dim / 2;
        let (mut cos, mut sin) = (vec![0.0; n_pairs], vec![0.0; n_pairs]);
        for (row, heads) in rows.chunks_exact_mut(width).enumerate() {
            self.head.rotation(position(row), &mut cos, &mut sin);
            if is_back {
                sin.iter_mut().for_each(|sin| *sin = -*sin);
            }
            self.head.rotate(self.target.kernels(), heads, &cos, &sin);
        }
    }

    /// The norm of rows of `x`, `[n, hidden_dim]`.
    fn norm(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let (hidden_dim, eps) = (self.head.config().hidden_dim, self.head.config().rms_eps);
        let mut out = vec![0.0; x.len()];
        for (x, out) in x.chunks_exact(hidden_dim).zip(out.chunks_exact_mut(hidden_dim)) {
            self.target.kernels().rms_norm(x, weight, eps, out);
        }
        out
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a trace, borrowed apart")]
    fn one_step(
        &self,
        i: usize,
        sample: &Sample,
        bases: &[usize],
        g: Vec<f32>,
        entries: &Entries,
        slots: &mut Vec<Slots>,
        scored: &mut Scored,
    ) -> Step {
        let config = self.head.config();
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        let kernels = self.target.kernels();
        let [_, _, ffn_norm, output_norm] = self.norm_weights();
        let multiply = |projection: Projection, x: &[f32]| {
            self.machine().multiply(self.matrix(projection), &self.learnt[projection as usize], x)
        };
        // Beyond the text there is no token; such a row counts for nothing.
        let token = |base: usize| sample.tokens.get(base + 1 + i).copied().unwrap_or(0);
        let x = self.inputs(bases.iter().map(|&base| token(base)), &g);
        let position = |row: usize| sample.position + bases[row] + i;
        let q = multiply(Projection::Query, &x);
        let mut queries = q.out.clone();
        self.rotate(&mut queries, q_dim, position, false);
        let kv = (i > 0).then(|| (multiply(Projection::Key, &x), multiply(Projection::Value, &x)));
        if let Some((k, v)) = &kv {
            let mut keys = k.out.clone();
            self.rotate(&mut keys, kv_dim, position, false);
            slots.push(Slots::new(keys, v.out.clone()));
        }
        let attended = self.heads().attend(&self.pool, &queries, bases, &entries.slots, slots);
        let output = multiply(Projection::Output, &attended.out);
        let mut a = g.clone();
        kernels.add(&mut a, &output.out);
        let t = self.norm(&a, ffn_norm);
        let (gate, up) = (multiply(Projection::Gate, &t), multiply(Projection::Up, &t));
        let mut h = gate.out.clone();
        kernels.silu_multiply(&mut h, &up.out);
        let down = multiply(Projection::Down, &h);
        let mut y = a.clone();
        kernels.add(&mut y, &down.out);
        let slopes = self.compare(i, sample, bases, &self.norm(&y, output_norm), scored);
        Step { g, x, q, queries, kv, attended, output, a, t, gate, up, h, down, y, slopes }
    }

    /// What the rows' outputs say after the last norm, `z`, `[n, hidden_dim]`, against the target: slopes, weighted.
    fn compare(
        &self,
        i: usize,
        sample: &Sample,
        bases: &[usize],
        z: &[f32],
        scored: &mut Scored,
    ) -> Vec<f32> {
        let hidden_dim = self.head.config().hidden_dim;
        let rows = self.rows.matrix();
        let n_tokens = rows.n_rows();
        let is_counted = |base: usize| base + 2 + i < sample.tokens.len() && sample.is_answer[base + 2 + i];
        let n_counted = bases.iter().filter(|&&base| is_counted(base)).count().max(1);
        let weight = self.training.decay.powi(i as i32) / n_counted as f32;
        let mut logits = vec![0.0; bases.len() * n_tokens];
        self.machine().multiply_frozen(rows, z, &mut logits);
        let mut hidden = vec![0.0; bases.len() * hidden_dim];
        for (&base, hidden) in bases.iter().zip(hidden.chunks_exact_mut(hidden_dim)) {
            if is_counted(base) {
                sample.hidden(base + 1 + i, hidden);
            }
        }
        let mut targets = vec![0.0; logits.len()];
        self.machine().multiply_frozen(rows, &hidden, &mut targets);
        let pairs = logits.chunks_exact_mut(n_tokens).zip(targets.chunks_exact_mut(n_tokens));
        for (row, (logits, target)) in pairs.enumerate() {
            if !is_counted(bases[row]) {
                logits.fill(0.0);
                continue;
            }
            let row_loss = self.training.loss.row(logits, target, weight);
            scored.loss += weight * row_loss.loss;
            let is_right = self.rows.tokens()[row_loss.top] == sample.tokens[bases[row] + 2 + i];
            if is_right && scored.n_right[row] == i {
                scored.n_right[row] += 1;
            }
        }
        logits
    }
}

/// Rows `rows` of `[n, width]`.
fn gather(all: &[f32], rows: &[usize], width: usize) -> Vec<f32> {
    rows.iter().flat_map(|row| &all[row * width..][..width]).copied().collect()
}
