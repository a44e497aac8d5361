//! A window of a text through all layers, what the target says of it, and back.

use std::sync::{Mutex, PoisonError};

use nano_reasoning_kernels::add_transposed_product;
use nano_reasoning_model::{Angles, for_each_row};

use super::DraftModelTrainer;
use crate::loss::top;
use crate::{Result, Sample, Scored};

/// Tokens before a place that the model reads at most while it learns: further ones say little, and cost as much.
const MAX_CONTEXT: usize = 256;
/// Of a text that is longer, the first tokens are read all the same: heads that find nothing look there, and a model goes
/// astray without them (attention sinks, Xiao et al. 2023, arXiv 2309.17453).
const N_SINKS: usize = 4;
/// Places of a window from the first to the last.
pub(super) const MAX_SPAN: usize = 192;
/// Places that are compared at once: `[64, n_vocab]` numbers, twice.
const COMPARED_AT_ONCE: usize = 64;

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aim {
    /// To know which tokens are guessed right.
    Guesses,
    /// To know the loss, too.
    Loss,
    /// To learn from it.
    Gradients { weight: f32 },
}

/// Tokens that go through the model together.
struct Window {
    /// Where they are in the sample, `[n]`.
    indices: Vec<usize>,
    /// Tokens of the answer that are guessed, as places in the sample, one after the other.
    guessed: Vec<usize>,
    /// The row that guesses each.
    rows: Vec<usize>,
    /// Whether the loss counts there.
    is_counted: Vec<bool>,
}

impl Window {
    /// For `bases`, which lie within [`MAX_SPAN`], and what a draft of `draft_len` tokens from the last one guesses.
    fn new(sample: &Sample, bases: &[usize], draft_len: usize) -> Self {
        let (first, last) = (bases[0], bases[bases.len() - 1]);
        let guessing: Vec<usize> =
            sample.bases().filter(|base| (first..last + draft_len).contains(base)).collect();
        let end = guessing.last().map_or(last, |base| *base) + 1;
        let start = (first + 1).saturating_sub(MAX_CONTEXT);
        let n_sinks = if sample.position == 0 { N_SINKS.min(start) } else { 0 };
        let offset = start - n_sinks;
        Self {
            indices: (0..n_sinks).chain(start..=end).collect(),
            guessed: guessing.iter().map(|base| base + 2).collect(),
            rows: guessing.iter().map(|base| base + 1 - offset).collect(),
            is_counted: guessing.iter().map(|base| bases.binary_search(base).is_ok()).collect(),
        }
    }
}

impl DraftModelTrainer {
    /// Passes windows of `sample` that hold all of `bases`, ascending, for `aim`.
    pub(super) fn run(&mut self, sample: &Sample, bases: &[usize], aim: Aim) -> Result<Scored> {
        self.check(sample, bases)?;
        for &token in &sample.tokens {
            self.rows.add(&self.model, token);
            self.target_rows.add(&self.target, token);
        }
        let mut scored = Scored { n_rows: bases.len(), ..Scored::default() };
        let mut left = bases;
        while let Some(first) = left.first() {
            let n = left.partition_point(|base| base - first < MAX_SPAN);
            let window = Window::new(sample, &left[..n], self.training.draft_len);
            let share = n as f32 / bases.len() as f32;
            let is_right = self.pass(sample, &window, share, aim, &mut scored.loss);
            // A draft is right for as long as each of its tokens is.
            for (i, &is_counted) in window.is_counted.iter().enumerate() {
                let draft = is_right[i..].iter().take(self.training.draft_len);
                let is_next = |j: usize| window.guessed[i + j] == window.guessed[i] + j;
                let n_right = draft.enumerate().take_while(|&(j, is_right)| *is_right && is_next(j)).count();
                scored.n_right.extend(is_counted.then_some(n_right));
            }
            left = &left[n..];
        }
        Ok(scored)
    }

    /// One window: whether each guess is right. Its share of the loss is added to `loss`.
    fn pass(&mut self, sample: &Sample, window: &Window, share: f32, aim: Aim, loss: &mut f32) -> Vec<bool> {
        let hidden_dim = self.model.config().hidden_dim;
        let positions: Vec<usize> = window.indices.iter().map(|index| sample.position + index).collect();
        let angles = self.model.angles(&positions);
        let mut x = vec![0.0; positions.len() * hidden_dim];
        for_each_row(&self.pool, positions.len(), [&mut x], |row, [x]| {
            self.model.embed(sample.tokens[window.indices[row]], x);
        });
        let keeps_inputs = matches!(aim, Aim::Gradients { .. });
        let mut inputs = Vec::new();
        for layer in 0..self.learnt.len() {
            let y = self.layer(layer, &x, &angles);
            let input = std::mem::replace(&mut x, y);
            inputs.extend(keeps_inputs.then_some(input));
        }
        let y: Vec<f32> =
            window.rows.iter().flat_map(|row| &x[row * hidden_dim..][..hidden_dim]).copied().collect();
        let z = self.norm(&y, self.model.output_norm());
        let (is_right, d_z) = self.compare(sample, window, &z, share, aim, loss);
        if keeps_inputs {
            let mut d_y = vec![0.0; y.len()];
            self.norm_back(window.rows.len(), &y, self.model.output_norm(), &d_z, &mut d_y);
            let mut d_x = vec![0.0; x.len()];
            for (row, d_y) in window.rows.iter().zip(d_y.chunks_exact(hidden_dim)) {
                d_x[row * hidden_dim..][..hidden_dim].copy_from_slice(d_y);
            }
            self.back(&inputs, d_x, &angles);
        }
        is_right
    }

    /// Back through all layers, given what each took.
    fn back(&mut self, inputs: &[Vec<f32>], mut d_x: Vec<f32>, angles: &Angles) {
        for (layer, x) in inputs.iter().enumerate().rev() {
            d_x = self.layer_back(layer, x, d_x, angles);
        }
    }

    /// What `z`, the last norm at each row that guesses, says against the text and the target: whether guesses are right,
    /// and how the loss changes with `z`.
    fn compare(
        &self,
        sample: &Sample,
        window: &Window,
        z: &[f32],
        share: f32,
        aim: Aim,
        loss: &mut f32,
    ) -> (Vec<bool>, Vec<f32>) {
        let (hidden_dim, target_dim) = (self.model.config().hidden_dim, self.target.config().hidden_dim);
        let (rows, target_rows) = (self.rows.matrix(), self.target_rows.matrix());
        let n_vocab = rows.n_rows();
        let n_counted = window.is_counted.iter().filter(|is_counted| **is_counted).count().max(1);
        let weight = share / n_counted as f32;
        let slope_weight = if let Aim::Gradients { weight: given } = aim { given * weight } else { 0.0 };
        let mut is_right = Vec::with_capacity(window.rows.len());
        let mut d_z = vec![0.0; if slope_weight > 0.0 { z.len() } else { 0 }];
        for (chunk, z) in z.chunks(COMPARED_AT_ONCE * hidden_dim).enumerate() {
            let first = chunk * COMPARED_AT_ONCE;
            let n = z.len() / hidden_dim;
            let mut logits = vec![0.0; n * n_vocab];
            self.machine().multiply_frozen(rows, z, &mut logits);
            let tops: Vec<_> = (0..n).map(|_| Mutex::new(0)).collect();
            self.pool.run(n, |row| {
                let top = top(&logits[row * n_vocab..][..n_vocab]);
                *tops[row].lock().unwrap_or_else(PoisonError::into_inner) = top;
            });
            for (top, &token) in tops.into_iter().zip(&window.guessed[first..]) {
                let top = top.into_inner().unwrap_or_else(PoisonError::into_inner);
                is_right.push(self.rows.tokens()[top] == sample.tokens[token]);
            }
            if aim == Aim::Guesses {
                continue;
            }
            // Of the places that count alone.
            let counted: Vec<usize> = (0..n).filter(|row| window.is_counted[first + row]).collect();
            let mut slopes = Vec::with_capacity(counted.len() * n_vocab);
            let mut hidden = vec![0.0; counted.len() * target_dim];
            for (&row, hidden) in counted.iter().zip(hidden.chunks_exact_mut(target_dim)) {
                slopes.extend_from_slice(&logits[row * n_vocab..][..n_vocab]);
                sample.hidden(window.guessed[first + row] - 1, hidden);
            }
            drop(logits);
            let mut targets = vec![0.0; slopes.len()];
            self.machine().multiply_frozen(target_rows, &hidden, &mut targets);
            let mut losses = vec![0.0; counted.len()];
            let buffers = [&mut slopes[..], &mut targets, &mut losses];
            for_each_row(&self.pool, counted.len(), buffers, |_, [slopes, target, loss]| {
                loss[0] = self.training.loss.row(slopes, target, slope_weight).loss;
            });
            losses.iter().for_each(|row_loss| *loss += weight * row_loss);
            if slope_weight > 0.0 {
                let mut d_counted = vec![0.0; counted.len() * hidden_dim];
                add_transposed_product(&self.pool, &mut d_counted, &slopes, rows);
                for (row, d) in counted.iter().zip(d_counted.chunks_exact(hidden_dim)) {
                    d_z[(first + row) * hidden_dim..][..hidden_dim].copy_from_slice(d);
                }
            }
        }
        (is_right, d_z)
    }
}
