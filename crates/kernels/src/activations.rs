//! Activation columns in the form that products read.

use crate::formats::{BLOCK_COLS, with_format};
use crate::{BlockType, Kernels, Pool};

/// Columns of a full tile: what one kernel call multiplies with 16 rows.
pub(crate) const TILE_COLS: usize = 16;

/// Which form of the activations a weight type multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// int8, one scale per 32 columns.
    Int8Per32,
    /// int8, one scale per 256 columns.
    Int8Per256,
    /// f32.
    Dense,
}

impl Form {
    pub(crate) fn of(block_type: BlockType) -> Self {
        with_format!(block_type, F => {
            use crate::formats::Format;
            if F::SCALE_BLOCKS == 1 { Self::Int8Per32 } else { Self::Int8Per256 }
        }, Self::Dense)
    }
}

/// A batch of activation vectors, quantized once for all the matrices that multiply it. Buffers grow
/// to the largest batch seen and are reused.
///
/// Vectors are kept in tiles of up to 16; within a tile, block by block, the vectors side by side, so
/// that a kernel walks forward through memory whatever the batch.
#[derive(Default)]
pub struct Activations {
    n_tokens: usize,
    n_cols: usize,
    per_32: Option<Quantized>,
    per_256: Option<Quantized>,
    dense: Option<Vec<f32>>,
    spare: Vec<Quantized>,
    spare_dense: Vec<f32>,
}

/// One int8 form of a batch.
#[derive(Default)]
struct Quantized {
    /// Columns that share a scale.
    scale_cols: usize,
    /// `[tile][block][column of the tile][32]`.
    codes: Vec<i8>,
    /// `[tile][run of columns][column of the tile]`.
    scales: Vec<f32>,
    /// Sums of the codes of each 16 columns, times −128, `[tile][block][column of the tile][2]`.
    half_sums: Vec<i32>,
    /// Sums of the codes of each 32 columns, `[tile][block][column of the tile]`.
    sums: Vec<f32>,
}

/// The int8 columns one kernel call reads. `width` vectors side by side.
pub(crate) struct Int8Tile<'a> {
    pub(crate) width: usize,
    /// `[block][width][32]`.
    pub(crate) codes: &'a [i8],
    /// `[run of blocks][width]`.
    pub(crate) scales: &'a [f32],
    /// Sums of 16 codes, times −128: what an offset of 128 adds to a dot product. `[block][width][2]`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "Arm multiplies signed by signed"))]
    pub(crate) half_sums: &'a [i32],
    /// `[block][width]`.
    pub(crate) sums: &'a [f32],
}

/// The f32 columns one kernel call reads.
pub(crate) struct DenseTile<'a> {
    pub(crate) width: usize,
    /// `[n_cols][width]`.
    pub(crate) values: &'a [f32],
}

impl Activations {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `x`, `[n_tokens, n_cols]`, in every form that the given weight types multiply.
    ///
    /// # Panics
    /// If `x` is not whole rows of `n_cols`.
    pub fn set(
        &mut self,
        kernels: &Kernels,
        pool: &Pool,
        x: &[f32],
        n_cols: usize,
        weight_types: impl IntoIterator<Item = BlockType>,
    ) {
        assert!(n_cols > 0 && x.len().is_multiple_of(n_cols), "{} values in rows of {n_cols}", x.len());
        (self.n_tokens, self.n_cols) = (x.len() / n_cols, n_cols);
        self.spare.extend(self.per_32.take());
        self.spare.extend(self.per_256.take());
        self.spare_dense = self.dense.take().unwrap_or(std::mem::take(&mut self.spare_dense));
        for block_type in weight_types {
            match Form::of(block_type) {
                Form::Int8Per32 if self.per_32.is_none() => {
                    self.per_32 = Some(self.quantized(kernels, pool, x, 32));
                }
                Form::Int8Per256 if self.per_256.is_none() => {
                    self.per_256 = Some(self.quantized(kernels, pool, x, 256));
                }
                Form::Dense if self.dense.is_none() => self.dense = Some(self.interleaved(x)),
                _ => {}
            }
        }
    }

    /// Activation vectors in the batch.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Length of each vector.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    pub(crate) fn n_tiles(&self) -> usize {
        self.n_tokens.div_ceil(TILE_COLS)
    }

    /// Vectors in tile `tile`.
    fn width(&self, tile: usize) -> usize {
        TILE_COLS.min(self.n_tokens - tile * TILE_COLS)
    }

    /// Columns of tile `tile` for weights of type `block_type`.
    ///
    /// # Panics
    /// If [`Self::set`] was not told of the type.
    pub(crate) fn int8_tile(&self, block_type: BlockType, tile: usize) -> Int8Tile<'_> {
        let form = if Form::of(block_type) == Form::Int8Per32 { &self.per_32 } else { &self.per_256 };
        let form = form.as_ref().expect("`set` was told of this weight type");
        let width = self.width(tile);
        let (n_runs, n_blocks) = self.runs_and_blocks(form.scale_cols);
        let at = tile * TILE_COLS * n_blocks;
        let len = width * n_blocks;
        Int8Tile {
            width,
            codes: &form.codes[at * BLOCK_COLS..][..len * BLOCK_COLS],
            scales: &form.scales[tile * TILE_COLS * n_runs..][..width * n_runs],
            half_sums: &form.half_sums[2 * at..][..2 * len],
            sums: &form.sums[at..][..len],
        }
    }

    pub(crate) fn dense_tile(&self, tile: usize) -> DenseTile<'_> {
        let values = self.dense.as_ref().expect("`set` was told of this weight type");
        let width = self.width(tile);
        DenseTile { width, values: &values[tile * TILE_COLS * self.n_cols..][..width * self.n_cols] }
    }

    /// Runs of columns with a scale, and blocks of a vector, padded to whole units of 64 or 256 columns.
    fn runs_and_blocks(&self, scale_cols: usize) -> (usize, usize) {
        let padded = self.n_cols.next_multiple_of(scale_cols.max(64));
        (padded / scale_cols, padded / BLOCK_COLS)
    }

    fn quantized(&mut self, kernels: &Kernels, pool: &Pool, x: &[f32], scale_cols: usize) -> Quantized {
        let mut form = self.spare.pop().unwrap_or_default();
        let (n_runs, n_blocks) = self.runs_and_blocks(scale_cols);
        form.scale_cols = scale_cols;
        form.codes.resize(self.n_tokens * n_blocks * BLOCK_COLS, 0);
        form.scales.resize(self.n_tokens * n_runs, 0.0);
        form.half_sums.resize(self.n_tokens * n_blocks * 2, 0);
        form.sums.resize(self.n_tokens * n_blocks, 0.0);
        let parts = QuantizedParts {
            codes: form.codes.as_mut_ptr(),
            scales: form.scales.as_mut_ptr(),
            half_sums: form.half_sums.as_mut_ptr(),
            sums: form.sums.as_mut_ptr(),
        };
        let n_tokens = self.n_tokens;
        // Small batches are quicker than a region's start.
        let n_tasks = if n_tokens * self.n_cols < 1 << 14 { 1 } else { n_tokens };
        pool.run(n_tasks, |task| {
            for token in if n_tasks == 1 { 0..n_tokens } else { task..task + 1 } {
                let (tile, column) = (token / TILE_COLS, token % TILE_COLS);
                let width = TILE_COLS.min(n_tokens - tile * TILE_COLS);
                let row = &x[token * self.n_cols..][..self.n_cols];
                let (mut codes, mut half_sums) = ([0i8; 256], [0i16; 16]);
                for run in 0..n_runs {
                    let start = run * scale_cols;
                    let scale = if let Some(values) = row.get(start..start + scale_cols) {
                        (kernels.quantize)(values, &mut codes, &mut half_sums)
                    } else {
                        // Past the vector's end there is nothing but padding.
                        let values = &row[start.min(row.len())..];
                        let mut padded = [0.0; 256];
                        padded[..values.len()].copy_from_slice(values);
                        (kernels.quantize)(&padded[..scale_cols], &mut codes, &mut half_sums)
                    };
                    // SAFETY: every index below is of this token's column alone, inside the buffers just
                    // resized, and a token is one task's.
                    unsafe {
                        *parts.get().scales.add(tile * TILE_COLS * n_runs + run * width + column) = scale;
                        let n_blocks_of_run = scale_cols / BLOCK_COLS;
                        let at =
                            |i| tile * TILE_COLS * n_blocks + (run * n_blocks_of_run + i) * width + column;
                        for i in 0..n_blocks_of_run {
                            let from = codes[i * BLOCK_COLS..].as_ptr();
                            from.copy_to_nonoverlapping(
                                parts.get().codes.add(at(i) * BLOCK_COLS),
                                BLOCK_COLS,
                            );
                        }
                        // After the codes: what was just written in words of 16 bits can be read in larger ones by now.
                        for i in 0..n_blocks_of_run {
                            let (first, second) = (half_sums[2 * i], half_sums[2 * i + 1]);
                            *parts.get().half_sums.add(2 * at(i)) = -128 * i32::from(first);
                            *parts.get().half_sums.add(2 * at(i) + 1) = -128 * i32::from(second);
                            *parts.get().sums.add(at(i)) = f32::from(first) + f32::from(second);
                        }
                    }
                }
            }
        });
        form
    }

    fn interleaved(&mut self, x: &[f32]) -> Vec<f32> {
        let mut values = std::mem::take(&mut self.spare_dense);
        values.resize(x.len(), 0.0);
        for tile in 0..self.n_tiles() {
            let width = self.width(tile);
            let at = tile * TILE_COLS * self.n_cols;
            let (tile, rows) = (&mut values[at..][..width * self.n_cols], &x[at..][..width * self.n_cols]);
            if width == 1 {
                tile.copy_from_slice(rows);
                continue;
            }
            for (column, row) in rows.chunks_exact(self.n_cols).enumerate() {
                tile.iter_mut().skip(column).step_by(width).zip(row).for_each(|(out, x)| *out = *x);
            }
        }
        values
    }
}

/// Where the tokens' tasks write; each its own places.
#[derive(Clone, Copy)]
struct QuantizedParts {
    codes: *mut i8,
    scales: *mut f32,
    half_sums: *mut i32,
    sums: *mut f32,
}

// SAFETY: the tasks of `quantized` write disjoint places.
unsafe impl Sync for QuantizedParts {}

impl QuantizedParts {
    /// A copy, by method so that closures capture the whole and with it `Sync`.
    fn get(&self) -> Self {
        *self
    }
}
