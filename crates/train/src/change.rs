//! A change of a frozen matrix, of full rank and in 8 bits, and AdamW on it.
//!
//! The change is apart from the matrix because its numbers are a hundred times smaller: a code's step is then a
//! hundredth of what it would be for both together, and rounding at random adds little noise. Gradients are never
//! there as a whole: what a matrix took and how the loss changes with what it gave are kept until the step, which makes
//! the gradient of a few rows at a time.

use std::sync::{Mutex, PoisonError};

use half::f16;
use nano_reasoning_kernels::{Dense, PackedMatrix, Pool, add_product};

use crate::int8::{self, Moments, Q8_0, encode_q8_0, pack_bytes, pack_q8_0};
use crate::{AdamW, Random, Result};

/// The change is kept times so much, so that its 16-bit scales are not below the smallest normal ones.
pub(crate) const SCALE: f32 = 1024.0;
/// Rows whose gradient is there at once.
const TILE_ROWS: usize = 128;
/// Rows of a task.
const TASK_ROWS: usize = 4;

/// A change of a matrix, `[n_rows, n_cols]`.
pub(crate) struct Change {
    /// Times [`SCALE`], in the format Q8_0.
    weights: PackedMatrix,
    /// Running mean of gradients, and the root of that of their squares: a square's range is too wide for 8 bits.
    moments: (Moments, Moments),
    /// What the matrix took, `[n, n_cols]`, and how the loss changes with what it gave, `[n, n_rows]`, since the last step.
    pairs: Vec<(Vec<f32>, Vec<f32>)>,
}

/// A change as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedChange {
    /// Bytes of signed codes, `[n_rows, n_cols]`.
    pub(crate) codes: Vec<u8>,
    /// Of [`SCALE`] times the change, `[n_rows, n_cols / 32]`.
    pub(crate) scales: Vec<f16>,
}

/// Some rows of a step: gradients, moments, and where the new change goes.
struct TaskRows<'a> {
    gradient: &'a [f32],
    first: int8::MomentRows<'a>,
    root: int8::MomentRows<'a>,
    out: &'a mut [u8],
    square_norm: f64,
}

impl Change {
    /// None yet.
    ///
    /// # Errors
    /// If rows are not whole blocks of 32, or memory is short.
    pub(crate) fn none(pool: &Pool, n_rows: usize, n_cols: usize) -> Result<Self> {
        let weights = pack_q8_0(pool, n_rows, n_cols, |_, out| out.fill(0.0))?;
        let moments = || Moments::zeros(n_rows, n_cols);
        Ok(Self { weights, moments: (moments(), moments()), pairs: Vec::new() })
    }

    /// [`SCALE`] times the change.
    pub(crate) fn weights(&self) -> &PackedMatrix {
        &self.weights
    }

    /// Bytes that stay from step to step.
    pub(crate) fn size_bytes(&self) -> usize {
        self.weights.size_bytes() + self.moments.0.size_bytes() + self.moments.1.size_bytes()
    }

    /// Adds `dyᵀ · x` to the gradient.
    pub(crate) fn add_gradient(&mut self, x: &[f32], dy: &[f32]) {
        self.pairs.push((x.to_vec(), dy.to_vec()));
    }

    /// The whole gradient, `[n_rows, n_cols]`.
    pub(crate) fn gradient(&self, pool: &Pool) -> Vec<f32> {
        let shape = (self.weights.n_rows(), self.weights.n_cols());
        let mut gradient = vec![0.0; shape.0 * shape.1];
        gradient_of_rows(pool, &self.pairs, shape, 0, &mut gradient);
        gradient
    }

    /// Takes step `step`, from 1, of `adamw` and forgets the gradient. Gradients are not shortened: those of the first
    /// rows are gone before the norm of all is known, and AdamW's steps are bounded without. `seed` and `step` fix how
    /// numbers are rounded. Returns the gradient's square norm.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn step(&mut self, pool: &Pool, adamw: &AdamW, step: u64, seed: u64) -> Result<f64> {
        let (n_rows, n_cols) = (self.weights.n_rows(), self.weights.n_cols());
        if self.pairs.is_empty() {
            return Ok(0.0);
        }
        let row_bytes = n_cols / Q8_0.0 * Q8_0.1;
        let mut bytes = vec![0; n_rows * row_bytes];
        let mut gradient = vec![0.0; TILE_ROWS.min(n_rows) * n_cols];
        let mut square_norm = 0.0;
        let seed = Random::new(seed ^ step << 20).bits();
        let (first, root) = &mut self.moments;
        let mut moments = first.rows_mut(TASK_ROWS).zip(root.rows_mut(TASK_ROWS));
        for (tile, out) in bytes.chunks_mut(TILE_ROWS * row_bytes).enumerate() {
            let gradient = &mut gradient[..out.len() / row_bytes * n_cols];
            gradient_of_rows(pool, &self.pairs, (n_rows, n_cols), tile * TILE_ROWS, gradient);
            let rows = gradient.chunks(TASK_ROWS * n_cols).zip(out.chunks_mut(TASK_ROWS * row_bytes));
            let task = |(gradient, out)| {
                let (first, root) = moments.next().expect("as many rows of each");
                Mutex::new(TaskRows { gradient, first, root, out, square_norm: 0.0 })
            };
            let tasks: Vec<_> = rows.map(task).collect();
            pool.run(tasks.len(), |task| {
                let mut rows = tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
                let first_row = tile * TILE_ROWS + task * TASK_ROWS;
                step_rows(&mut rows, &self.weights, first_row, adamw, step, seed);
            });
            for task in tasks {
                square_norm += task.into_inner().unwrap_or_else(PoisonError::into_inner).square_norm;
            }
        }
        self.pairs = Vec::new();
        self.weights = pack_bytes(pool, n_rows, n_cols, &bytes)?;
        Ok(square_norm)
    }

    /// The matrix and its change together, in the format Q8_0.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn applied(&self, pool: &Pool, matrix: &PackedMatrix) -> Result<PackedMatrix> {
        pack_q8_0(pool, matrix.n_rows(), matrix.n_cols(), |row, out| {
            let mut change = vec![0.0; out.len()];
            matrix.read_row(row, out);
            self.weights.read_row(row, &mut change);
            out.iter_mut().zip(change).for_each(|(out, change)| *out += change / SCALE);
        })
    }

    /// Becomes what makes `matrix` nearly `wanted`; none without that. Moments stay.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn go_to(
        &mut self,
        pool: &Pool,
        matrix: &PackedMatrix,
        wanted: Option<&PackedMatrix>,
    ) -> Result<()> {
        self.pairs.clear();
        self.weights = pack_q8_0(pool, matrix.n_rows(), matrix.n_cols(), |row, out| match wanted {
            Some(wanted) => {
                let mut own = vec![0.0; out.len()];
                matrix.read_row(row, &mut own);
                wanted.read_row(row, out);
                out.iter_mut().zip(own).for_each(|(out, own)| *out = (*out - own) * SCALE);
            }
            None => out.fill(0.0),
        })?;
        Ok(())
    }

    /// As a checkpoint holds it: without moments, which are twice as large and soon come again.
    pub(crate) fn save(&self) -> SavedChange {
        let (n_rows, n_cols) = (self.weights.n_rows(), self.weights.n_cols());
        let n_blocks = n_cols / Q8_0.0;
        let mut codes = Vec::with_capacity(n_rows * n_cols);
        let mut scales = Vec::with_capacity(n_rows * n_blocks);
        let (mut row, mut bytes) = (vec![0.0; n_cols], vec![0; n_blocks * Q8_0.1]);
        for i in 0..n_rows {
            self.weights.read_row(i, &mut row);
            encode_q8_0(&row, || int8::NEAREST, &mut bytes);
            for block in bytes.chunks_exact(Q8_0.1) {
                scales.push(f16::from_le_bytes([block[0], block[1]]));
                codes.extend_from_slice(&block[2..]);
            }
        }
        SavedChange { codes, scales }
    }

    /// Becomes what was saved, of the same shape.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn restore(&mut self, pool: &Pool, saved: &SavedChange) -> Result<()> {
        let mut bytes = Vec::with_capacity(saved.scales.len() * Q8_0.1);
        for (scale, codes) in saved.scales.iter().zip(saved.codes.chunks_exact(Q8_0.0)) {
            bytes.extend_from_slice(&scale.to_le_bytes());
            bytes.extend_from_slice(codes);
        }
        self.pairs.clear();
        self.weights = pack_bytes(pool, self.weights.n_rows(), self.weights.n_cols(), &bytes)?;
        Ok(())
    }
}

/// The gradient of the rows from `first` on, as many as `out`, `[n, n_cols]`, has, of a matrix of shape `shape`.
fn gradient_of_rows(
    pool: &Pool,
    pairs: &[(Vec<f32>, Vec<f32>)],
    (n_rows, n_cols): (usize, usize),
    first: usize,
    out: &mut [f32],
) {
    let rows = first..first + out.len() / n_cols;
    out.fill(0.0);
    for (x, dy) in pairs {
        let dy = Dense::new(dy, n_rows).columns(rows.clone()).transposed();
        add_product(pool, out, n_cols, 0, 1.0, dy, Dense::new(x, n_cols));
    }
}

/// Takes a step of the rows from `first_row` on.
fn step_rows(
    rows: &mut TaskRows<'_>,
    weights: &PackedMatrix,
    first_row: usize,
    adamw: &AdamW,
    step: u64,
    seed: u64,
) {
    let n_cols = weights.n_cols();
    let (beta_1, beta_2) = adamw.betas;
    let exponent = step.min(1 << 20) as i32;
    let (unbias_1, unbias_2) = (1.0 - beta_1.powi(exponent), (1.0 - beta_2.powi(exponent)).sqrt());
    let keep = 1.0 - adamw.learning_rate * adamw.weight_decay;
    let rate = adamw.learning_rate * SCALE;
    let mut value = vec![0.0; n_cols];
    let (mut first, mut root) = (value.clone(), value.clone());
    let row_bytes = n_cols / Q8_0.0 * Q8_0.1;
    let TaskRows { gradient, first: first_rows, root: root_rows, out, square_norm } = rows;
    for (i, (gradient, out)) in gradient.chunks_exact(n_cols).zip(out.chunks_exact_mut(row_bytes)).enumerate()
    {
        let row = first_row + i;
        weights.read_row(row, &mut value);
        first_rows.read(i, &mut first);
        root_rows.read(i, &mut root);
        let numbers = value.iter_mut().zip(gradient).zip(first.iter_mut().zip(&mut root));
        for ((value, &g), (first, root)) in numbers {
            *first = beta_1 * *first + (1.0 - beta_1) * g;
            *root = (beta_2 * *root * *root + (1.0 - beta_2) * g * g).sqrt();
            *value = *value * keep - rate * (*first / unbias_1) / (*root / unbias_2 + adamw.eps);
        }
        *square_norm += gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        let mut random = Random::new(seed ^ (row as u64).wrapping_mul(0xd134_2543_de82_ef95));
        let noise: Vec<[f32; 3]> = (0..n_cols).map(|_| int8::noise(&mut random)).collect();
        let of = |part: usize| {
            let mut noise = noise.iter();
            move || noise.next().map_or(int8::NEAREST, |noise| noise[part])
        };
        first_rows.write(i, &first, -127.0, of(0));
        // A root of 0 would make the next step endless.
        root_rows.write(i, &root, 1.0, of(1));
        encode_q8_0(&value, of(2), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameter;

    const SHAPE: (usize, usize) = (40, 64);

    /// Inputs, and what a hidden matrix makes of them.
    fn problem() -> (Vec<f32>, Vec<f32>) {
        let mut random = Random::new(9);
        let (n_rows, n_cols) = SHAPE;
        let hidden: Vec<f32> = (0..n_rows * n_cols).map(|_| 0.02 * random.normal()).collect();
        let x: Vec<f32> = (0..96 * n_cols).map(|_| random.normal()).collect();
        let mut y = vec![0.0; 96 * n_rows];
        let hidden = Dense::new(&hidden, n_cols).transposed();
        add_product(&Pool::new(1), &mut y, n_rows, 0, 1.0, Dense::new(&x, n_cols), hidden);
        (x, y)
    }

    /// Half the mean square of what is missing, and its slopes.
    fn missing(weights: &[f32], x: &[f32], y: &[f32]) -> (f64, Vec<f32>) {
        let (n_rows, n_cols) = SHAPE;
        let mut dy: Vec<f32> = y.iter().map(|y| -y).collect();
        let weights = Dense::new(weights, n_cols).transposed();
        add_product(&Pool::new(1), &mut dy, n_rows, 0, 1.0, Dense::new(x, n_cols), weights);
        let n = dy.len() as f32;
        let loss = dy.iter().map(|d| f64::from(d * d / (2.0 * n))).sum();
        dy.iter_mut().for_each(|d| *d /= n);
        (loss, dy)
    }

    fn values(change: &Change) -> Vec<f32> {
        change.weights().to_vec().iter().map(|value| value / SCALE).collect()
    }

    fn learn(n_threads: usize, n_steps: u64) -> (Change, f64) {
        let ((x, y), pool) = (problem(), Pool::new(n_threads));
        let mut change = Change::none(&pool, SHAPE.0, SHAPE.1).unwrap();
        let adamw = AdamW { learning_rate: 1e-3, ..AdamW::default() };
        for step in 1..=n_steps {
            let (_, dy) = missing(&values(&change), &x, &y);
            change.add_gradient(&x, &dy);
            change.step(&pool, &adamw, step, 7).unwrap();
        }
        let loss = missing(&values(&change), &x, &y).0;
        (change, loss)
    }

    #[test]
    fn eight_bits_learn_nearly_what_32_do() {
        let (x, y) = problem();
        let before = missing(&vec![0.0; SHAPE.0 * SHAPE.1], &x, &y).0;
        let mut parameter = Parameter::new(vec![0.0; SHAPE.0 * SHAPE.1]);
        let adamw = AdamW { learning_rate: 1e-3, max_norm: f32::MAX, ..AdamW::default() };
        for step in 1..=60 {
            let (_, dy) = missing(&parameter.value, &x, &y);
            let dy = Dense::new(&dy, SHAPE.0).transposed();
            let gradient = &mut parameter.gradient;
            add_product(&Pool::new(1), gradient, SHAPE.1, 0, 1.0, dy, Dense::new(&x, SHAPE.1));
            adamw.step(&Pool::new(1), step, [&mut parameter].into_iter());
        }
        let wanted = missing(&parameter.value, &x, &y).0;
        let (_, found) = learn(1, 60);
        assert!(wanted < 0.02 * before && found < wanted + 0.01 * before, "{before} {wanted} {found}");
    }

    #[test]
    fn a_seed_fixes_all_bits_for_any_number_of_threads() {
        let (one, two) = (learn(1, 8), learn(2, 8));
        assert_eq!(one.1, two.1);
        assert_eq!(one.0.save(), two.0.save());
    }

    #[test]
    fn a_change_comes_back_as_it_was_saved() {
        let (change, _) = learn(1, 8);
        let pool = Pool::new(1);
        let mut again = Change::none(&pool, SHAPE.0, SHAPE.1).unwrap();
        again.restore(&pool, &change.save()).unwrap();
        assert_eq!(again.weights().to_vec(), change.weights().to_vec());
    }

    #[test]
    fn it_goes_to_what_was_applied_and_back_to_none() {
        let (mut change, _) = learn(1, 8);
        let pool = Pool::new(1);
        let mut random = Random::new(2);
        let own: Vec<f32> = (0..SHAPE.0 * SHAPE.1).map(|_| random.normal() * 0.1).collect();
        let matrix = PackedMatrix::pack_f32(&pool, SHAPE.0, SHAPE.1, &own).unwrap();
        let (applied, before) = (change.applied(&pool, &matrix).unwrap(), values(&change));
        // Half a step of an 8-bit code of the sum, about 0.3 / 127, and one of the change.
        let is_near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3);
        let sum: Vec<f32> = own.iter().zip(&before).map(|(own, change)| own + change).collect();
        assert!(is_near(&applied.to_vec(), &sum));
        assert!(before.iter().any(|change| change.abs() > 4e-3));
        change.go_to(&pool, &matrix, None).unwrap();
        assert!(values(&change).iter().all(|change| *change == 0.0));
        change.go_to(&pool, &matrix, Some(&applied)).unwrap();
        assert!(is_near(&values(&change), &before));
    }

    #[test]
    fn it_takes_little_more_than_three_bytes_a_number() {
        let change = Change::none(&Pool::new(1), 512, 1536).unwrap();
        let bytes = change.size_bytes() as f64 / (512.0 * 1536.0);
        assert!((3.0..3.15).contains(&bytes), "{bytes}");
    }
}
