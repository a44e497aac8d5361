//! Drafting from what was written before: in the conversation, and in earlier answers.

mod drafter;
mod history_store;
mod occurrences;
mod prediction;
mod suffix_index;
#[cfg(test)]
mod tests;
mod trust;

pub use drafter::NgramDrafter;
pub use history_store::{DEFAULT_HISTORY_TOKENS, HistoryStore, HistorySummary};
