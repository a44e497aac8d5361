//! `NANO_REASONING_DEBUG=1`: one line of JSON on standard error for each cycle of draft and verify.

use std::io::{self, Write};

use nano_reasoning::{Observer, Verification};
use serde_json::{Value, json};

/// Writes each verification.
pub(crate) struct Trace {
    /// Names of the drafters, by number.
    pub(crate) drafters: Vec<String>,
}

impl Observer for Trace {
    fn observe(&mut self, verification: &Verification<'_>) {
        // Whoever reads no more is no reason to end the answer.
        let _ = writeln!(io::stderr(), "{}", self.line(verification));
    }
}

impl Trace {
    fn line(&self, verification: &Verification<'_>) -> Value {
        let Verification { history, num_emitted, choice, times, .. } = *verification;
        let name = |drafter: usize| self.drafters.get(drafter).map_or("", String::as_str);
        let asked = choice.asked.iter().map(|asked| {
            json!({ "drafter": name(asked.drafter), "ms": 1e3 * asked.seconds, "is_probe": asked.is_probe })
        });
        let expected =
            choice.expected.iter().map(|expected| (name(expected.drafter).to_owned(), expected.value));
        let draft = verification.draft.iter().map(
            |node| json!({ "token": node.token, "parent": node.parent, "reach": node.reach_probability }),
        );
        json!({
            "position": history.len() - num_emitted,
            "emitted": history[history.len() - num_emitted..],
            "accepted": verification.num_accepted,
            "draft": draft.collect::<Vec<_>>(),
            "asked": asked.collect::<Vec<_>>(),
            "value_at_hand": choice.at_hand,
            "value_expected": expected.collect::<std::collections::BTreeMap<_, _>>(),
            "tokens_per_second_to_be_had": choice.rate,
            "plain_ms": 1e3 * choice.plain_s,
            "draft_ms": 1e3 * times.draft_s,
            "verify_ms": 1e3 * times.verify_s,
            "sample_ms": 1e3 * times.sample_s,
        })
    }
}
