//! A model in a GGUF file.

mod config;
mod weights;

pub(crate) use config::{config, rope_scaling};
pub(crate) use weights::GgufWeights;
