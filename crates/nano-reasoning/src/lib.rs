//! nano-reasoning as a library: what the machine is, which models fit it, how it is configured and where
//! its models come from.
//!
//! - [`hardware`] says what the machine is: chip, cores, memory, SIMD, GPU, memory bandwidth.
//! - [`tier`] picks the models that this machine runs well, and says why in one sentence.
//! - [`config`] reads the configuration file, the environment and the flags, and remembers where every
//!   value came from.
//! - [`store`] finds, downloads, checks and lists model files.
//! - [`Orchestrator`] puts them together with an engine, and answers.
//!
//! Nothing here prints, and nothing here is asynchronous.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod checkpoints;
pub mod config;
mod distill;
mod error;
pub mod hardware;
mod heads;
mod near_miss;
mod orchestrator;
mod quantity;
pub mod store;
pub mod tier;

pub use checkpoints::{CheckpointStore, DEFAULT_PROFILE};
pub use distill::{
    Collector, CollectorStatistics, DistillFolder, DistillPrompt, DistillSettings, DistillSummary,
    HeadDistiller,
};
pub use error::{Attempt, Error};
pub use heads::{Head, HeadInfo};
pub use nano_reasoning_speculate::{
    HistoryStore, HistorySummary, Observer, SpeculationOptions, SpeculationStatistics, Verification,
};
pub use nano_reasoning_text::Message;
pub use nano_reasoning_train::{
    Checkpoint, CheckpointInfo, Decision, TrainerStatus, TrainerTask, TrainingBuffer,
};
pub use orchestrator::{
    Answer, DrafterChoice, Drafters, Engine, EngineInfo, FinishReason, GenerationConfig, Machine,
    NanoReasoning, Orchestrator, Sampling, SessionStatistics, Speculation, history_folder,
};

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
