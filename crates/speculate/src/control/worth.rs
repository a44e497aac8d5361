//! What a row of a verify pass and a step of a drafter must promise to be worth their time.

/// The prices of one cycle.
///
/// With `rate` tokens a second to be had, a second costs `rate` tokens: spending time pays where it brings
/// more than that. That is how the ratio tokens / time is maximised over a session (Dinkelbach 1967).
#[derive(Debug, Clone, Default)]
pub(crate) struct Worth {
    /// Tokens a second.
    rate: f64,
    /// Time of a pass with the root and so many drafted rows, `[max_rows + 1]`.
    verify_s: Vec<f64>,
    /// The least time that one more row after so many costs, alone or averaged over more of them, `[max_rows]`.
    marginal_s: Vec<f64>,
}

impl Worth {
    /// Sets the prices: `verify_s(n)` is the time of a pass with `n` drafted rows.
    pub(crate) fn set(&mut self, rate: f64, max_rows: usize, verify_s: impl Fn(usize) -> f64) {
        self.rate = rate;
        self.verify_s.clear();
        self.verify_s.extend((0..=max_rows).map(verify_s));
        self.marginal_s.clear();
        for n in 0..max_rows {
            let average = |m: usize| (self.verify_s[m] - self.verify_s[n]) / (m - n) as f64;
            self.marginal_s.push((n + 1..=max_rows).map(average).fold(f64::INFINITY, f64::min).max(0.0));
        }
    }

    /// Whether a row that is taken with chance `reach` shall join `n_rows` others.
    pub(crate) fn is_worth_a_row(&self, n_rows: usize, reach: f64) -> bool {
        self.is_worth_a_step(n_rows, reach, 0.0)
    }

    /// Whether a step of `step_s` shall be computed for such a row.
    pub(crate) fn is_worth_a_step(&self, n_rows: usize, reach: f64, step_s: f64) -> bool {
        self.step_value(n_rows, reach, step_s).is_some_and(|value| value > 0.0)
    }

    /// Tokens that such a row brings beyond what it and a step of `step_s` for it cost; `None` if there is no room for it.
    pub(crate) fn step_value(&self, n_rows: usize, reach: f64, step_s: f64) -> Option<f64> {
        self.marginal_s.get(n_rows).map(|&marginal_s| reach - self.price(marginal_s + step_s))
    }

    /// Tokens that could be had in `seconds`.
    pub(crate) fn price(&self, seconds: f64) -> f64 {
        self.rate * seconds
    }

    /// How many of the rows with these chances, in descending order, shall be verified.
    pub(crate) fn best_count(&self, reach: impl Iterator<Item = f64>) -> usize {
        let (mut best, mut best_value, mut tokens) = (0, 0.0, 0.0);
        for (i, reach) in reach.take(self.marginal_s.len()).enumerate() {
            tokens += reach;
            let value = tokens - self.rate * (self.verify_s[i + 1] - self.verify_s[0]);
            if value > best_value {
                (best, best_value) = (i + 1, value);
            }
        }
        best
    }

    /// Expected tokens beyond what the time costs, for rows with these chances and `draft_s` of drafting.
    pub(crate) fn value(&self, reach: impl Iterator<Item = f64>, draft_s: f64) -> f64 {
        let (mut best, mut tokens): (f64, f64) = (0.0, 0.0);
        for (i, reach) in reach.take(self.marginal_s.len()).enumerate() {
            tokens += reach;
            best = f64::max(best, tokens - self.rate * (self.verify_s[i + 1] - self.verify_s[0]));
        }
        best - self.rate * draft_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(rate: f64, step: f64) -> Worth {
        let mut worth = Worth::default();
        worth.set(rate, 8, |n| 1.0 + step * n as f64);
        worth
    }

    #[test]
    fn a_row_must_bring_more_than_its_time() {
        let worth = worth(1.0, 0.2);
        assert!(worth.is_worth_a_row(0, 0.3) && !worth.is_worth_a_row(0, 0.1));
        assert!(worth.is_worth_a_step(0, 0.3, 0.05) && !worth.is_worth_a_step(0, 0.3, 0.15));
        assert!(!worth.is_worth_a_row(8, 1.0), "there is no ninth row");
    }

    #[test]
    fn verifies_as_many_rows_as_pay() {
        let worth = worth(1.0, 0.2);
        assert_eq!(worth.best_count([0.9, 0.5, 0.3, 0.1].into_iter()), 3);
        assert_eq!(worth.best_count([0.1, 0.1].into_iter()), 0);
    }

    #[test]
    fn a_dear_first_row_can_be_paid_by_those_after_it() {
        let mut worth = Worth::default();
        worth.set(1.0, 4, |n| if n == 0 { 1.0 } else { 1.5 });
        assert!(worth.is_worth_a_row(0, 0.4));
        assert_eq!(worth.best_count([0.4, 0.3].into_iter()), 2);
        assert_eq!(worth.best_count([0.4].into_iter()), 0);
    }
}
