//! Training of drafters on the CPU: gradients, optimiser, and what is learnt from.
//!
//! Forwards, frozen weights are multiplied by the very kernels that inference uses; backwards, they are unpacked tile by
//! tile. So no second copy of the weights is needed, whatever their format.
//!
//! | file | what |
//! |---|---|
//! | `head/` | an EAGLE-3 head by a training-time test |
//! | `draft_model/` | adapters on a separate draft model |
//! | `trainer.rs` | what those two have in common |
//! | `task/` | the thread that trains beside inference, and its gate |
//! | `recorder.rs`, `buffer.rs` | what it learns from |
//! | `distill.rs` | a head learnt from files of answers, with `sample_file.rs`, one of those |
//! | `checkpoint.rs` | what was learnt, as a file |
//! | `linear.rs` | a matrix: frozen, with an adapter, or learnt itself |
//! | `change.rs`, `int8.rs` | a matrix's change of full rank in 8 bits, and AdamW on it |
//! | `attention.rs`, `ops.rs`, `loss.rs` | steps of a layer, forwards and backwards |
//! | `parameter.rs` | what is learnt in 32 bits, and AdamW |
//!
//! With the same seed and samples the same numbers come out, bit for bit, however many threads there are.
#![forbid(unsafe_code)]

mod attention;
mod buffer;
mod change;
mod checkpoint;
mod distill;
mod draft_model;
mod error;
mod head;
mod int8;
mod linear;
mod loss;
mod ops;
mod parameter;
mod random;
mod recorder;
mod sample_file;
mod task;
mod trainer;

pub use buffer::{BufferLimits, Kept, TrainingBuffer};
pub use checkpoint::{Checkpoint, CheckpointInfo, Fingerprints};
pub use distill::{DistillOptions, DistillStep, Distillation, Evaluation, TokenCounts};
pub use draft_model::{DraftModel, DraftModelTrainer, DraftModelTraining};
pub use error::Error;
pub use head::{HeadTrainer, HeadTraining, Sample, Scored, Strategy, TrainableHead};
pub use loss::Loss;
pub use parameter::{AdamW, Parameter};
pub use random::Random;
pub use recorder::{Recorder, SampleSink};
pub use sample_file::{SampleFile, SampleInfo};
pub use task::{
    Allowance, Checkpoints, Decision, MayWork, Pause, Profile, TaskOptions, TrainerStatus, TrainerTask,
};

/// Result of training.
pub type Result<T, E = Error> = std::result::Result<T, E>;
