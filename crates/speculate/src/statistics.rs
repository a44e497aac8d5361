//! What speculation did and what it was good for, summed up.

use serde::Serialize;

/// Sums over cycles.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpeculationStatistics {
    /// Passes of the target, those without a draft too.
    pub n_verifies: u64,
    /// Tokens written to answers.
    pub n_emitted: u64,
    /// Draft tokens among them.
    pub n_accepted: u64,
    /// Draft tokens that could have been accepted: along the longest path of each draft, up to where the answer stopped.
    pub n_drafted: u64,
    /// Cycles by the number of draft tokens accepted.
    pub accepted_lengths: Vec<u64>,
    /// By position in the draft, from the first.
    pub positions: Vec<PositionStatistics>,
    /// By drafter.
    pub drafters: Vec<DrafterStatistics>,
    /// Seconds of drafting.
    pub draft_s: f64,
    /// Seconds of the target's passes.
    pub verify_s: f64,
    /// Seconds of drawing and showing tokens.
    pub sample_s: f64,
    /// Seconds of everything else in the cycles.
    pub other_s: f64,
    /// Seconds that passes of one token each would have taken, by the times measured in this session.
    pub plain_s: f64,
}

/// What became of draft tokens at one position, among those whose predecessors were all accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PositionStatistics {
    /// Cycles with a draft token there.
    pub n_drafted: u64,
    /// Of them, cycles in which one was accepted.
    pub n_accepted: u64,
}

/// What one drafter did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DrafterStatistics {
    /// Its name.
    pub name: String,
    /// Times it was asked.
    pub n_drafts: u64,
    /// Tokens it proposed that were verified.
    pub n_proposed: u64,
    /// Of them, tokens accepted; one that two drafters proposed counts for both.
    pub n_accepted: u64,
    /// Seconds it took.
    pub draft_s: f64,
}

impl SpeculationStatistics {
    /// Share of drafted tokens that the target took; `None` if none was drafted.
    pub fn acceptance_rate(&self) -> Option<f64> {
        (self.n_drafted > 0).then(|| self.n_accepted as f64 / self.n_drafted as f64)
    }

    /// Tokens a pass, the target's own token included (τ); `None` before the first pass.
    pub fn mean_accepted_length(&self) -> Option<f64> {
        (self.n_verifies > 0).then(|| self.n_emitted as f64 / self.n_verifies as f64)
    }

    /// Seconds of all cycles.
    pub fn total_s(&self) -> f64 {
        self.draft_s + self.verify_s + self.sample_s + self.other_s
    }

    /// How many times faster than passes of one token; `None` before the first pass.
    pub fn speedup(&self) -> Option<f64> {
        (self.plain_s > 0.0 && self.total_s() > 0.0).then(|| self.plain_s / self.total_s())
    }

    /// Adds other sums; drafters of the same name are one.
    pub fn merge(&mut self, other: &Self) {
        self.n_verifies += other.n_verifies;
        self.n_emitted += other.n_emitted;
        self.n_accepted += other.n_accepted;
        self.n_drafted += other.n_drafted;
        grow(&mut self.accepted_lengths, other.accepted_lengths.len());
        for (own, n) in self.accepted_lengths.iter_mut().zip(&other.accepted_lengths) {
            *own += n;
        }
        grow(&mut self.positions, other.positions.len());
        for (own, position) in self.positions.iter_mut().zip(&other.positions) {
            own.n_drafted += position.n_drafted;
            own.n_accepted += position.n_accepted;
        }
        for drafter in &other.drafters {
            match self.drafters.iter_mut().find(|own| own.name == drafter.name) {
                Some(own) => {
                    own.n_drafts += drafter.n_drafts;
                    own.n_proposed += drafter.n_proposed;
                    own.n_accepted += drafter.n_accepted;
                    own.draft_s += drafter.draft_s;
                }
                None => self.drafters.push(drafter.clone()),
            }
        }
        self.draft_s += other.draft_s;
        self.verify_s += other.verify_s;
        self.sample_s += other.sample_s;
        self.other_s += other.other_s;
        self.plain_s += other.plain_s;
    }

    /// Adds a cycle's acceptance.
    pub(crate) fn add(&mut self, num_emitted: usize, num_accepted: usize, draft_len: usize) {
        self.n_verifies += 1;
        self.n_emitted += num_emitted as u64;
        self.n_accepted += num_accepted as u64;
        self.n_drafted += draft_len as u64;
        grow(&mut self.accepted_lengths, num_accepted + 1);
        self.accepted_lengths[num_accepted] += 1;
        // A token behind a rejected one was never asked for.
        grow(&mut self.positions, draft_len);
        for (i, position) in self.positions.iter_mut().enumerate().take(draft_len.min(num_accepted + 1)) {
            position.n_drafted += 1;
            position.n_accepted += u64::from(i < num_accepted);
        }
    }

    /// What came in since `earlier`, an older state of the same sums.
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = |new: &[u64], old: &[u64]| -> Vec<u64> {
            new.iter().enumerate().map(|(i, n)| n - old.get(i).unwrap_or(&0)).collect()
        };
        let positions = self.positions.iter().enumerate().map(|(i, new)| {
            let old = earlier.positions.get(i).copied().unwrap_or_default();
            PositionStatistics {
                n_drafted: new.n_drafted - old.n_drafted,
                n_accepted: new.n_accepted - old.n_accepted,
            }
        });
        let drafters = self.drafters.iter().enumerate().map(|(i, new)| {
            let old = earlier.drafters.get(i).cloned().unwrap_or_default();
            DrafterStatistics {
                name: new.name.clone(),
                n_drafts: new.n_drafts - old.n_drafts,
                n_proposed: new.n_proposed - old.n_proposed,
                n_accepted: new.n_accepted - old.n_accepted,
                draft_s: new.draft_s - old.draft_s,
            }
        });
        Self {
            n_verifies: self.n_verifies - earlier.n_verifies,
            n_emitted: self.n_emitted - earlier.n_emitted,
            n_accepted: self.n_accepted - earlier.n_accepted,
            n_drafted: self.n_drafted - earlier.n_drafted,
            accepted_lengths: difference(&self.accepted_lengths, &earlier.accepted_lengths),
            positions: positions.collect(),
            drafters: drafters.collect(),
            draft_s: self.draft_s - earlier.draft_s,
            verify_s: self.verify_s - earlier.verify_s,
            sample_s: self.sample_s - earlier.sample_s,
            other_s: self.other_s - earlier.other_s,
            plain_s: self.plain_s - earlier.plain_s,
        }
    }
}

fn grow<T: Clone + Default>(items: &mut Vec<T>, len: usize) {
    if items.len() < len {
        items.resize(len, T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_and_sums_agree() {
        let mut statistics = SpeculationStatistics::default();
        for (emitted, accepted, drafted) in [(1, 0, 0), (3, 2, 4), (5, 4, 4), (1, 0, 3), (2, 2, 2)] {
            statistics.add(emitted, accepted, drafted);
        }
        let histogram = &statistics.accepted_lengths;
        assert_eq!(histogram.iter().sum::<u64>(), statistics.n_verifies);
        let accepted: u64 = histogram.iter().enumerate().map(|(i, n)| i as u64 * n).sum();
        assert_eq!(accepted, statistics.n_accepted);
        assert_eq!(statistics.positions.iter().map(|p| p.n_accepted).sum::<u64>(), statistics.n_accepted);
        assert_eq!(statistics.positions[0], PositionStatistics { n_drafted: 4, n_accepted: 3 });
        assert_eq!(statistics.mean_accepted_length(), Some(12.0 / 5.0));
        assert_eq!(statistics.acceptance_rate(), Some(8.0 / 13.0));
        assert_eq!(statistics.since(&SpeculationStatistics::default()), statistics);
    }

    #[test]
    fn what_is_merged_is_there_twice() {
        let drafter = |name: &str, n_accepted| DrafterStatistics {
            name: name.to_owned(),
            n_drafts: 3,
            n_proposed: 9,
            n_accepted,
            draft_s: 0.5,
        };
        let mut statistics = SpeculationStatistics { verify_s: 2.0, plain_s: 4.0, ..Default::default() };
        statistics.drafters = vec![drafter("head", 4), drafter("ngram", 2)];
        statistics.add(3, 2, 4);
        statistics.add(1, 0, 2);
        let mut sums = SpeculationStatistics { drafters: vec![drafter("ngram", 1)], ..Default::default() };
        let ngram = sums.clone();
        sums.merge(&statistics);
        let names: Vec<_> =
            sums.drafters.iter().map(|drafter| (&*drafter.name, drafter.n_accepted)).collect();
        assert_eq!(names, [("ngram", 3), ("head", 4)]);
        let mut twice = statistics.clone();
        twice.merge(&statistics);
        assert_eq!(twice.since(&statistics), statistics);
        // In any order, but for that of the drafters.
        statistics.merge(&ngram);
        statistics.drafters.reverse();
        assert_eq!(statistics, sums);
    }
}
