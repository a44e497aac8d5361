//! A model in a Hugging Face folder: `config.json` and safetensors files, plain or in MLX's affine
//! quantization as mlx-community publishes it.

mod config;
mod json;
mod names;
mod safetensors_files;
mod weights;

pub(crate) use config::{FolderConfig, config, rope_scaling};
pub(crate) use json::read as read_json;
pub(crate) use names::hugging_face;
pub(crate) use safetensors_files::SafetensorsFiles;
pub(crate) use weights::FolderWeights;
