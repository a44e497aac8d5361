//! How long a pass over so many rows takes, learnt from the passes there were.

/// Rows whose times are kept apart; a pass over more is estimated from these.
const MAX_ROWS: usize = 64;
/// Context lengths are kept apart by powers of two from this on.
const FIRST_CONTEXT: usize = 512;
const N_CONTEXTS: usize = 10;
/// What a row is thought to add to a pass of one, before any is measured.
const PRIOR_ROW: f64 = 0.15;
/// So many measurements of a number of rows count whole if they are faster: what interrupts a pass only slows it.
const FEW: u32 = 3;
/// A first measurement is believed up to so many times what was expected.
const MAX_SURPRISE: f64 = 1.5;
/// Share of a new measurement in what is known of its own number of rows …
const OWN_SHARE: f64 = 0.12;
/// … and in the speed of the whole machine, which drifts with load and heat.
const SPEED_SHARE: f64 = 0.24;

/// Times of passes by rows and context length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerifyCost {
    /// How slow the machine is now against when the times were taken.
    slowness: f64,
    /// `[N_CONTEXTS][MAX_ROWS]`: seconds at slowness 1.
    times_s: Vec<[Option<f64>; MAX_ROWS]>,
    /// How often each was measured, up to [`FEW`].
    n_measured: Vec<[u32; MAX_ROWS]>,
}

impl Default for VerifyCost {
    fn default() -> Self {
        Self {
            slowness: 1.0,
            times_s: vec![[None; MAX_ROWS]; N_CONTEXTS],
            n_measured: vec![[0; MAX_ROWS]; N_CONTEXTS],
        }
    }
}

impl VerifyCost {
    /// Learns that a pass over `n_rows` rows took `seconds` after `context_len` cached tokens.
    pub(crate) fn add(&mut self, n_rows: usize, context_len: usize, seconds: f64) {
        let is_sound = (1..=MAX_ROWS).contains(&n_rows) && seconds > 0.0 && seconds.is_finite();
        if !is_sound {
            return;
        }
        let context = context_index(context_len);
        let expected = self.times_s[context].iter().any(Option::is_some);
        let expected = expected.then(|| self.seconds(n_rows, context_len)).flatten();
        let n_measured = &mut self.n_measured[context][n_rows - 1];
        let is_new = *n_measured < FEW;
        *n_measured += u32::from(is_new);
        let own = &mut self.times_s[context][n_rows - 1];
        let Some(time_s) = own else {
            let believed = expected.map_or(seconds, |expected| seconds.min(MAX_SURPRISE * expected));
            *own = Some(believed / self.slowness);
            return;
        };
        if is_new && seconds < *time_s * self.slowness {
            *time_s = seconds / self.slowness;
            return;
        }
        // A pass that was interrupted says little.
        let surprise = (seconds / (*time_s * self.slowness)).clamp(0.5, 2.0);
        *time_s *= surprise.powf(OWN_SHARE);
        self.slowness *= surprise.powf(SPEED_SHARE);
    }

    /// Whether a pass of one row has been measured at about this context length.
    pub(crate) fn knows_plain(&self, context_len: usize) -> bool {
        self.times_s[context_index(context_len)][0].is_some()
    }

    /// Seconds that a pass over `n_rows` rows takes after `context_len` cached tokens; `None` before the first measurement.
    pub(crate) fn seconds(&self, n_rows: usize, context_len: usize) -> Option<f64> {
        let wanted = context_index(context_len);
        let nearest = (0..N_CONTEXTS)
            .filter(|&context| self.times_s[context].iter().any(Option::is_some))
            .min_by_key(|context| context.abs_diff(wanted))?;
        let known = &self.times_s[nearest];
        let below = (1..=n_rows.min(MAX_ROWS)).rev().find_map(|n| Some((n, known[n - 1]?)));
        let above = (n_rows..=MAX_ROWS).find_map(|n| Some((n, known[n - 1]?)));
        let prior = |n: usize| 1.0 + PRIOR_ROW * (n - 1) as f64;
        let time_s = match (below, above) {
            (Some((low, at_low)), Some((high, at_high))) if high > low => {
                // Times do not fall with rows, whatever two measurements at different moments say.
                let share = (n_rows - low) as f64 / (high - low) as f64;
                at_low + (at_high - at_low).max(0.0) * share
            }
            (Some((n, time_s)), _) | (None, Some((n, time_s))) => time_s * prior(n_rows) / prior(n),
            (None, None) => return None,
        };
        Some(time_s * self.slowness)
    }
}

fn context_index(context_len: usize) -> usize {
    let doublings = (context_len / FIRST_CONTEXT).checked_ilog2().map_or(0, |n| n as usize + 1);
    doublings.min(N_CONTEXTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_measurements() {
        let mut cost = VerifyCost::default();
        assert_eq!(cost.seconds(1, 0), None);
        cost.add(1, 10, 0.020);
        cost.add(5, 10, 0.036);
        assert_eq!(cost.seconds(1, 10), Some(0.020));
        assert!((cost.seconds(3, 10).unwrap() - 0.028).abs() < 1e-9);
        assert!(cost.seconds(9, 10).unwrap() > 0.036);
        assert!((cost.seconds(1, 9_000).unwrap() - 0.020).abs() < 1e-9, "the nearest context serves");
    }

    #[test]
    fn a_machine_that_slows_down_slows_all_rows() {
        let mut cost = VerifyCost::default();
        cost.add(1, 0, 0.020);
        cost.add(4, 0, 0.030);
        for _ in 0..30 {
            cost.add(4, 0, 0.060);
        }
        assert!(cost.seconds(1, 0).unwrap() > 0.030);
        assert!((cost.seconds(4, 0).unwrap() - 0.060).abs() < 1e-3);
    }

    #[test]
    fn an_interrupted_first_measurement_is_mended_by_the_next() {
        let mut cost = VerifyCost::default();
        cost.add(1, 0, 0.020);
        cost.add(3, 0, 0.500);
        assert!(cost.seconds(3, 0).unwrap() < 0.040, "it is not believed whole");
        cost.add(3, 0, 0.028);
        assert!((cost.seconds(3, 0).unwrap() - 0.028).abs() < 1e-9);
    }

    #[test]
    fn ignores_what_cannot_be() {
        let mut cost = VerifyCost::default();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            cost.add(1, 0, seconds);
        }
        cost.add(0, 0, 1.0);
        cost.add(1000, 0, 1.0);
        assert_eq!(cost, VerifyCost::default());
    }
}
