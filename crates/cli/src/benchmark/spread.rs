//! Repeated measurements.

use serde_json::{Value, json};

/// Values of repeated measurements.
#[derive(Default)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    pub(super) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|&other| other < value);
        self.0.insert(at, value);
    }

    pub(super) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "min": self.min(), "median": self.median(), "max": self.max() })
    }

    /// `median 13.4, from 12.9 to 13.5`.
    pub(super) fn show(&self, digits: usize) -> String {
        let (min, median, max) = (self.min(), self.median(), self.max());
        format!("{median:9.digits$}   ({min:.digits$} to {max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_order() {
        let mut spread = Spread::default();
        for value in [3.0, 1.0, 2.0, 5.0, 4.0] {
            spread.push(value);
        }
        assert_eq!((spread.min(), spread.median(), spread.max()), (1.0, 3.0, 5.0));
        assert_eq!(spread.show(1), "      3.0   (1.0 to 5.0)");
        assert!(Spread::default().median().is_nan());
    }
}
