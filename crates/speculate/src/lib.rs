//! Speculative decoding: drafters propose, the target verifies, what it takes is the very text that it would
//! have written alone.
#![forbid(unsafe_code)]

mod control;
mod draft;
mod drafter;
mod error;

pub use draft::{Candidate, Draft, DraftNode};
pub use drafter::Drafter;
pub use error::Error;

/// Result of drafting and decoding.
pub type Result<T, E = Error> = std::result::Result<T, E>;
