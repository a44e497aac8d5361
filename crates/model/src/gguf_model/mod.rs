//! A model in a GGUF file.

mod config;
mod weights;

pub(crate) use config::config;
pub(crate) use weights::GgufWeights;
