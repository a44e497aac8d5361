//! Products of packed weights with a batch of activations.

use crate::activations::{Activations, Form, TILE_COLS};
use crate::formats::GROUP_ROWS;
use crate::packed_matrix::SharedChunks;
use crate::{Kernels, PackedMatrix, Pool};
use std::ops::Range;

/// One product of a region: `out = weights · x`.
pub struct Product<'a> {
    /// `[n_rows, n_cols]`.
    pub weights: &'a PackedMatrix,
    /// `[n_tokens, n_rows]`.
    pub out: &'a mut [f32],
}

/// Products of a region at most: a layer's queries, keys and values, with an adapter each.
pub const MAX_PRODUCTS: usize = 6;

/// Results of 16 rows for one tile of columns, `[column][row]`.
pub(crate) type TileOut = [[f32; GROUP_ROWS]; TILE_COLS];

/// A task takes about this many bytes of weights: long enough to stream, short enough to share out evenly.
const TASK_BYTES: usize = 512 << 10;
/// Small tasks, at the end of a product, that a large one would be.
const SMALL_TASKS: usize = 8;
/// Row groups that stay in a core's cache while the tiles of a large batch pass over them.
const CACHED_BYTES: usize = 256 << 10;

impl Kernels {
    /// Multiplies all `products` with `x` in one parallel region.
    ///
    /// Each output is the same, bit for bit, whatever else is in the batch and however many threads run.
    ///
    /// # Panics
    /// As [`Self::multiply_each`].
    pub fn multiply(&self, pool: &Pool, products: &mut [Product], x: &Activations) {
        let products = products.iter_mut().map(|Product { weights, out }| (Product { weights, out }, x));
        self.multiply_each(pool, products);
    }

    /// The same, each product with its own activations.
    ///
    /// # Panics
    /// If a shape does not fit, activations were not set for a weight type, or there are more than [`MAX_PRODUCTS`].
    pub fn multiply_each<'a>(
        &self,
        pool: &Pool,
        products: impl IntoIterator<Item = (Product<'a>, &'a Activations)>,
    ) {
        let mut n_tasks = 0;
        let mut jobs: [Option<Job>; MAX_PRODUCTS] = [const { None }; MAX_PRODUCTS];
        let mut free = jobs.iter_mut();
        for (Product { weights, out }, x) in products {
            let job = free.next().expect("at most MAX_PRODUCTS products a region");
            assert_eq!(weights.n_cols(), x.n_cols(), "inner dimension");
            assert_eq!(out.len(), x.n_tokens() * weights.n_rows(), "length of the output");
            if out.is_empty() {
                continue;
            }
            let n_groups = weights.n_groups();
            let per_task = (TASK_BYTES * n_groups / weights.size_bytes().max(1))
                .clamp(1, n_groups.div_ceil(4 * pool.n_threads()).max(1));
            let tasks = Tasks::new(n_groups, per_task, pool.n_threads());
            let first_task = n_tasks;
            n_tasks += tasks.len();
            *job = Some(Job { weights, x, out: SharedChunks::new(out, 1), first_task, tasks });
        }
        pool.run(n_tasks, |task| {
            let job = jobs.iter().flatten().rev().find(|job| job.first_task <= task);
            self.run_job(job.expect("the first job starts at task 0"), task);
        });
    }

    fn run_job(&self, job: &Job, task: usize) {
        let Job { weights, x, .. } = job;
        let Range { start: first, end: last } = job.tasks.groups(task - job.first_task);
        let at_once = (CACHED_BYTES / weights.group(first).len().max(1)).max(1);
        let mut out: TileOut = [[0.0; GROUP_ROWS]; TILE_COLS];
        for start in (first..last).step_by(at_once) {
            let groups = start..(start + at_once).min(last);
            for tile in 0..x.n_tiles() {
                if Form::of(weights.block_type()) == Form::Dense {
                    let columns = x.dense_tile(tile);
                    for group in groups.clone() {
                        (self.dense_tile)(weights.block_type(), weights.group(group), &columns, &mut out);
                        job.store(group, tile, &out[..columns.width]);
                    }
                } else {
                    let columns = x.int8_tile(weights.block_type(), tile);
                    for group in groups.clone() {
                        let units = weights.group(group);
                        (self.int8_tile)(weights.block_type(), units, weights.n_units(), &columns, &mut out);
                        job.store(group, tile, &out[..columns.width]);
                    }
                }
            }
        }
    }
}

struct Job<'a> {
    weights: &'a PackedMatrix,
    x: &'a Activations,
    out: SharedChunks<'a, f32>,
    first_task: usize,
    tasks: Tasks,
}

/// A product's row groups, shared out: large tasks first, which stream, then small ones, with which the threads end
/// at nearly the same time.
#[derive(Clone, Copy)]
struct Tasks {
    n_groups: usize,
    large: usize,
    n_large: usize,
    small: usize,
}

impl Tasks {
    /// `large`: groups of a large task.
    fn new(n_groups: usize, large: usize, n_threads: usize) -> Self {
        let n_large = (n_groups / large).saturating_sub(n_threads - 1);
        Self { n_groups, large, n_large, small: (large / SMALL_TASKS).max(1) }
    }

    fn len(&self) -> usize {
        self.n_large + (self.n_groups - self.n_large * self.large).div_ceil(self.small)
    }

    fn groups(&self, task: usize) -> Range<usize> {
        if task < self.n_large {
            return task * self.large..(task + 1) * self.large;
        }
        let start = self.n_large * self.large + (task - self.n_large) * self.small;
        start..(start + self.small).min(self.n_groups)
    }
}

impl Job<'_> {
    /// Puts the results of a group and a tile, `[column][row]`, in their places.
    fn store(&self, group: usize, tile: usize, results: &[[f32; GROUP_ROWS]]) {
        let n_rows = self.weights.n_rows();
        let rows = GROUP_ROWS.min(n_rows - group * GROUP_ROWS);
        for (column, values) in results.iter().enumerate() {
            let at = (tile * TILE_COLS + column) * n_rows + group * GROUP_ROWS;
            // SAFETY: a group is one task's, and so are these places of the output.
            let out = unsafe { self.out.range(at, rows) };
            match out.as_chunks_mut().0 {
                [out] => *out = *values,
                _ => out.copy_from_slice(&values[..rows]),
            }
        }
    }
}
