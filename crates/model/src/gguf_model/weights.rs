//! Weights out of a GGUF file.

use crate::error::{MATRIX_TYPES, VECTOR_TYPES, printable};
use crate::weights::WeightSource;
use crate::{Error, Result};
use half::{bf16, f16};
use nano_reasoning_gguf::{DType, GgufFile, TensorInfo};
use nano_reasoning_kernels::{BlockType, PackedMatrix, Pool};
use std::collections::HashSet;

/// A file whose tensors are handed out once each.
pub(crate) struct GgufWeights<'a> {
    file: &'a GgufFile,
    pool: &'a Pool,
    architecture: &'static str,
    taken: HashSet<&'a str>,
}

impl<'a> GgufWeights<'a> {
    pub(crate) fn new(file: &'a GgufFile, pool: &'a Pool, architecture: &'static str) -> Self {
        Self { file, pool, architecture, taken: HashSet::new() }
    }

    /// That no tensor is left over: one that nobody asked for changes what the model should compute.
    pub(crate) fn finish(self) -> Result<()> {
        let used_elsewhere = |name| name == "rope_freqs.weight";
        match self.file.tensors().iter().find(|t| !self.taken.contains(t.name()) && !used_elsewhere(t.name()))
        {
            Some(tensor) => Err(Error::UnexpectedTensor {
                tensor: printable(tensor.name()),
                architecture: self.architecture,
            }),
            None => Ok(()),
        }
    }

    /// Passes over a tensor that is of no use here, if it is there: of this shape it says nothing new.
    pub(crate) fn skip(&mut self, name: &str, shape: &[usize]) -> Result<()> {
        if self.file.find_tensor(name).is_some() {
            self.take(name, shape)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, wanted: &[usize]) -> Result<&'a TensorInfo> {
        let Some(tensor) = self.file.find_tensor(name) else {
            return Err(Error::MissingTensor {
                tensor: name.into(),
                architecture: self.architecture,
                nearby: self.nearby(name),
            });
        };
        if tensor.shape() != wanted {
            let (found, wanted) = (tensor.shape().to_vec(), wanted.to_vec());
            return Err(Error::WrongShape { tensor: name.into(), found, wanted });
        }
        self.taken.insert(tensor.name());
        Ok(tensor)
    }

    /// What there is of the same layer, or how many tensors there are.
    fn nearby(&self, name: &str) -> String {
        let layer = &name[..name.match_indices('.').nth(1).map_or(0, |(at, _)| at + 1)];
        let names: Vec<String> = self
            .file
            .tensors()
            .iter()
            .filter(|tensor| !layer.is_empty() && tensor.name().starts_with(layer))
            .map(|tensor| printable(tensor.name()))
            .take(12)
            .collect();
        match names.as_slice() {
            [] => format!("it has {} tensors, none of '{layer}*'", self.file.tensors().len()),
            names => format!("it has {}", names.join(", ")),
        }
    }
}

impl WeightSource for GgufWeights<'_> {
    fn has_output(&self) -> bool {
        self.file.find_tensor("output.weight").is_some()
    }

    fn matrix(&mut self, name: &str, n_rows: usize, n_cols: usize) -> Result<PackedMatrix> {
        let tensor = self.take(name, &[n_rows, n_cols])?;
        let block_type = block_type(tensor)?;
        self.file.will_need(tensor.range());
        let bytes = self.file.tensor_bytes(tensor);
        let packed = PackedMatrix::pack(self.pool, block_type, n_rows, n_cols, bytes);
        self.file.release(tensor.range());
        packed.map_err(|reason| Error::Pack { tensor: name.into(), reason })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let tensor = self.take(name, &[len])?;
        floats(self.file, tensor)
    }
}

fn block_type(tensor: &TensorInfo) -> Result<BlockType> {
    Ok(match tensor.dtype() {
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
        found => {
            return Err(Error::UnsupportedQuantization {
                tensor: printable(tensor.name()),
                found: found.to_string(),
                supported: MATRIX_TYPES,
            });
        }
    })
}

/// The numbers of a tensor that is not quantized.
pub(super) fn floats(file: &GgufFile, tensor: &TensorInfo) -> Result<Vec<f32>> {
    let bytes = file.tensor_bytes(tensor);
    Ok(match tensor.dtype() {
        DType::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        DType::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        found => {
            let (tensor, found) = (printable(tensor.name()), found.to_string());
            return Err(Error::UnsupportedQuantization { tensor, found, supported: VECTOR_TYPES });
        }
    })
}
