//! A model's weights as 32-bit numbers: with those neither side rounds activations, and both say the same.

use anyhow::Context;
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};
use nano_reasoning_kernels::{BlockType, PackedMatrix, Pool};
use std::path::Path;

/// Writes the file `from` to `to` with all tensors in F32, in which every block's numbers are exact.
///
/// # Errors
/// If it is no model file, has a type that the kernels lack, or writing fails.
pub(super) fn write_as_f32(from: &Path, to: &Path) -> anyhow::Result<()> {
    let file = GgufFile::open(from)?;
    let mut writer = GgufWriter::new();
    writer.copy_metadata(file.metadata())?;
    let pool = Pool::new(1);
    for tensor in file.tensors() {
        let n_cols = tensor.shape().last().copied().unwrap_or(1);
        let n_rows = tensor.n_elements() / n_cols.max(1);
        let block_type = block_type(tensor.dtype());
        let block_type =
            block_type.with_context(|| format!("{} is {}", tensor.name(), tensor.dtype().name()))?;
        let matrix = PackedMatrix::pack(&pool, block_type, n_rows, n_cols, file.tensor_bytes(tensor))?;
        let bytes: Vec<u8> = matrix.to_vec().into_iter().flat_map(f32::to_le_bytes).collect();
        writer.tensor(tensor.name(), DType::F32, tensor.shape(), bytes)?;
    }
    println!("writing {}", to.display());
    Ok(writer.write(to)?)
}

fn block_type(dtype: DType) -> Option<BlockType> {
    Some(match dtype {
        DType::F32 => BlockType::F32,
        DType::F16 => BlockType::F16,
        DType::BF16 => BlockType::BF16,
        DType::Q4_0 => BlockType::Q4_0,
        DType::Q4_1 => BlockType::Q4_1,
        DType::Q5_0 => BlockType::Q5_0,
        DType::Q8_0 => BlockType::Q8_0,
        DType::Q4K => BlockType::Q4_K,
        DType::Q5K => BlockType::Q5_K,
        DType::Q6K => BlockType::Q6_K,
        _ => return None,
    })
}
