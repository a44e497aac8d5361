//! The steps of a few rows, backwards: from the last to the first, each handing on what the one before is to change.

use nano_reasoning_model::Projection;

use super::pass::{Step, Trace};
use super::{HeadTrainer, Norms, Sample};
use crate::attention::Slots;
use crate::linear::Multiplied;
use crate::ops::{rms_norm_back, silu_multiply_back};

impl HeadTrainer {
    /// Adds what `trace` says, times `weight`, to the gradients.
    pub(super) fn backward(&mut self, sample: &Sample, bases: &[usize], trace: Trace, weight: f32) {
        let Trace { mut entries, mut steps, mut slots, .. } = trace;
        let hidden_dim = self.head.config().hidden_dim;
        // How the loss changes with the output of the step at hand, through the steps after it.
        let mut d_y = vec![0.0; bases.len() * hidden_dim];
        while let Some(mut step) = steps.pop() {
            let i = steps.len();
            step.slopes.iter_mut().for_each(|slope| *slope *= weight);
            d_y = self.step_back(i, sample, bases, &step, d_y, &mut entries.slots, &mut slots);
            slots.truncate(i.saturating_sub(1));
        }

        // What all entries' keys and values, and the rows' own start, are made of.
        let learns_fusion = self.norms.is_some();
        let mut d_x = learns_fusion.then(|| vec![0.0; entries.x.len()]);
        let kv_dim = self.head.config().kv_dim();
        let Slots { mut d_keys, d_values, .. } = entries.slots;
        self.rotate(&mut d_keys, kv_dim, |entry| sample.position + entry, true);
        self.project_back(Projection::Key, &entries.x, &entries.k, &d_keys, d_x.as_deref_mut());
        self.project_back(Projection::Value, &entries.x, &entries.v, &d_values, d_x.as_deref_mut());
        let Some(d_x) = d_x else { return };
        let mut d_g = self.inputs_back(
            (0..entries.g.len() / hidden_dim).map(|entry| sample.tokens[entry + 1]),
            &entries.g,
            &d_x,
        );
        for (&base, d_row) in bases.iter().zip(d_y.chunks_exact(hidden_dim)) {
            let d_g = &mut d_g[base * hidden_dim..][..hidden_dim];
            d_g.iter_mut().zip(d_row).for_each(|(d_g, d_row)| *d_g += d_row);
        }
        if let Some((taps, fused)) = &entries.taps {
            let mut fusion = std::mem::take(&mut self.fusion);
            self.machine().multiply_back(&self.head.weights().fc, &mut fusion, taps, fused, &d_g, None);
            self.fusion = fusion;
        }
    }

    /// One step back: returns how the loss changes with what the step took in place of taps.
    #[allow(clippy::too_many_arguments, reason = "the parts of a trace, borrowed apart")]
    fn step_back(
        &mut self,
        i: usize,
        sample: &Sample,
        bases: &[usize],
        step: &Step,
        mut d_y: Vec<f32>,
        entries: &mut Slots,
        slots: &mut [Slots],
    ) -> Vec<f32> {
        let config = self.head.config();
        let (q_dim, kv_dim, ffn_dim, n) = (config.q_dim(), config.kv_dim(), config.ffn_dim, bases.len());
        let mut d_z = vec![0.0; d_y.len()];
        nano_reasoning_kernels::add_transposed_product(
            &self.pool,
            &mut d_z,
            &step.slopes,
            self.rows.matrix(),
        );
        self.norm_back(|norms| &mut norms.output_norm, 3, &step.y, &d_z, &mut d_y);

        // The feed-forward half.
        let mut d_h = vec![0.0; n * ffn_dim];
        self.project_back(Projection::Down, &step.h, &step.down, &d_y, Some(&mut d_h));
        let mut d_up = vec![0.0; d_h.len()];
        silu_multiply_back(&step.gate.out, &step.up.out, &mut d_h, &mut d_up);
        let mut d_t = vec![0.0; d_y.len()];
        self.project_back(Projection::Gate, &step.t, &step.gate, &d_h, Some(&mut d_t));
        self.project_back(Projection::Up, &step.t, &step.up, &d_up, Some(&mut d_t));
        let mut d_a = d_y;
        self.norm_back(|norms| &mut norms.ffn_norm, 2, &step.a, &d_t, &mut d_a);

        // Attention.
        let mut d_out = vec![0.0; n * q_dim];
        self.project_back(Projection::Output, &step.attended.out, &step.output, &d_a, Some(&mut d_out));
        let heads = self.heads();
        let mut d_q = heads.attend_back(&self.pool, &step.queries, entries, slots, &step.attended, &d_out);
        let position = |row: usize| sample.position + bases[row] + i;
        self.rotate(&mut d_q, q_dim, position, true);
        // What step 0 took is given, unless its fusion is learnt.
        let wants_inputs = i > 0 || self.norms.is_some();
        let mut d_x = wants_inputs.then(|| vec![0.0; step.x.len()]);
        self.project_back(Projection::Query, &step.x, &step.q, &d_q, d_x.as_deref_mut());
        if let Some((k, v)) = &step.kv {
            let own = &mut slots[i - 1];
            self.rotate(&mut own.d_keys, kv_dim, position, true);
            self.project_back(Projection::Key, &step.x, k, &own.d_keys, d_x.as_deref_mut());
            self.project_back(Projection::Value, &step.x, v, &own.d_values, d_x.as_deref_mut());
        }
        if let Some(d_x) = d_x {
            let token = |base: &usize| sample.tokens.get(base + 1 + i).copied().unwrap_or(0);
            let d_g = self.inputs_back(bases.iter().map(token), &step.g, &d_x);
            d_a.iter_mut().zip(d_g).for_each(|(d_a, d_g)| *d_a += d_g);
        }
        d_a
    }

    fn project_back(
        &mut self,
        projection: Projection,
        x: &[f32],
        multiplied: &Multiplied,
        dy: &[f32],
        dx: Option<&mut [f32]>,
    ) {
        let mut learnt = std::mem::take(&mut self.learnt[projection as usize]);
        self.machine().multiply_back(self.matrix(projection), &mut learnt, x, multiplied, dy, dx);
        self.learnt[projection as usize] = learnt;
    }

    /// Back through norm number `index` of [`Norms`], whose gradient grows where it is learnt.
    fn norm_back(
        &mut self,
        parameter: impl Fn(&mut Norms) -> &mut crate::Parameter,
        index: usize,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) {
        let mut norms = self.norms.take();
        let eps = self.head.config().rms_eps;
        match norms.as_mut().map(parameter) {
            Some(norm) => rms_norm_back(x, &norm.value, eps, dy, dx, Some(&mut norm.gradient)),
            None => rms_norm_back(x, self.norm_weights()[index], eps, dy, dx, None),
        }
        self.norms = norms;
    }

    /// Back from the layer's inputs, `d_x`, `[n, 2 · hidden_dim]`, to `g`, `[n, hidden_dim]`.
    fn inputs_back(&mut self, tokens: impl Iterator<Item = u32>, g: &[f32], d_x: &[f32]) -> Vec<f32> {
        let hidden_dim = self.head.config().hidden_dim;
        let (mut of_embedding, mut of_g) = (Vec::new(), Vec::new());
        for d_x in d_x.chunks_exact(2 * hidden_dim) {
            let (first, second) = d_x.split_at(hidden_dim);
            of_embedding.extend_from_slice(first);
            of_g.extend_from_slice(second);
        }
        let mut d_g = vec![0.0; g.len()];
        self.norm_back(|norms| &mut norms.attn_norm_2, 1, g, &of_g, &mut d_g);
        if self.norms.is_some() {
            let mut embeddings = vec![0.0; g.len()];
            for (token, embedding) in tokens.zip(embeddings.chunks_exact_mut(hidden_dim)) {
                self.target.embed(token, embedding);
            }
            // Embeddings are the target's: they do not change.
            let mut unused = vec![0.0; g.len()];
            self.norm_back(|norms| &mut norms.attn_norm, 0, &embeddings, &of_embedding, &mut unused);
        }
        d_g
    }
}
