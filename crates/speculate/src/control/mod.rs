//! What to draft, and how far: prices, chances, and the choice they lead to.

mod calibration;
mod worth;

pub use calibration::Calibration;
pub use worth::Worth;
