//! What of the drafter gradients change.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::near_miss::near_miss;
use crate::tier::Speculator;

/// What of the drafter gradients change while it runs. Calibration, draft vocabulary and history learn in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningStrategy {
    /// Nothing.
    Frozen,
    /// Low-rank adapters on the head, or on the draft model where that drafts.
    Lora,
    /// The head's whole layer, in 8 bits.
    Eagle,
}

impl LearningStrategy {
    /// All of them, cheapest first.
    pub const ALL: [Self; 3] = [Self::Frozen, Self::Lora, Self::Eagle];

    /// Their names, for messages.
    pub(super) const WANTED: &str = "frozen, lora or eagle";

    /// Its name, as configuration and flags write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Lora => "lora",
            Self::Eagle => "eagle",
        }
    }

    /// Whether gradients change anything.
    pub fn trains(self) -> bool {
        self != Self::Frozen
    }

    /// What a tier wants.
    pub(super) fn of(speculator: Speculator) -> Self {
        match speculator {
            Speculator::Frozen => Self::Frozen,
            Speculator::AdaptiveLora => Self::Lora,
            Speculator::FullEagle => Self::Eagle,
        }
    }

    /// The strategy that `word` may have meant.
    pub(super) fn suggestion(word: &str) -> Option<String> {
        near_miss(word, Self::ALL.map(Self::name)).map(str::to_owned)
    }
}

impl fmt::Display for LearningStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LearningStrategy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let strategy = Self::ALL.into_iter().find(|strategy| strategy.name().eq_ignore_ascii_case(word));
        strategy.ok_or_else(|| format!("unknown strategy '{word}'; wanted {}", Self::WANTED))
    }
}
