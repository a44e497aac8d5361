//! A weight matrix laid out for small-batch products.

use crate::formats::{BLOCK_COLS, Format, GROUP_ROWS, with_format};
use crate::memory::Memory;
use crate::{AffineType, BlockType, Error, Kernels, Pool};
use half::{bf16, f16};
use std::ops::Range;

/// Weights `[n_rows, n_cols]`, packed in groups of 16 rows (see `formats/`). Columns are padded with
/// zero weights to whole units, rows to whole groups.
pub struct PackedMatrix {
    block_type: BlockType,
    n_rows: usize,
    n_cols: usize,
    n_units: usize,
    unit_bytes: usize,
    memory: Memory,
}

/// A matrix `[n_rows, n_cols]` in MLX's affine quantization, as a safetensors file stores it.
#[derive(Clone, Copy)]
pub struct AffinePlanes<'a> {
    /// Type of the groups.
    pub affine: AffineType,
    /// Columns of a group: 32, 64 or 128.
    pub group_len: usize,
    /// `[n_rows, n_cols · bits / 8]` bytes
    pub codes: &'a [u8],
    /// 16-bit numbers, `[n_rows, n_cols / group_len]`
    pub scales: &'a [u8],
    /// 16-bit numbers, `[n_rows, n_cols / group_len]`
    pub biases: &'a [u8],
}

impl AffinePlanes<'_> {
    fn check(&self, n_rows: usize, n_cols: usize) -> Result<(), Error> {
        let block_type = BlockType::Affine(self.affine);
        let block_len = self.group_len;
        if !matches!(block_len, 32 | 64 | 128)
            || self.affine.is_group_32 != (block_len == 32)
            || !n_cols.is_multiple_of(block_len)
        {
            return Err(Error::PartialBlock { block_type, n_cols, block_len });
        }
        let (row_codes, row_groups) = (n_cols * self.affine.bits() / 8, 2 * n_cols / block_len);
        for (plane, row_bytes) in
            [(self.codes, row_codes), (self.scales, row_groups), (self.biases, row_groups)]
        {
            let (wanted, found) = (n_rows.saturating_mul(row_bytes), plane.len());
            if found != wanted {
                return Err(Error::WrongSize { block_type, n_rows, n_cols, wanted, found });
            }
        }
        Ok(())
    }

    /// Copies the groups of 64 columns of a row to `source`, in the order of [`BlockType::Affine`]'s blocks.
    /// Returns their bytes.
    fn copy_unit(&self, n_cols: usize, row: usize, unit: usize, source: &mut [u8; 72]) -> usize {
        let step = self.affine.group_len();
        let mut len = 0;
        for column in (unit * 64..(unit + 1) * 64).step_by(step).take_while(|&column| column < n_cols) {
            let number = 2 * (row * (n_cols / self.group_len) + column / self.group_len);
            let codes = (row * n_cols + column) * self.affine.bits() / 8;
            source[len..len + 2].copy_from_slice(&self.scales[number..number + 2]);
            source[len + 2..len + 4].copy_from_slice(&self.biases[number..number + 2]);
            let code_bytes = step * self.affine.bits() / 8;
            source[len + 4..][..code_bytes].copy_from_slice(&self.codes[codes..][..code_bytes]);
            len += 4 + code_bytes;
        }
        len
    }
}

impl PackedMatrix {
    /// Packs row-major blocks as a file stores them.
    ///
    /// # Errors
    /// If `bytes` is not `n_rows` rows of whole blocks, or memory is short.
    pub fn pack(
        pool: &Pool,
        block_type: BlockType,
        n_rows: usize,
        n_cols: usize,
        bytes: &[u8],
    ) -> Result<Self, Error> {
        let (block_len, block_bytes) = (block_type.block_len(), block_type.block_bytes());
        if !n_cols.is_multiple_of(block_len) {
            return Err(Error::PartialBlock { block_type, n_cols, block_len });
        }
        let row_bytes = n_cols / block_len * block_bytes;
        let wanted = n_rows.saturating_mul(row_bytes);
        if bytes.len() != wanted {
            return Err(Error::WrongSize { block_type, n_rows, n_cols, wanted, found: bytes.len() });
        }
        let (unit_cols, unit_bytes) = unit_size(block_type);
        let n_units = n_cols.div_ceil(unit_cols);
        let group_bytes = n_units * unit_bytes;
        let mut memory = Memory::zeroed(n_rows.div_ceil(GROUP_ROWS) * group_bytes)?;
        if group_bytes > 0 {
            let groups = SharedChunks::new(&mut memory, group_bytes);
            pool.run(groups.len(), |group| {
                let rows = bytes.chunks_exact(row_bytes).skip(group * GROUP_ROWS).take(GROUP_ROWS);
                // SAFETY: the pool runs each group once, so no two borrow the same chunk.
                let units = unsafe { groups.chunk(group) };
                pack_group(block_type, rows, units);
            });
        }
        Ok(Self { block_type, n_rows, n_cols, n_units, unit_bytes, memory })
    }

    /// Packs plain numbers, `[n_rows, n_cols]`.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn pack_f32(pool: &Pool, n_rows: usize, n_cols: usize, values: &[f32]) -> Result<Self, Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::pack(pool, BlockType::F32, n_rows, n_cols, &bytes)
    }

    /// Packs a matrix in MLX's affine quantization.
    ///
    /// # Errors
    /// If a plane does not fit the shape, or memory is short.
    pub fn pack_affine(
        pool: &Pool,
        n_rows: usize,
        n_cols: usize,
        planes: &AffinePlanes,
    ) -> Result<Self, Error> {
        planes.check(n_rows, n_cols)?;
        let block_type = BlockType::Affine(planes.affine);
        let (unit_cols, unit_bytes) = unit_size(block_type);
        let n_units = n_cols.div_ceil(unit_cols);
        let group_bytes = n_units * unit_bytes;
        let mut memory = Memory::zeroed(n_rows.div_ceil(GROUP_ROWS) * group_bytes)?;
        if group_bytes > 0 {
            let groups = SharedChunks::new(&mut memory, group_bytes);
            pool.run(groups.len(), |group| {
                let rows = group * GROUP_ROWS..n_rows.min((group + 1) * GROUP_ROWS);
                // SAFETY: the pool runs each group once, so no two borrow the same chunk.
                let units = unsafe { groups.chunk(group) };
                with_format!(block_type, F => {
                    for (i, unit) in units.chunks_exact_mut(F::UNIT_BYTES).enumerate() {
                        for (lane, row) in rows.clone().enumerate() {
                            let mut source = [0; 72];
                            let len = planes.copy_unit(n_cols, row, i, &mut source);
                            F::pack_row(&source[..len], lane, unit);
                        }
                    }
                }, unreachable!("an affine type"));
            });
        }
        Ok(Self { block_type, n_rows, n_cols, n_units, unit_bytes, memory })
    }

    /// Type of the source's blocks.
    pub fn block_type(&self) -> BlockType {
        self.block_type
    }

    /// Rows: outputs of a product.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns: inputs of a product.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Bytes in memory, room for more rows not counted.
    pub fn size_bytes(&self) -> usize {
        self.n_groups() * self.n_units * self.unit_bytes
    }

    /// An empty matrix of the same type and columns, with room for `capacity` rows. Memory is taken as it fills.
    ///
    /// # Errors
    /// If memory is short.
    pub fn empty_like(&self, capacity: usize) -> Result<Self, Error> {
        let group_bytes = self.n_units * self.unit_bytes;
        let memory = Memory::zeroed(capacity.div_ceil(GROUP_ROWS) * group_bytes)?;
        Ok(Self { n_rows: 0, memory, ..*self })
    }

    /// Rows there is room for.
    pub fn capacity(&self) -> usize {
        match self.n_units * self.unit_bytes {
            0 => 0,
            group_bytes => self.memory.len() / group_bytes * GROUP_ROWS,
        }
    }

    /// Appends row `row` of `from`, as it is: products with it give the same bits.
    ///
    /// # Panics
    /// If there is no such row, no room, or type or columns differ.
    pub fn push_row(&mut self, from: &Self, row: usize) {
        assert!(row < from.n_rows, "row {row} of {}", from.n_rows);
        assert!(self.n_rows < self.capacity(), "room for {} rows", self.capacity());
        assert_eq!((self.block_type, self.n_cols), (from.block_type, from.n_cols), "type and columns");
        let (lane, from_lane) = (self.n_rows % GROUP_ROWS, row % GROUP_ROWS);
        let group_bytes = self.n_units * self.unit_bytes;
        let at = self.n_rows / GROUP_ROWS * group_bytes;
        self.n_rows += 1;
        let units = self.memory[at..at + group_bytes].chunks_exact_mut(self.unit_bytes);
        let units = units.zip(from.group(row / GROUP_ROWS).chunks_exact(self.unit_bytes));
        with_format!(self.block_type, F => {
            units.for_each(|(unit, from)| F::copy_row(from, from_lane, unit, lane));
        }, {
            let bytes = self.block_type.block_bytes();
            for (unit, from) in units {
                unit[lane * bytes..][..bytes].copy_from_slice(&from[from_lane * bytes..][..bytes]);
            }
        });
    }

    /// All of it as numbers, `[n_rows, n_cols]`.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.n_rows * self.n_cols];
        self.read_tile(0..self.n_rows, 0..self.n_cols, &mut values);
        values
    }

    /// Keeps the first `n_rows` rows, if there are more; the room stays.
    pub fn truncate(&mut self, n_rows: usize) {
        self.n_rows = self.n_rows.min(n_rows);
    }

    /// Row `row` as numbers, into `out`, `[n_cols]`.
    ///
    /// # Panics
    /// If `row` or the length of `out` is out of range.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        self.read_tile(row..row + 1, 0..self.n_cols, out);
    }

    /// The columns `columns` of the rows `rows` as numbers, into `out`, `[rows.len(), columns.len()]`.
    ///
    /// # Panics
    /// If a range or the length of `out` is out of range, or the columns do not start with a block of 32.
    pub fn read_tile(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        self.unpack(Kernels::best().unpack_row, rows, columns, out);
    }

    /// [`Self::read_tile`] by one table's function.
    pub(crate) fn unpack(
        &self,
        unpack_row: UnpackRow,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut [f32],
    ) {
        assert!(rows.end <= self.n_rows, "rows {rows:?} of {}", self.n_rows);
        assert!(columns.end <= self.n_cols, "columns {columns:?} of {}", self.n_cols);
        assert!(columns.start.is_multiple_of(BLOCK_COLS), "columns {columns:?} start within a block");
        assert_eq!(out.len(), rows.len() * columns.len(), "length of the numbers");
        for (row, out) in rows.zip(out.chunks_exact_mut(columns.len().max(1))) {
            let (group, lane) = (self.group(row / GROUP_ROWS), row % GROUP_ROWS);
            unpack_row(self.block_type, group, lane, columns.start, out);
        }
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.n_rows.div_ceil(GROUP_ROWS)
    }

    pub(crate) fn n_units(&self) -> usize {
        self.n_units
    }

    /// The units of 16 rows.
    pub(crate) fn group(&self, group: usize) -> &[u8] {
        let group_bytes = self.n_units * self.unit_bytes;
        &self.memory[group * group_bytes..][..group_bytes]
    }
}

/// Unpacks one row of a group; [`unpack_row`] is its definition.
pub(crate) type UnpackRow = fn(BlockType, &[u8], usize, usize, &mut [f32]);

/// The weights of row `lane` of a group from column `first` on, which starts a block, into `out`.
#[inline(always)]
pub(crate) fn unpack_row(block_type: BlockType, group: &[u8], lane: usize, first: usize, out: &mut [f32]) {
    with_format!(block_type, F => {
        for (i, out) in (first / BLOCK_COLS..).zip(out.chunks_mut(BLOCK_COLS)) {
            let unit = &group[i / F::BLOCKS * F::UNIT_BYTES..];
            let weights = F::row_block(unit, i % F::BLOCKS, lane);
            for (j, (out, code)) in out.iter_mut().zip(weights.codes).enumerate() {
                *out = weights.scales[j / 16] * f32::from(code) - weights.min;
            }
        }
    }, {
        for (column, out) in (first..).zip(out) {
            *out = dense_weight(block_type, group, column, lane);
        }
    });
}

/// Columns and bytes of a unit. Dense types have units of one column, 16 numbers.
fn unit_size(block_type: BlockType) -> (usize, usize) {
    with_format!(block_type, F => (F::UNIT_COLS, F::UNIT_BYTES), (1, GROUP_ROWS * block_type.block_bytes()))
}

/// Packs the rows of a group: unit by unit, so that a unit's lines stay in the nearest cache.
fn pack_group<'a>(block_type: BlockType, rows: impl Iterator<Item = &'a [u8]> + Clone, units: &mut [u8]) {
    with_format!(block_type, F => {
        for (i, unit) in units.chunks_exact_mut(F::UNIT_BYTES).enumerate() {
            for (row, source) in rows.clone().enumerate() {
                let source = &source[i * F::SOURCE_BYTES..];
                F::pack_row(&source[..F::SOURCE_BYTES.min(source.len())], row, unit);
            }
        }
    }, {
        let bytes = block_type.block_bytes();
        for (i, unit) in units.chunks_exact_mut(GROUP_ROWS * bytes).enumerate() {
            for (row, source) in rows.clone().enumerate() {
                unit[row * bytes..][..bytes].copy_from_slice(&source[i * bytes..][..bytes]);
            }
        }
    });
}

/// Weight of a dense group, `[n_cols, 16]`.
pub(crate) fn dense_weight(block_type: BlockType, group: &[u8], column: usize, lane: usize) -> f32 {
    let at = (column * GROUP_ROWS + lane) * block_type.block_bytes();
    match block_type {
        BlockType::F32 => f32::from_le_bytes(group[at..at + 4].try_into().expect("four bytes")),
        BlockType::F16 => f16::from_le_bytes([group[at], group[at + 1]]).to_f32(),
        BlockType::BF16 => bf16::from_le_bytes([group[at], group[at + 1]]).to_f32(),
        _ => unreachable!("dense types only"),
    }
}

/// Equal chunks of a slice that different tasks of one region may fill at the same time.
pub(crate) struct SharedChunks<'a, T> {
    start: *mut T,
    len: usize,
    chunk_len: usize,
    borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: chunks do not overlap, and `chunk` asks its caller to take each at most once at a time.
unsafe impl<T: Send> Sync for SharedChunks<'_, T> {}

impl<'a, T> SharedChunks<'a, T> {
    pub(crate) fn new(slice: &'a mut [T], chunk_len: usize) -> Self {
        assert!(chunk_len > 0, "chunks hold something");
        Self { start: slice.as_mut_ptr(), len: slice.len(), chunk_len, borrow: std::marker::PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.div_ceil(self.chunk_len)
    }

    /// Chunk `index`; the last may be shorter.
    ///
    /// # Safety
    /// No other borrow of the same chunk may be alive.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn chunk(&self, index: usize) -> &mut [T] {
        let at = index * self.chunk_len;
        assert!(at < self.len, "chunk {index} of {}", self.len());
        // SAFETY: `at` is inside the slice, and the caller keeps borrows of a chunk apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), self.chunk_len.min(self.len - at)) }
    }

    /// Where `len` items from `at` on begin, whatever the chunks.
    pub(crate) fn pointer(&self, at: usize, len: usize) -> *mut T {
        assert!(at + len <= self.len, "items {at}..{} of {}", at + len, self.len);
        self.start.wrapping_add(at)
    }

    /// `len` items from `at` on, whatever the chunks.
    ///
    /// # Safety
    /// No other borrow of the same items may be alive.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at + len <= self.len, "items {at}..{} of {}", at + len, self.len);
        // SAFETY: the range is inside the slice, and the caller keeps borrows of it apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
