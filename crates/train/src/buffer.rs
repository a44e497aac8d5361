//! What there is to learn from: the latest answers, and a few of all that went before.

use std::collections::VecDeque;

use crate::{Random, Sample};

/// How much a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    /// Samples.
    pub n_samples: usize,
    /// Bytes of all samples.
    pub n_bytes: usize,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { n_samples: 200, n_bytes: 96 << 20 }
    }
}

/// A sample with what decides how often it is drawn.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What is learnt from.
    pub sample: Sample,
    /// For each of [`Sample::bases`], how many tokens in a row the drafter guessed right when it last tried.
    pub n_right: Vec<usize>,
    /// How many samples came before it.
    arrival: u64,
}

impl Kept {
    /// Share of its tokens that the drafter would guess wrong.
    fn surprise(&self, n_steps: usize) -> f64 {
        let n = (self.n_right.len() * n_steps).max(1);
        1.0 - self.n_right.iter().sum::<usize>() as f64 / n as f64
    }

    /// Draws up to `n` of its bases, as places in [`Self::n_right`], ascending: those where the drafter errs within
    /// `n_steps` tokens, and of the others every `n_others`th, so that it does not unlearn them.
    pub fn draw(&self, n: usize, n_steps: usize, n_others: usize, random: &mut Random) -> Vec<usize> {
        let mut drawn: Vec<usize> = (0..self.n_right.len())
            .filter(|&place| self.n_right[place] < n_steps || random.below(n_others) == 0)
            .collect();
        // A stretch of them: neighbours share what they see.
        if drawn.len() > n {
            let first = random.below(drawn.len() - n + 1);
            drawn.drain(..first);
            drawn.truncate(n);
        }
        drawn
    }
}

/// Samples by arrival. The latest make a ring; of those that fall out of it, a *reservoir* (Vitter 1985) keeps each with
/// the same probability, so that old domains are not forgotten.
#[derive(Debug)]
pub struct TrainingBuffer {
    limits: BufferLimits,
    recent: VecDeque<Kept>,
    reservoir: Vec<Kept>,
    /// Samples that fell out of the ring.
    n_fallen: u64,
    n_arrived: u64,
    n_bytes: usize,
    random: Random,
}

/// Share of the limits that is the reservoir's.
const RESERVOIR_SHARE: usize = 4;
/// How much less a sample is drawn than one that came after it.
const FADE: f64 = 0.97;

impl TrainingBuffer {
    /// An empty buffer; `seed` decides what is drawn and kept.
    pub fn new(limits: BufferLimits, seed: u64) -> Self {
        Self {
            limits,
            recent: VecDeque::new(),
            reservoir: Vec::new(),
            n_fallen: 0,
            n_arrived: 0,
            n_bytes: 0,
            random: Random::new(seed),
        }
    }

    /// Samples in it.
    pub fn len(&self) -> usize {
        self.recent.len() + self.reservoir.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its samples.
    pub fn size_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Takes a sample in, with how far the drafter guesses it; older ones make room.
    pub fn add(&mut self, sample: Sample, n_right: Vec<usize>) {
        self.n_bytes += sample.size_bytes();
        self.recent.push_back(Kept { sample, n_right, arrival: self.n_arrived });
        self.n_arrived += 1;
        let n_recent = self.limits.n_samples - self.limits.n_samples / RESERVOIR_SHARE;
        while self.recent.len() > n_recent.max(1) || self.n_bytes > self.limits.n_bytes {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.n_fallen += 1;
            self.reserve(oldest);
            if self.recent.is_empty() {
                break;
            }
        }
        // The ring alone may fill the bytes.
        while self.n_bytes > self.limits.n_bytes && !self.reservoir.is_empty() {
            let index = self.random.below(self.reservoir.len());
            self.n_bytes -= self.reservoir.swap_remove(index).sample.size_bytes();
        }
    }

    fn reserve(&mut self, kept: Kept) {
        let n_slots = self.limits.n_samples / RESERVOIR_SHARE;
        let slot_bytes = self.limits.n_bytes / RESERVOIR_SHARE;
        let bytes: usize = self.reservoir.iter().map(|kept| kept.sample.size_bytes()).sum();
        let has_room = self.reservoir.len() < n_slots && bytes + kept.sample.size_bytes() <= slot_bytes;
        if has_room {
            self.reservoir.push(kept);
            return;
        }
        let drawn = (self.random.uniform() * self.n_fallen as f64) as usize;
        let dropped = match self.reservoir.get_mut(drawn) {
            Some(slot) => std::mem::replace(slot, kept),
            None => kept,
        };
        self.n_bytes -= dropped.sample.size_bytes();
    }

    /// Draws a sample: rather one where the drafter guesses few of `n_steps` tokens, rather one that came late.
    pub fn draw(&mut self, n_steps: usize) -> Option<&mut Kept> {
        let n_arrived = self.n_arrived;
        let weight = |kept: &Kept| {
            let age = (n_arrived - kept.arrival).min(1000) as i32;
            (0.1 + kept.surprise(n_steps)) * FADE.powi(age)
        };
        let total: f64 = self.recent.iter().chain(&self.reservoir).map(weight).sum();
        let mut left = self.random.uniform() * total;
        let all = self.recent.iter_mut().chain(&mut self.reservoir);
        let mut last = None;
        for kept in all {
            left -= weight(kept);
            last = Some(kept);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(position: usize, n_tokens: usize) -> Sample {
        Sample { position, tokens: vec![0; n_tokens], ..Sample::default() }
    }

    #[test]
    fn holds_no_more_than_it_may() {
        let limits = BufferLimits { n_samples: 20, n_bytes: 5 * 1000 };
        let mut buffer = TrainingBuffer::new(limits, 3);
        for i in 0..500 {
            buffer.add(sample(i, 50 + i % 90), vec![1]);
            let bytes = buffer.recent.iter().chain(&buffer.reservoir).map(|kept| kept.sample.size_bytes());
            assert_eq!(bytes.sum::<usize>(), buffer.size_bytes());
            assert!(buffer.len() <= 20 && buffer.size_bytes() <= 5000, "{}", buffer.size_bytes());
            assert_eq!(buffer.recent.back().unwrap().sample.position, i);
        }
    }

    #[test]
    fn one_that_is_too_large_stays_alone() {
        let mut buffer = TrainingBuffer::new(BufferLimits { n_samples: 4, n_bytes: 100 }, 3);
        buffer.add(sample(0, 10), vec![1]);
        buffer.add(sample(1, 100), vec![1]);
        assert!(buffer.len() <= 1);
    }

    #[test]
    fn the_reservoir_keeps_all_ages_alike() {
        let mut counts = [0; 10];
        for seed in 0..200 {
            let mut buffer = TrainingBuffer::new(BufferLimits { n_samples: 40, n_bytes: 1 << 20 }, seed);
            (0..1000).for_each(|i| buffer.add(sample(i, 1), vec![1]));
            assert_eq!(buffer.recent.len(), 30);
            buffer.reservoir.iter().for_each(|kept| counts[kept.sample.position / 100] += 1);
        }
        // 200 · 10 of 970 fallen samples: 206 of each hundred, 144 of the last.
        assert!(counts.iter().all(|count| (100..280).contains(count)), "{counts:?}");
    }

    #[test]
    fn places_where_the_drafter_errs_are_drawn_and_few_others() {
        let n_right = (0..1000).map(|i| if i % 10 == 0 { 1 } else { 3 }).collect();
        let kept = Kept { sample: Sample::default(), n_right, arrival: 0 };
        let mut random = Random::new(2);
        let drawn = kept.draw(1000, 3, 9, &mut random);
        assert!((0..1000).step_by(10).all(|place| drawn.contains(&place)));
        assert!((160..240).contains(&drawn.len()), "{}", drawn.len());
        let few = kept.draw(16, 3, 9, &mut random);
        assert!(few.len() == 16 && few.is_sorted());
        assert!(kept.draw(16, 1, 9, &mut random).iter().all(|place| kept.n_right[*place] >= 1));
    }

    #[test]
    fn a_seed_draws_the_same_and_surprise_is_drawn_more() {
        let drawn = |seed: u64| {
            let mut buffer = TrainingBuffer::new(BufferLimits::default(), seed);
            (0..10).for_each(|i| buffer.add(sample(i, 1), vec![if i == 4 { 0 } else { 3 }]));
            (0..300).map(|_| buffer.draw(3).unwrap().sample.position).collect::<Vec<_>>()
        };
        assert_eq!(drawn(5), drawn(5));
        assert_ne!(drawn(5), drawn(6));
        let n_surprising = drawn(5).iter().filter(|position| **position == 4).count();
        assert!((100..220).contains(&n_surprising), "{n_surprising}");
    }
}
