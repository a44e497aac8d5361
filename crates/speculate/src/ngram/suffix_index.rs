//! Where sequences of tokens occurred before: a suffix array that grows.
//!
//! Suffixes are sorted by their first [`LOOK`] tokens. New ones are merged in by the batch; the newest, whose
//! tokens are not all there yet or that wait for their batch, are found by looking at each.

use std::cmp::Ordering;

/// Tokens by which suffixes are sorted: a match and what follows it must fit.
const LOOK: usize = 24;
/// Longest match.
pub(super) const MAX_MATCH: usize = 16;
/// Suffixes merged at once: merging moves the whole array.
const BATCH: usize = 64;
/// Occurrences that are counted; of more, so many at equal distances.
const MAX_COUNTED: usize = 64;
/// Stands between sequences; no token has this id.
pub(crate) const SEPARATOR: u32 = u32::MAX;

/// Tokens of one or many sequences.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SuffixIndex {
    tokens: Vec<u32>,
    /// Starts of suffixes, sorted.
    sorted: Vec<u32>,
    /// All starts below this are in `sorted`.
    n_sorted: usize,
}

/// A token that followed a match, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Follower {
    pub(crate) token: u32,
    pub(crate) count: f32,
}

impl SuffixIndex {
    /// Its tokens, sequences with separators between.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// An index of `tokens`, of whose suffixes `sorted` are sorted already: those of a beginning.
    pub(crate) fn with_sorted(tokens: Vec<u32>, sorted: Vec<u32>) -> Self {
        let n_sorted = sorted.len();
        let mut index = Self { tokens, sorted, n_sorted };
        index.extend(&[]);
        index
    }

    /// Whether `sorted` can be the sorted suffixes of a beginning of so many tokens: each start once.
    pub(crate) fn is_sound(sorted: &[u32], n_tokens: usize) -> bool {
        let mut seen = vec![false; sorted.len()];
        sorted.len() + LOOK <= n_tokens + 1
            && sorted
                .iter()
                .all(|&start| seen.get_mut(start as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
    }

    /// Starts of the sorted suffixes.
    pub(crate) fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// Tokens from the first that the sorted suffixes are made of.
    pub(crate) fn n_covered(&self) -> usize {
        if self.n_sorted == 0 { 0 } else { self.n_sorted + LOOK - 1 }
    }

    /// Appends tokens.
    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
        if self.tokens.len() >= self.n_sorted + LOOK + BATCH {
            self.merge();
        }
    }

    /// Drops all tokens from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.tokens.len() {
            return;
        }
        self.tokens.truncate(len);
        let n_sorted = (len + 1).saturating_sub(LOOK).min(self.n_sorted);
        if n_sorted < self.n_sorted {
            self.sorted.retain(|&start| (start as usize) < n_sorted);
            self.n_sorted = n_sorted;
        }
    }

    /// Sorts the suffixes that have all their tokens into the array.
    fn merge(&mut self) {
        let end = (self.tokens.len() + 1).saturating_sub(LOOK);
        let tokens = &self.tokens;
        let key = |start: u32| &tokens[start as usize..start as usize + LOOK];
        let order = |a: u32, b: u32| key(a).cmp(key(b)).then(a.cmp(&b));
        let mut new: Vec<u32> = (self.n_sorted as u32..end as u32).collect();
        new.sort_unstable_by(|&a, &b| order(a, b));
        let (mut old, mut at) = (self.sorted.len(), self.sorted.len() + new.len());
        self.sorted.resize(at, 0);
        while let Some(&start) = new.last() {
            at -= 1;
            if old > 0 && order(self.sorted[old - 1], start) == Ordering::Greater {
                old -= 1;
                self.sorted[at] = self.sorted[old];
            } else {
                self.sorted[at] = start;
                new.pop();
            }
        }
        self.n_sorted = end;
    }

    /// The longest end of `context`, up to `longest` tokens, that occurred before, and into `followers` what came after
    /// it, most frequent first. 0 if there is none.
    pub(crate) fn find(&self, context: &[u32], longest: usize, followers: &mut Vec<Follower>) -> usize {
        followers.clear();
        let longest = longest.min(MAX_MATCH).min(context.len());
        let newest = self.longest_newest(context, longest);
        // A longer end occurs no more often than a shorter one.
        let (mut low, mut high) = (newest, longest + 1);
        let mut probe = longest;
        while low + 1 < high {
            match self.range(&context[context.len() - probe..]) {
                (start, end) if start < end => low = probe,
                _ => high = probe,
            }
            probe = (low + high) / 2;
        }
        if low == 0 {
            return 0;
        }
        self.count(&context[context.len() - low..], followers);
        // What followed may have been the end of a sequence.
        if followers.is_empty() { 0 } else { low }
    }

    /// The longest match whose start is not sorted yet.
    fn longest_newest(&self, context: &[u32], longest: usize) -> usize {
        let mut best = 0;
        for next in self.n_sorted + 1..self.tokens.len() {
            let most = longest.min(next - self.n_sorted);
            let ends = self.tokens[..next].iter().rev().zip(context.iter().rev());
            best = best.max(ends.take(most).take_while(|(a, b)| a == b).count());
        }
        best
    }

    /// The sorted suffixes that begin with `pattern`.
    fn range(&self, pattern: &[u32]) -> (usize, usize) {
        let begin = |start: u32| &self.tokens[start as usize..start as usize + pattern.len()];
        let start = self.sorted.partition_point(|&at| begin(at) < pattern);
        let end = start + self.sorted[start..].partition_point(|&at| begin(at) == pattern);
        (start, end)
    }

    fn count(&self, pattern: &[u32], followers: &mut Vec<Follower>) {
        let mut add = |token: u32, count: f32| {
            if token == SEPARATOR {
                return;
            }
            match followers.iter_mut().find(|follower| follower.token == token) {
                Some(follower) => follower.count += count,
                None => followers.push(Follower { token, count }),
            }
        };
        let (start, end) = self.range(pattern);
        let n_counted = (end - start).min(MAX_COUNTED);
        for i in 0..n_counted {
            let at = self.sorted[start + i * (end - start) / n_counted] as usize;
            add(self.tokens[at + pattern.len()], (end - start) as f32 / n_counted as f32);
        }
        for at in self.n_sorted..(self.tokens.len()).saturating_sub(pattern.len()) {
            if self.tokens[at..].starts_with(pattern) {
                add(self.tokens[at + pattern.len()], 1.0);
            }
        }
        followers.sort_unstable_by(|a, b| b.count.total_cmp(&a.count).then(a.token.cmp(&b.token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by looking everywhere.
    fn naive(tokens: &[u32], context: &[u32]) -> (usize, Vec<Follower>) {
        for len in (1..=MAX_MATCH.min(context.len())).rev() {
            let pattern = &context[context.len() - len..];
            let mut followers: Vec<Follower> = Vec::new();
            for at in 0..tokens.len().saturating_sub(len) {
                if tokens[at..].starts_with(pattern) && tokens[at + len] != SEPARATOR {
                    let token = tokens[at + len];
                    match followers.iter_mut().find(|follower| follower.token == token) {
                        Some(follower) => follower.count += 1.0,
                        None => followers.push(Follower { token, count: 1.0 }),
                    }
                }
            }
            followers.sort_by(|a, b| b.count.total_cmp(&a.count).then(a.token.cmp(&b.token)));
            if !followers.is_empty() {
                return (len, followers);
            }
        }
        (0, Vec::new())
    }

    proptest! {
        #[test]
        fn finds_what_looking_everywhere_finds(
            parts in prop::collection::vec(prop::collection::vec(0u32..4, 1..60), 1..9),
            context in prop::collection::vec(0u32..4, 0..20),
        ) {
            let mut index = SuffixIndex::default();
            for part in &parts {
                index.extend(part);
            }
            let mut followers = Vec::new();
            let len = index.find(&context, MAX_MATCH, &mut followers);
            let (want_len, want) = naive(index.tokens(), &context);
            // The end of all tokens has no follower: then a shorter match is as good.
            prop_assert!(len == want_len || len == 0, "{len} {want_len}");
            if len == want_len && want.iter().map(|f| f.count).sum::<f32>() < MAX_COUNTED as f32 {
                prop_assert_eq!(followers, want);
            }
        }

        #[test]
        fn truncating_equals_a_fresh_index(
            tokens in prop::collection::vec(0u32..3, 1..300),
            len in 0usize..300,
            more in prop::collection::vec(0u32..3, 0..200),
            context in prop::collection::vec(0u32..3, 1..20),
        ) {
            let mut index = SuffixIndex::default();
            index.extend(&tokens);
            index.truncate(len);
            index.extend(&more);
            let mut fresh = SuffixIndex::default();
            fresh.extend(&tokens[..len.min(tokens.len())]);
            fresh.extend(&more);
            let (mut a, mut b) = (Vec::new(), Vec::new());
            prop_assert_eq!(index.tokens(), fresh.tokens());
            prop_assert_eq!(index.find(&context, 16, &mut a), fresh.find(&context, 16, &mut b));
            if a.iter().map(|f| f.count).sum::<f32>() < MAX_COUNTED as f32 {
                prop_assert_eq!(a, b);
            }
        }
    }
}
