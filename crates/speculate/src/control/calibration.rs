//! What a drafter's confidence is worth: how often the target takes what it proposes with it.

use crate::rate::Rate;

/// Chances are kept for so many ranges of confidence, closer together near 0 and 1.
const N_BINS: usize = 14;
/// First tokens and later ones are kept apart: a drafter that feeds on its own guesses is less sure than it says.
const N_DEPTHS: usize = 3;
/// Outcomes that the starting estimate counts for.
const PRIOR_WEIGHT: f32 = 3.0;
/// Outcomes after which an old one counts for less than a third: what confidence means is a trait of the drafter …
const MEMORY: f32 = 200.0;
/// … and how often it is right one of the text.
const DEPTH_MEMORY: f32 = 25.0;
/// What is left at first of the chance of a token against which another drafter spoke.
const DISSENT_RATE: f32 = 0.25;
/// How often a drafter that costs is thought to be right at first where one that does not knows nothing.
const LEAD_RATE: f32 = 0.6;

/// The learnt chances of one drafter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calibration {
    depth_bins: [Bins; N_DEPTHS],
    /// The same where a drafter that was asked before says something else.
    dissent: Bins,
    /// How often the likeliest proposal was taken where a drafter that costs nothing was so confident of its own.
    lead: Bins,
    /// Whether the likeliest proposal was taken, by depth.
    depths: [Rate; 32],
}

impl Default for Calibration {
    /// Takes confidence at its word, a little less at its ends.
    fn default() -> Self {
        Self {
            depth_bins: [Bins::new(|confidence| confidence); N_DEPTHS],
            dissent: Bins::new(|confidence| DISSENT_RATE * confidence),
            lead: Bins::new(|confidence| LEAD_RATE + (1.0 - LEAD_RATE) * confidence),
            depths: [Rate::new(0.6, PRIOR_WEIGHT); 32],
        }
    }
}

impl Calibration {
    /// Chance that a token proposed with `confidence` at `depth` is taken, if all before it are.
    pub(crate) fn hit_probability(&self, confidence: f32, depth: usize) -> f32 {
        self.depth_bins[depth.min(N_DEPTHS - 1)].get(confidence)
    }

    /// Chance that a token proposed with `confidence` is taken though a drafter that was asked before says another.
    pub(crate) fn dissent_hit_probability(&self, confidence: f32) -> f32 {
        self.dissent.get(confidence)
    }

    /// Chance that the likeliest token is taken where a drafter that costs nothing has `confidence` in its own.
    pub(crate) fn lead_hit_probability(&self, confidence: f32) -> f32 {
        self.lead.get(confidence)
    }

    /// Chance that the likeliest token at `depth` is taken, whatever its confidence.
    pub(crate) fn mean_hit_probability(&self, depth: usize) -> f32 {
        self.depths[depth.min(self.depths.len() - 1)].get()
    }

    /// Learns what became of a proposal whose parent was taken.
    pub(crate) fn add(&mut self, confidence: f32, depth: usize, is_hit: bool) {
        self.depth_bins[depth.min(N_DEPTHS - 1)].add(confidence, is_hit);
    }

    /// Learns what became of a proposal against which a drafter that was asked before said another.
    pub(crate) fn add_dissent(&mut self, confidence: f32, is_hit: bool) {
        self.dissent.add(confidence, is_hit);
    }

    /// Learns whether the target took the likeliest token where a drafter that costs nothing had `confidence` in its own.
    pub(crate) fn add_lead(&mut self, confidence: f32, is_hit: bool) {
        self.lead.add(confidence, is_hit);
    }

    /// Learns whether the target took the drafter's likeliest token at `depth`.
    pub(crate) fn add_depth(&mut self, depth: usize, is_hit: bool) {
        let depth = depth.min(self.depths.len() - 1);
        self.depths[depth].add(is_hit, 1.0, DEPTH_MEMORY);
    }
}

/// Chances by range of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bins([Rate; N_BINS]);

impl Bins {
    /// Starts at `prior` of each range's centre.
    fn new(prior: impl Fn(f32) -> f32) -> Self {
        Self(std::array::from_fn(|bin| Rate::new(prior(bin_centre(bin)), PRIOR_WEIGHT)))
    }

    fn get(&self, confidence: f32) -> f32 {
        neighbours(confidence).iter().map(|&(bin, share)| self.0[bin].get() * share).sum()
    }

    fn add(&mut self, confidence: f32, is_hit: bool) {
        for (bin, share) in neighbours(confidence) {
            self.0[bin].add(is_hit, share, MEMORY);
        }
    }
}

/// The bins whose centres a confidence lies between, and its share of each.
fn neighbours(confidence: f32) -> [(usize, f32); 2] {
    let clamped = if confidence > 0.0 { confidence.min(1.0) } else { 0.0 };
    // The arcsine spreads the ends: 0.9 … 1.0 gets as much room as 0.35 … 0.65.
    let spread = (2.0 * clamped - 1.0).asin() / std::f32::consts::PI + 0.5;
    let at = spread * (N_BINS - 1) as f32;
    let low = (at as usize).min(N_BINS - 2);
    let share = at - low as f32;
    [(low, 1.0 - share), (low + 1, share)]
}

fn bin_centre(bin: usize) -> f32 {
    let spread = bin as f32 / (N_BINS - 1) as f32;
    let centre = 0.5 + 0.5 * ((spread - 0.5) * std::f32::consts::PI).sin();
    centre.clamp(0.02, 0.96)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_by_taking_confidence_at_its_word() {
        let calibration = Calibration::default();
        for confidence in [0.1, 0.3, 0.5, 0.7, 0.9] {
            let chance = calibration.hit_probability(confidence, 0);
            assert!((chance - confidence).abs() < 0.03, "{confidence}: {chance}");
        }
    }

    #[test]
    fn learns_that_a_drafter_boasts() {
        let mut calibration = Calibration::default();
        for i in 0..300 {
            calibration.add(0.9, 0, i % 10 < 3);
        }
        assert!((calibration.hit_probability(0.9, 0) - 0.3).abs() < 0.1);
        assert!((calibration.hit_probability(0.3, 0) - 0.3).abs() < 0.05, "other confidences stay");
        assert!(calibration.hit_probability(0.9, 1) > 0.8, "other depths stay");
    }

    #[test]
    fn any_confidence_has_a_chance() {
        let calibration = Calibration::default();
        for confidence in [f32::NAN, f32::NEG_INFINITY, -1.0, 0.0, 1.0, 2.0, f32::INFINITY] {
            assert!((0.0..=1.0).contains(&calibration.hit_probability(confidence, 99)));
        }
    }
}
