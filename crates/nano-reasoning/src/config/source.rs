//! A value and where it came from.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::tier::Tier;

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Where a value came from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, or a value given by the program that uses this library.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// Line of the value, counted from 1.
        line: usize,
    },
    /// The default of the tier in force.
    Tier(Tier),
    /// The default everywhere.
    Default,
    /// The default for what stands here: `adapters on a head`.
    DefaultFor(&'static str),
}

impl Source {
    /// Whether somebody set the value.
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Flag(_) | Self::Environment(_) | Self::File { .. })
    }

    /// More for a source that wins over another.
    pub(super) fn strength(&self) -> u8 {
        match self {
            Self::Flag(_) => 4,
            Self::Environment(_) => 3,
            Self::File { .. } => 2,
            Self::Tier(_) => 1,
            Self::Default | Self::DefaultFor(_) => 0,
        }
    }
}

impl<T> Setting<T> {
    /// A value that nobody set.
    pub fn default_of(value: T) -> Self {
        Self { value, source: Source::Default }
    }

    /// The same source with another value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), source: self.source }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Tier(tier) => write!(f, "tier {tier}"),
            Self::Default => f.write_str("default"),
            Self::DefaultFor(what) => write!(f, "default for {what}"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
