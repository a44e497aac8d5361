//! A figure measured once in each round.

use serde_json::{Value, json};

/// Values, in the order of their rounds.
#[derive(Clone, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    pub(super) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "min": self.min(), "max": self.max(), "rounds": self.0 })
    }

    /// The largest, with the smallest: `13.4 (12.9–13.4)`.
    pub(super) fn show_max(&self) -> String {
        let (min, max) = (self.min(), self.max());
        let digits = digits(max);
        format!("{max:.digits$} ({min:.digits$}–{max:.digits$})")
    }

    /// The smallest, with the largest: `12.9 (12.9–13.4)`.
    pub(super) fn show_min(&self) -> String {
        let (min, max) = (self.min(), self.max());
        let digits = digits(min);
        format!("{min:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

/// Decimals that make three or four digits.
fn digits(value: f64) -> usize {
    match value {
        v if v < 10.0 => 2,
        v if v < 1000.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_best_and_the_spread() {
        let mut samples = Samples::default();
        assert!(samples.max().is_nan());
        for value in [13.0, 12.94, 13.44] {
            samples.push(value);
        }
        assert_eq!(samples.show_max(), "13.4 (12.9–13.4)");
        assert_eq!(samples.show_min(), "12.9 (12.9–13.4)");
    }
}
