//! The safetensors files of a folder, as one table of tensors.
//!
//! Source: the format's description in huggingface/safetensors; the index file as transformers writes it:
//! `{"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", …}}`.

use super::json;
use crate::{Error, Result};
use nano_reasoning_gguf::MappedFile;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// Name of the only file, where there is one.
const SINGLE: &str = "model.safetensors";
/// Name of the index, where there are several.
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A tensor in one of the files.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(super) dtype: Dtype,
    /// Outermost first.
    pub(super) shape: Vec<usize>,
    file: usize,
    range: Range<usize>,
}

/// Open files and what is in them.
pub(crate) struct SafetensorsFiles {
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Tensor>,
}

impl SafetensorsFiles {
    /// Opens all files of a folder and checks their headers. Tensor bytes are not touched.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        let names: BTreeSet<String> = if index.exists() {
            json::read::<Index>(&index)?.weight_map.into_values().collect()
        } else {
            [SINGLE.to_string()].into()
        };
        let mut found = Self { files: Vec::new(), tensors: BTreeMap::new() };
        for name in names {
            // A name with a folder in it could lead anywhere.
            if Path::new(&name).file_name() != Some(name.as_ref()) {
                return Err(Error::BadConfig {
                    key: format!("weight_map of {INDEX}"),
                    found: format!("'{}'", name.escape_debug()),
                    wanted: "names of files in the same folder".into(),
                });
            }
            found.add(&folder.join(name))?;
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = MappedFile::open(path).map_err(|reason| Error::ReadFile { path: path.into(), reason })?;
        let (header_len, metadata) = SafeTensors::read_metadata(file.bytes())
            .map_err(|reason| Error::BadSafetensors { path: path.into(), reason })?;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            // The length of the header's length, then the header.
            let range = 8 + header_len + start..8 + header_len + end;
            let tensor =
                Tensor { dtype: info.dtype, shape: info.shape.clone(), file: self.files.len(), range };
            if self.tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::DuplicateTensor { tensor: crate::error::printable(&name) });
            }
        }
        self.files.push(file);
        Ok(())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Names of all tensors, sorted.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's bytes, about to be read.
    pub(super) fn bytes(&self, tensor: &Tensor) -> &[u8] {
        let file = &self.files[tensor.file];
        file.will_need(tensor.range.clone());
        &file.bytes()[tensor.range.clone()]
    }

    /// Gives the pages of a tensor that was packed back to the system.
    pub(super) fn release(&self, tensor: &Tensor) {
        self.files[tensor.file].release(tensor.range.clone());
    }
}
