//! Speculative decoding: drafters propose, the target verifies, what it takes is the very text that it would
//! have written alone.
#![forbid(unsafe_code)]

mod actor;
mod control;
mod decoder;
mod draft;
mod drafter;
mod error;
mod head_drafter;
mod model_drafter;
mod ngram;
mod rate;
mod replay;
mod statistics;
mod verification;

pub use actor::DrafterActor;
pub use control::{Asked, Choice, Expected};
pub use decoder::{SpeculationOptions, SpeculativeDecoder};
pub use draft::{Candidate, Draft, DraftNode};
pub use drafter::Drafter;
pub use error::Error;
pub use head_drafter::HeadDrafter;
pub use model_drafter::ModelDrafter;
pub use ngram::{DEFAULT_HISTORY_TOKENS, HistoryStore, HistorySummary, NgramDrafter};
pub use replay::{Replay, ReplayCounts};
pub use statistics::{DrafterStatistics, PositionStatistics, SpeculationStatistics};
pub use verification::{CycleTimes, Observer, Verification};

/// Result of drafting and decoding.
pub type Result<T, E = Error> = std::result::Result<T, E>;
