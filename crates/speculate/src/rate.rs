//! How often something comes true, learnt from outcomes of which the old ones fade.

/// Hits among tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    n_tried: f32,
    n_hits: f32,
}

impl Rate {
    /// Starts at `rate`, as if that were known from `n_tried` outcomes.
    pub(crate) fn new(rate: f32, n_tried: f32) -> Self {
        Self { n_tried, n_hits: n_tried * rate }
    }

    /// Learns an outcome that counts as `weight` of one. After `memory` whole ones more it counts for less than a third.
    pub(crate) fn add(&mut self, is_hit: bool, weight: f32, memory: f32) {
        let keep = 1.0 - weight / memory;
        self.n_tried = self.n_tried * keep + weight;
        self.n_hits = self.n_hits * keep + if is_hit { weight } else { 0.0 };
    }

    /// From 0 to 1.
    pub(crate) fn get(self) -> f32 {
        self.n_hits / self.n_tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_happens_and_forgets_what_was() {
        let mut rate = Rate::new(0.5, 4.0);
        assert_eq!(rate.get(), 0.5);
        (0..200).for_each(|_| rate.add(true, 1.0, 20.0));
        assert!(rate.get() > 0.99);
        let before = rate;
        (0..20).for_each(|_| rate.add(false, 1.0, 20.0));
        assert!(rate.get() < before.get() / 2.0);
        let mut slower = before;
        (0..20).for_each(|_| slower.add(false, 0.1, 20.0));
        assert!(slower.get() > rate.get(), "a part of an outcome moves it less");
    }
}
