//! Weights out of a folder's safetensors files.
//!
//! A matrix is BF16, F16 or F32, or quantized: then `weight` holds packed codes as u32, and beside it are
//! `scales` and `biases`. How many bits a code has and how many columns a group follows from the shapes.

use super::names::Naming;
use super::safetensors_files::{SafetensorsFiles, Tensor};
use crate::error::{MATRIX_TYPES, VECTOR_TYPES, printable};
use crate::weights::WeightSource;
use crate::{Error, Result};
use half::{bf16, f16};
use nano_reasoning_kernels::{AffinePlanes, AffineType, BlockType, PackedMatrix, Pool};
use safetensors::Dtype;
use std::collections::HashSet;

/// Files whose tensors are handed out once each.
pub(crate) struct FolderWeights<'a> {
    files: &'a SafetensorsFiles,
    pool: &'a Pool,
    architecture: &'static str,
    naming: Naming,
    is_tied: bool,
    taken: HashSet<String>,
}

impl<'a> FolderWeights<'a> {
    pub(crate) fn new(
        files: &'a SafetensorsFiles,
        pool: &'a Pool,
        architecture: &'static str,
        naming: Naming,
        is_tied: Option<bool>,
    ) -> Self {
        let is_tied = is_tied.unwrap_or(files.find("lm_head.weight").is_none());
        Self { files, pool, architecture, naming, is_tied, taken: HashSet::new() }
    }

    /// That no tensor is left over: one that nobody asked for changes what the model should compute.
    pub(crate) fn finish(self) -> Result<()> {
        let is_harmless = |name: &str| {
            // The plain frequencies, which old files store, and the copy of a tied embedding.
            name.ends_with(".rotary_emb.inv_freq") || (self.is_tied && name.starts_with("lm_head."))
        };
        match self.files.names().find(|name| !self.taken.contains(*name) && !is_harmless(name)) {
            Some(name) => {
                Err(Error::UnexpectedTensor { tensor: printable(name), architecture: self.architecture })
            }
            None => Ok(()),
        }
    }

    /// Passes over a tensor that is of no use here, if it is there: of this shape it says nothing new.
    pub(crate) fn skip(&mut self, name: &str, shape: &[usize]) -> Result<()> {
        match self.files.find(name) {
            Some(tensor) if tensor.shape != shape => Err(wrong_shape(name.into(), tensor, shape)),
            _ => {
                self.taken.insert(name.into());
                Ok(())
            }
        }
    }

    /// Bytes of a tensor of the type and number of dimensions given, or `None` if it is not there.
    pub(crate) fn list(&mut self, name: &'static str, dtype: Dtype) -> Result<Option<&'a [u8]>> {
        let Some(tensor) = self.files.find(name) else { return Ok(None) };
        if tensor.dtype != dtype {
            let supported = if dtype == Dtype::I64 { "I64" } else { "BOOL" };
            return Err(unsupported(name, tensor.dtype, supported));
        }
        let [_] = tensor.shape[..] else {
            return Err(wrong_shape(name.into(), tensor, &[tensor.shape.iter().product()]));
        };
        self.taken.insert(name.into());
        Ok(Some(self.files.bytes(tensor)))
    }

    fn take(&mut self, name: String) -> Result<(String, &'a Tensor)> {
        let Some(tensor) = self.files.find(&name) else {
            let layer = &name[..name.match_indices('.').nth(2).map_or(0, |(at, _)| at + 1)];
            let of_layer = self.files.names().filter(|name| !layer.is_empty() && name.starts_with(layer));
            let names: Vec<_> = of_layer.map(printable).take(12).collect();
            let nearby = match names.as_slice() {
                [] => format!("it has {} tensors, none of '{layer}*'", self.files.names().len()),
                names => format!("it has {}", names.join(", ")),
            };
            return Err(Error::MissingTensor { tensor: name, architecture: self.architecture, nearby });
        };
        self.taken.insert(name.clone());
        Ok((name, tensor))
    }

    /// A quantized matrix, whose `weight` was taken already.
    fn affine(
        &mut self,
        module: &str,
        weight: &Tensor,
        n_rows: usize,
        n_cols: usize,
    ) -> Result<PackedMatrix> {
        let (scales_name, scales) = self.take(format!("{module}.scales"))?;
        let (biases_name, biases) = self.take(format!("{module}.biases"))?;
        let weight_name = format!("{module}.weight");
        let [rows, words] = weight.shape[..] else {
            return Err(wrong_shape(weight_name, weight, &[n_rows, n_cols / 8]));
        };
        // 32-bit words of a row that hold its codes.
        let bits = if n_cols > 0 && (words * 32).is_multiple_of(n_cols) { words * 32 / n_cols } else { 0 };
        if rows != n_rows || bits == 0 {
            return Err(wrong_shape(weight_name, weight, &[n_rows, n_cols / 8]));
        }
        let n_groups = scales.shape.get(1).copied().unwrap_or(0);
        let group_len = n_cols.checked_div(n_groups).unwrap_or(0);
        if scales.shape != [n_rows, n_groups] || group_len * n_groups != n_cols {
            return Err(wrong_shape(scales_name, scales, &[n_rows, n_cols / 64]));
        }
        if biases.shape != scales.shape || biases.dtype != scales.dtype {
            return Err(wrong_shape(biases_name, biases, &scales.shape));
        }
        let is_bf16 = scales.dtype == Dtype::BF16;
        if !matches!(bits, 4 | 8)
            || !matches!(group_len, 32 | 64 | 128)
            || !matches!(scales.dtype, Dtype::BF16 | Dtype::F16)
        {
            return Err(Error::UnsupportedQuantization {
                tensor: printable(&weight_name),
                found: format!("{bits}-bit codes in groups of {group_len} with {} scales", scales.dtype),
                supported: "4 or 8 bits in groups of 32, 64 or 128 with BF16 or F16 scales",
            });
        }
        let planes = AffinePlanes {
            affine: AffineType { is_8_bit: bits == 8, is_group_32: group_len == 32, is_bf16 },
            group_len,
            codes: self.files.bytes(weight),
            scales: self.files.bytes(scales),
            biases: self.files.bytes(biases),
        };
        let packed = PackedMatrix::pack_affine(self.pool, n_rows, n_cols, &planes);
        [weight, scales, biases].iter().for_each(|tensor| self.files.release(tensor));
        packed.map_err(|reason| Error::Pack { tensor: weight_name, reason })
    }
}

impl WeightSource for FolderWeights<'_> {
    fn has_output(&self) -> bool {
        !self.is_tied
    }

    fn matrix(&mut self, name: &str, n_rows: usize, n_cols: usize) -> Result<PackedMatrix> {
        let (module, tensor_name) = (self.naming)(name);
        let (name, tensor) = self.take(format!("{module}.{tensor_name}"))?;
        let block_type = match tensor.dtype {
            Dtype::F32 => BlockType::F32,
            Dtype::F16 => BlockType::F16,
            Dtype::BF16 => BlockType::BF16,
            Dtype::U32 => return self.affine(&module, tensor, n_rows, n_cols),
            found => return Err(unsupported(&name, found, MATRIX_TYPES)),
        };
        if tensor.shape != [n_rows, n_cols] {
            return Err(wrong_shape(name, tensor, &[n_rows, n_cols]));
        }
        let bytes = self.files.bytes(tensor);
        let packed = PackedMatrix::pack(self.pool, block_type, n_rows, n_cols, bytes);
        self.files.release(tensor);
        packed.map_err(|reason| Error::Pack { tensor: name, reason })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let (module, tensor_name) = (self.naming)(name);
        let (name, tensor) = self.take(format!("{module}.{tensor_name}"))?;
        if tensor.shape != [len] {
            return Err(wrong_shape(name, tensor, &[len]));
        }
        let bytes = self.files.bytes(tensor);
        Ok(match tensor.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            found => return Err(unsupported(&name, found, VECTOR_TYPES)),
        })
    }
}

fn wrong_shape(tensor: String, found: &Tensor, wanted: &[usize]) -> Error {
    Error::WrongShape { tensor, found: found.shape.clone(), wanted: wanted.to_vec() }
}

fn unsupported(name: &str, found: Dtype, supported: &'static str) -> Error {
    Error::UnsupportedQuantization { tensor: printable(name), found: found.to_string(), supported }
}
