//! Drafting from what was written before: in the conversation, and in earlier answers.

mod drafter;
mod suffix_index;

pub use drafter::NgramDrafter;
