//! Products of plain f32 matrices, as training needs them: on all threads of a pool, each part by the `gemm-f32` crate.

use crate::packed_matrix::SharedChunks;
use crate::{PackedMatrix, Pool};
use std::ops::Range;

/// A view of a row-major f32 matrix, perhaps transposed, perhaps a column range of a wider one.
#[derive(Clone, Copy)]
pub struct Dense<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Dense<'a> {
    /// `data`, `[n_rows, n_cols]`.
    ///
    /// # Panics
    /// If `data` is not whole rows.
    pub fn new(data: &'a [f32], n_cols: usize) -> Self {
        assert!(n_cols > 0 && data.len().is_multiple_of(n_cols), "{} values in rows of {n_cols}", data.len());
        Self { data, n_rows: data.len() / n_cols, n_cols, row_stride: n_cols, col_stride: 1 }
    }

    /// Its columns `columns`.
    ///
    /// # Panics
    /// If there are no such columns.
    #[must_use]
    pub fn columns(self, columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= self.n_cols, "columns of a matrix");
        let start = (columns.start * self.col_stride).min(self.data.len());
        Self { data: &self.data[start..], n_cols: columns.len(), ..self }
    }

    /// Its transpose, without moving anything.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            n_rows: self.n_cols,
            n_cols: self.n_rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Items from the first to the last.
    fn span(&self) -> usize {
        if self.n_rows == 0 || self.n_cols == 0 {
            return 0;
        }
        (self.n_rows - 1) * self.row_stride + (self.n_cols - 1) * self.col_stride + 1
    }
}

/// Columns, or rows if those are fewer, of an output that one task computes.
const PART: usize = 256;

/// `out += scale · a · b`, where `out` is the columns from `first_column` on of rows of `out_width`.
///
/// The result does not depend on the number of threads.
///
/// # Panics
/// If shapes do not fit.
pub fn add_product(
    pool: &Pool,
    out: &mut [f32],
    out_width: usize,
    first_column: usize,
    scale: f32,
    a: Dense,
    b: Dense,
) {
    let (n, k, m) = (a.n_rows, a.n_cols, b.n_cols);
    assert_eq!(b.n_rows, k, "inner dimension");
    assert_eq!(out.len(), n * out_width, "length of the output");
    assert!(first_column + m <= out_width, "columns of the output");
    if n == 0 || m == 0 || k == 0 {
        return;
    }
    let out = SharedChunks::new(out, 1);
    if m >= n {
        pool.run(m.div_ceil(PART), |part| {
            let columns = part * PART..m.min((part + 1) * PART);
            // SAFETY: parts are column ranges that do not overlap, and the pool runs each once.
            unsafe {
                add_part(&out, out_width, first_column + columns.start, 0..n, scale, a, b.columns(columns))
            };
        });
    } else {
        pool.run(n.div_ceil(PART), |part| {
            let rows = part * PART..n.min((part + 1) * PART);
            let a = a.transposed().columns(rows.clone()).transposed();
            // SAFETY: parts are row ranges that do not overlap, and the pool runs each once.
            unsafe { add_part(&out, out_width, first_column, rows, scale, a, b) };
        });
    }
}

/// # Safety
/// Nobody else may use the same columns of the same rows of `out` meanwhile.
unsafe fn add_part(
    out: &SharedChunks<'_, f32>,
    out_width: usize,
    first_column: usize,
    rows: Range<usize>,
    scale: f32,
    a: Dense,
    b: Dense,
) {
    assert!(a.span() <= a.data.len() && b.span() <= b.data.len(), "data of a matrix");
    assert!(a.n_rows == rows.len() && a.n_cols == b.n_rows && first_column + b.n_cols <= out_width);
    let start = out.pointer(rows.start * out_width + first_column, (rows.len() - 1) * out_width + b.n_cols);
    // The transposed product, since `gemm` likes the columns of its output side by side: `outᵀ = bᵀ · aᵀ`.
    // SAFETY: the strides keep inside the data, as checked above; `out` is the caller's promise.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            b.n_cols,
            a.n_rows,
            a.n_cols,
            start,
            out_width as isize,
            1,
            true,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.col_stride as isize,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.col_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// Rows and columns of a packed matrix that are unpacked at once: they stay in a core's second cache.
const TILE_ROWS: usize = 128;
const TILE_COLS: usize = 512;
/// Rows of the output that a tile serves before the next look at the brake: half a millisecond of work.
const BETWEEN_LOOKS: usize = 128;

/// `out += y · weights`: how a change of each input moves outputs that change by `y`. `y` is `[n, n_rows]`, `out` `[n, n_cols]`.
///
/// The result does not depend on the number of threads.
///
/// # Panics
/// If shapes do not fit.
pub fn add_transposed_product(pool: &Pool, out: &mut [f32], y: &[f32], weights: &PackedMatrix) {
    let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
    let y = Dense::new(y, n_rows);
    assert_eq!(out.len(), y.n_rows * n_cols, "length of the output");
    if y.n_rows == 0 {
        return;
    }
    let n = y.n_rows;
    let out = SharedChunks::new(out, 1);
    let n_parts = n_cols.div_ceil(TILE_COLS);
    // Parts alike in width, so that none is left when others are done.
    let width = n_cols.div_ceil(n_parts).next_multiple_of(32);
    pool.run(n_cols.div_ceil(width), |part| {
        let columns = part * width..n_cols.min((part + 1) * width);
        let mut tile = vec![0.0; TILE_ROWS * columns.len()];
        for start in (0..n_rows).step_by(TILE_ROWS) {
            let rows = start..n_rows.min(start + TILE_ROWS);
            let tile = &mut tile[..rows.len() * columns.len()];
            weights.read_tile(rows.clone(), columns.clone(), tile);
            let tile = Dense::new(tile, columns.len());
            for first in (0..n).step_by(BETWEEN_LOOKS) {
                pool.wait_for_brake();
                let out_rows = first..n.min(first + BETWEEN_LOOKS);
                let y = y.transposed().columns(out_rows.clone()).transposed().columns(rows.clone());
                // SAFETY: parts are column ranges that do not overlap, and the pool runs each once.
                unsafe { add_part(&out, n_cols, columns.start, out_rows, 1.0, y, tile) };
            }
        }
    });
}
