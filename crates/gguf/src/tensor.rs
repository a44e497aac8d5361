//! The table that says what tensors a file holds and where.

use std::ops::Range;

use crate::cursor::Cursor;
use crate::error::printable;
use crate::{DType, Error, Result};

/// ggml's tensors have at most four dimensions.
pub(crate) const MAX_DIMS: usize = 4;

/// Least bytes of an entry: an empty name's length, number of dimensions, one dimension, type, offset.
const MIN_ENTRY_BYTES: usize = 8 + 4 + 8 + 4 + 8;

/// A tensor of a file: name, type, shape and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    name: Box<str>,
    dtype: DType,
    n_dims: usize,
    shape: [usize; MAX_DIMS],
    range: Range<usize>,
}

impl TensorInfo {
    /// Name, as in the file: `blk.0.attn_q.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape, outermost first, 1 to 4 dimensions. A matrix that maps `n_in` to `n_out` is `[n_out, n_in]`;
    /// the last dimension is contiguous and a whole number of blocks.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.n_dims]
    }

    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// Number of bytes.
    pub fn n_bytes(&self) -> usize {
        self.range.len()
    }

    /// Where in the file the bytes are.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// All tensors of a file, in file order and by name.
#[derive(Debug, Default)]
pub(crate) struct TensorTable {
    pub(crate) tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    by_name: Vec<usize>,
}

impl TensorTable {
    /// Reads and checks `found` entries, and that the bytes they name are in the file, aligned and apart.
    pub(crate) fn parse(cursor: &mut Cursor<'_>, found: u64, alignment: u32) -> Result<Self> {
        let n_tensors = cursor.count(found, MIN_ENTRY_BYTES, &"tensors")?;
        let mut entries = Vec::new();
        for i in 0..n_tensors {
            entries.push(Entry::parse(cursor, i, alignment)?);
        }
        let data_start = (cursor.pos() as u64).next_multiple_of(alignment.into());
        let file_bytes = (cursor.pos() + cursor.left()) as u64;
        let tensors: Vec<_> =
            entries.into_iter().map(|entry| entry.place(data_start, file_bytes)).collect::<Result<_>>()?;

        let mut by_name: Vec<usize> = (0..n_tensors).collect();
        by_name.sort_unstable_by_key(|&i| &tensors[i].name);
        if let Some(pair) = by_name.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
            return Err(Error::DuplicateTensor { tensor: printable(tensors[pair[0]].name()) });
        }
        check_apart(&tensors)?;
        Ok(Self { tensors, by_name })
    }

    pub(crate) fn find(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.by_name.binary_search_by(|&i| self.tensors[i].name().cmp(name)).ok()?;
        Some(&self.tensors[self.by_name[at]])
    }
}

/// Tensors that share bytes would let a small file claim any amount of memory.
fn check_apart(tensors: &[TensorInfo]) -> Result<()> {
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_unstable_by_key(|tensor| tensor.range.start);
    for pair in by_offset.windows(2) {
        if pair[0].range.end > pair[1].range.start {
            return Err(Error::OverlappingTensors {
                first: printable(pair[0].name()),
                second: printable(pair[1].name()),
                offset: pair[1].range.start,
            });
        }
    }
    Ok(())
}

/// Elements and bytes of a shape (outermost first), if it is one that a tensor of `dtype` can have.
pub(crate) fn check_shape(name: &str, dtype: DType, shape: &[u64]) -> Result<([usize; MAX_DIMS], usize)> {
    if shape.is_empty() || shape.len() > MAX_DIMS {
        return Err(Error::BadDimCount { tensor: printable(name), found: shape.len() });
    }
    let bad_shape = || Error::BadShape { tensor: printable(name), shape: shape.to_vec() };
    let mut dims = [1; MAX_DIMS];
    let mut n_elements = 1_usize;
    for (dim, &found) in dims.iter_mut().zip(shape) {
        *dim = usize::try_from(found).ok().filter(|&dim| dim > 0).ok_or_else(bad_shape)?;
        n_elements = n_elements.checked_mul(*dim).ok_or_else(bad_shape)?;
    }
    let row_len = shape[shape.len() - 1];
    if !row_len.is_multiple_of(dtype.block_len() as u64) {
        return Err(Error::PartialBlock { tensor: printable(name), dtype, row_len });
    }
    let n_bytes = dtype.bytes_for(n_elements).ok_or_else(bad_shape)?;
    Ok((dims, n_bytes))
}

/// An entry as read, before it is known where the tensor data starts.
struct Entry {
    name: Box<str>,
    dtype: DType,
    n_dims: usize,
    shape: [usize; MAX_DIMS],
    n_bytes: usize,
    /// From the start of the tensor data.
    offset: u64,
}

impl Entry {
    fn parse(cursor: &mut Cursor<'_>, i: usize, alignment: u32) -> Result<Self> {
        let name = cursor.str(&format_args!("the name of tensor {i}"))?;
        let what = &format_args!("the table entry of tensor {i}");
        let n_dims = cursor.u32(what)? as usize;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(Error::BadDimCount { tensor: printable(name), found: n_dims });
        }
        let mut dims = [0; MAX_DIMS];
        for dim in dims[..n_dims].iter_mut().rev() {
            *dim = cursor.u64(what)?;
        }
        let id = cursor.u32(what)?;
        let dtype =
            DType::from_id(id).ok_or_else(|| Error::UnknownDType { tensor: printable(name), found: id })?;
        let (shape, n_bytes) = check_shape(name, dtype, &dims[..n_dims])?;
        let offset = cursor.u64(what)?;
        if !offset.is_multiple_of(alignment.into()) {
            return Err(Error::MisalignedTensor { tensor: printable(name), offset, alignment });
        }
        Ok(Self { name: name.into(), dtype, n_dims, shape, n_bytes, offset })
    }

    fn place(self, data_start: u64, file_bytes: u64) -> Result<TensorInfo> {
        let offset = data_start.saturating_add(self.offset);
        let left = file_bytes.saturating_sub(offset);
        if self.n_bytes as u64 > left {
            return Err(Error::TensorPastEnd {
                tensor: printable(&self.name),
                needed: self.n_bytes,
                offset,
                left,
            });
        }
        // The file is mapped, so its length, and with it `offset`, fits a usize.
        let start = offset as usize;
        Ok(TensorInfo {
            name: self.name,
            dtype: self.dtype,
            n_dims: self.n_dims,
            shape: self.shape,
            range: start..start + self.n_bytes,
        })
    }
}
