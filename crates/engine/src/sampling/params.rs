//! What a user can set about sampling, and which values are allowed.

/// How the next token is chosen; see the order of the filters in [the module](crate::sampling).
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Evens out (above 1) or sharpens (below 1) the distribution; 0 takes the best token always.
    pub temperature: f32,
    /// How many of the best tokens stay; 0 for all.
    pub top_k: usize,
    /// Probability that the tokens which stay add up to; 1 for all.
    pub top_p: f32,
    /// Share of the best token's probability that a token needs to stay; 0 for all.
    pub min_p: f32,
    /// Divides the logit of tokens seen lately; 1 for none.
    pub repetition_penalty: f32,
    /// How many of the latest tokens, prompt included, are penalised; 0 for none, `usize::MAX` for all.
    pub repetition_window: usize,
    /// Seed of the random numbers: the same seed draws the same tokens. `None` seeds from the system.
    pub seed: Option<u64>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            seed: None,
        }
    }
}

/// A sampling parameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {value}; allowed is {allowed}")]
pub struct InvalidParameter {
    /// Name of the field of [`SamplingParams`].
    pub field: &'static str,
    /// The value found.
    pub value: f32,
    /// The values wanted.
    pub allowed: &'static str,
}

impl SamplingParams {
    /// Takes the best token always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Whether the best token is taken always.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Whether the history matters.
    pub(crate) fn has_penalty(&self) -> bool {
        self.repetition_penalty != 1.0 && self.repetition_window > 0
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidParameter`] for the first field that is outside its range (or not a number).
    pub fn validate(&self) -> Result<(), InvalidParameter> {
        let check = |field, value: f32, is_allowed: bool, allowed| {
            // A comparison with NaN is false, so NaN is allowed nowhere.
            if is_allowed { Ok(()) } else { Err(InvalidParameter { field, value, allowed }) }
        };
        let Self { temperature: t, top_p, min_p, repetition_penalty: penalty, .. } = *self;
        check("temperature", t, (0.0..=100.0).contains(&t), "0 (always the best token) to 100")?;
        check("top_p", top_p, (0.0..=1.0).contains(&top_p), "0 to 1 (1 keeps every token)")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "0 (keeps every token) to 1")?;
        check("repetition_penalty", penalty, (0.01..=100.0).contains(&penalty), "0.01 to 100 (1 for none)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_field_value_and_range() {
        let bad = SamplingParams { top_p: 1.5, ..SamplingParams::default() };
        assert_eq!(
            bad.validate().unwrap_err().to_string(),
            "top_p is 1.5; allowed is 0 to 1 (1 keeps every token)"
        );
    }

    #[test]
    fn rejects_values_outside_their_range() {
        let ok = SamplingParams::default();
        assert_eq!(ok.validate(), Ok(()));
        assert_eq!(SamplingParams::greedy().validate(), Ok(()));
        for bad in [f32::NAN, f32::INFINITY, -0.5, 1000.0] {
            for params in [
                SamplingParams { temperature: bad, ..ok.clone() },
                SamplingParams { top_p: bad, ..ok.clone() },
                SamplingParams { min_p: bad, ..ok.clone() },
                SamplingParams { repetition_penalty: bad, ..ok.clone() },
            ] {
                assert!(params.validate().is_err(), "{params:?}");
            }
        }
    }
}
