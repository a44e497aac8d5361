//! How far a draft distribution is from the target's, and how that changes with the draft's logits.

/// What is minimised for each row: a mix of soft cross-entropy, which pulls everywhere, and the negative logarithm of
/// the acceptance probability `Σ min(p, q)`, which is what counts (LK losses, as in train/README: half of each).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Share of the acceptance term, 0 to 1.
    pub acceptance: f32,
}

/// Of one row.
pub(crate) struct RowLoss {
    pub(crate) loss: f32,
    /// Where the draft's largest logit is.
    pub(crate) top: usize,
}

impl Loss {
    /// The loss of `logits` against those of the target; `logits` become the slopes, times `weight`. `target` becomes
    /// probabilities.
    pub(crate) fn row(&self, logits: &mut [f32], target: &mut [f32], weight: f32) -> RowLoss {
        let top = top(logits);
        let log_sum = softmax(target, logits);
        let (mut cross_entropy, mut acceptance, mut below) = (0.0, 0.0, 0.0);
        for (&logit, &p) in logits.iter().zip(&*target) {
            let log_q = logit - log_sum;
            let q = log_q.exp();
            cross_entropy -= p * log_q;
            acceptance += p.min(q);
            below += if q < p { q } else { 0.0 };
        }
        let acceptance = acceptance.max(1e-6);
        let share = self.acceptance;
        for (logit, &p) in logits.iter_mut().zip(&*target) {
            let q = (*logit - log_sum).exp();
            let of_acceptance = q * (if q < p { 1.0 } else { 0.0 } - below) / acceptance;
            *logit = weight * ((1.0 - share) * (q - p) - share * of_acceptance);
        }
        RowLoss { loss: (1.0 - share) * cross_entropy - share * acceptance.ln(), top }
    }
}

/// Where the largest number is, the first of equals.
pub(crate) fn top(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (i, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = i;
        }
    }
    best
}

/// Makes probabilities of the target's logits; returns the logarithm of the sum of the draft's exponentials.
fn softmax(target: &mut [f32], logits: &[f32]) -> f32 {
    let log_sum = |numbers: &[f32]| {
        let max = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        max + numbers.iter().map(|number| (number - max).exp()).sum::<f32>().ln()
    };
    let of_target = log_sum(target);
    target.iter_mut().for_each(|number| *number = (*number - of_target).exp());
    log_sum(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_agree_with_differences() {
        let logits = [0.3, -1.0, 2.0, 0.7, -0.2];
        let target = [1.0, 0.2, 0.9, -1.5, 0.0];
        for acceptance in [0.0, 0.5, 1.0] {
            let loss = Loss { acceptance };
            let mut slopes = logits;
            loss.row(&mut slopes, &mut target.clone(), 2.0);
            for i in 0..logits.len() {
                let at = |by: f32| {
                    let mut moved = logits;
                    moved[i] += by;
                    loss.row(&mut moved, &mut target.clone(), 1.0).loss
                };
                let wanted = 2.0 * (at(5e-3) - at(-5e-3)) / 1e-2;
                assert!((slopes[i] - wanted).abs() < 2e-3, "{i}: {} {wanted}", slopes[i]);
            }
        }
    }

    #[test]
    fn equal_distributions_have_no_slope() {
        let mut logits = [0.5, 1.5, -2.0];
        let row = Loss { acceptance: 0.5 }.row(&mut logits, &mut [1.5, 2.5, -1.0], 1.0);
        assert!(logits.iter().all(|slope| slope.abs() < 1e-6), "{logits:?}");
        assert_eq!(row.top, 1);
    }
}
