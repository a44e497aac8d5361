//! The CPU engine: a model's weights, its architecture, its KV cache, and the pass over a few tokens.
//!
//! [`CpuModel::load_gguf`] and [`CpuModel::load_hugging_face`] pack a model's weights for the small-batch
//! kernels; [`CpuModel::sequence`] opens a [`CpuSequence`], which is a [`TargetModel`](nano_reasoning_engine::TargetModel).
//!
//! | file | what |
//! |---|---|
//! | `config.rs` | sizes and constants of a model, checked |
//! | `qwen2.rs`, `qwen3.rs`, `llama.rs` | what sets each architecture apart, one file each |
//! | `pass.rs` | the forward pass that they share, top to bottom |
//! | `sequence.rs` | one sequence: chunks, trees, rollback |
//! | `eagle3/` | a drafting head beside a target |
//! | `adapter.rs`, `snapshot.rs` | low-rank changes of weights, as training makes them; how drafters get them |
//! | `layer_parts.rs` | the pass in parts, as training goes through it |
//! | `rope.rs` | rotary positions and their scalings |
//! | `gguf_model/` | reading all that from a GGUF file |
//! | `hugging_face/` | reading it from a folder, MLX's quantization included |
//!
//! Exactness: a token's logits depend on the tokens on its path alone, bit for bit. Every step is a
//! row's own affair (see `nano_reasoning_kernels`), and no step here asks how many rows there are except
//! to share them out among threads.
#![forbid(unsafe_code)]

mod adapter;
mod architecture;
mod config;
mod eagle3;
mod error;
mod fingerprint;
mod gguf_model;
mod hugging_face;
mod layer_parts;
mod llama;
mod model;
mod output_rows;
mod parallel;
mod pass;
mod qwen2;
mod qwen3;
mod rope;
mod sequence;
mod snapshot;
mod weights;

pub use adapter::{Adapter, LayerAdapters, Projection};
pub use config::ModelConfig;
pub use eagle3::{
    DraftRows, Eagle3Head, HeadConfig, HeadFile, HeadLayer, HeadOptions, HeadValues, HeadWeights,
};
pub use error::{Error, one_line};
pub use fingerprint::fnv1a;
pub use layer_parts::Angles;
pub use model::{CpuModel, Layer, LoadOptions};
pub use parallel::for_each_row;
pub use rope::{RopeConfig, RopeScaling};
pub use sequence::CpuSequence;
pub use snapshot::{Snapshot, SnapshotSlot};

/// Result of loading a model or opening a sequence.
pub type Result<T, E = Error> = std::result::Result<T, E>;
