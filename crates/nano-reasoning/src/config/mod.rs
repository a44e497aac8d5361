//! Configuration: flags over environment over file over the tier's defaults, and for every value where
//! it came from.

mod environment;
mod file;
mod json_object;
mod limits;
mod overrides;
mod settings;
mod source;
mod strategy;

pub use environment::{Environment, LogLevel};
pub use file::ConfigFile;
pub use overrides::Overrides;
pub use settings::{SettingRow, Settings, forced_tier};
pub use source::{Setting, Source};
pub use strategy::LearningStrategy;
