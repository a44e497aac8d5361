//! Where a context occurred before: an array of positions, sorted by the tokens before each.
//!
//! It is a suffix array of the reversed text (Manber and Myers 1993; the order is that of the
//! Burrows–Wheeler transform). A plain suffix array would order a position by what *follows*, which is not known
//! yet at the end of a text; this one orders by what came *before*, and so
//! - a token is found as soon as it is there, and cutting the text back only drops positions;
//! - one binary search finds the longest suffix of a context that occurred before, and all shorter suffixes
//!   are ever larger ranges around it.

use std::cmp::Ordering;

/// Ends a sequence: nothing is matched across it, and it is never proposed.
pub(crate) const SEPARATOR: u32 = u32::MAX;

/// Tokens that a context is compared over.
pub(super) const MAX_CONTEXT: usize = 24;

/// Positions sorted in one go that are worth a table of their keys.
const MANY: usize = 1024;

/// Tokens of many sequences, and an array that finds contexts in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SuffixIndex {
    tokens: Vec<u32>,
    /// Positions of tokens but separators, by their contexts: nearest token first, ties by position.
    sorted: Vec<u32>,
    /// Positions about to be merged; kept for its memory.
    batch: Vec<u32>,
}

impl SuffixIndex {
    /// An index of `tokens`, sequences that end in [`SEPARATOR`].
    pub(crate) fn new(tokens: &[u32]) -> Self {
        let mut index = Self::default();
        index.extend(tokens);
        index
    }

    /// An index of `tokens`, the order of the first `n_sorted` of which was computed before.
    ///
    /// Checks what could make a lookup fail, not the order itself, which would take as long as sorting.
    pub(super) fn with_order(mut tokens: Vec<u32>, sorted: Vec<u32>, n_sorted: usize) -> Self {
        let Some(covered) = tokens.get(..n_sorted) else { return Self::new(&tokens) };
        let n_indexed = covered.iter().filter(|&&token| token != SEPARATOR).count();
        let is_token = |&at: &u32| covered.get(at as usize).is_some_and(|&token| token != SEPARATOR);
        if sorted.len() != n_indexed || !sorted.iter().all(is_token) {
            return Self::new(&tokens);
        }
        let rest = tokens.split_off(n_sorted);
        let mut index = Self { tokens, sorted, batch: Vec::new() };
        index.extend(&rest);
        index
    }

    /// All tokens, separators included.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions of the tokens in the order of their contexts.
    pub(crate) fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// Appends tokens to the last sequence.
    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let is_token = |&position: &usize| self.tokens[position] != SEPARATOR;
        batch.extend((start..self.tokens.len()).filter(is_token).map(|position| position as u32));
        self.sort(&mut batch);
        self.merge(&batch);
        batch.clear();
        if batch.capacity() > MANY {
            batch = Vec::new();
        }
        self.batch = batch;
    }

    /// Drops all but the first `len` tokens.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.tokens.len() {
            self.tokens.truncate(len);
            self.sorted.retain(|&position| (position as usize) < len);
        }
    }

    /// Drops the first `len` tokens, whole sequences with their separators.
    pub(crate) fn drop_front(&mut self, len: usize) {
        let len = len.min(self.tokens.len());
        debug_assert!(len == 0 || self.tokens[len - 1] == SEPARATOR, "a sequence is dropped whole");
        self.tokens.drain(..len);
        self.sorted.retain(|&position| position as usize >= len);
        self.sorted.iter_mut().for_each(|position| *position -= len as u32);
    }

    /// The first entry whose context is not before `context` in the order.
    pub(super) fn find(&self, context: &[u32]) -> usize {
        self.sorted.partition_point(|&position| self.compare(position as usize, context).0 == Ordering::Less)
    }

    /// How many tokens before entry `at` are the last ones of `context`, up to [`MAX_CONTEXT`].
    pub(super) fn match_len(&self, at: usize, context: &[u32]) -> usize {
        self.compare(self.sorted[at] as usize, context).1
    }

    /// Order of the text before `position` and of `context`, and how many of their last tokens are equal.
    fn compare(&self, position: usize, context: &[u32]) -> (Ordering, usize) {
        let before = &self.tokens[..position];
        for i in 1..=MAX_CONTEXT {
            let (found, wanted) = (nth_last(before, i), nth_last(context, i));
            if found != wanted || found == 0 {
                return (found.cmp(&wanted), i - 1);
            }
        }
        (Ordering::Equal, MAX_CONTEXT)
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        self.compare(a as usize, &self.tokens[..b as usize]).0.then(a.cmp(&b))
    }

    fn sort(&self, positions: &mut [u32]) {
        if positions.len() < MANY {
            positions.sort_unstable_by(|&a, &b| self.order(a, b));
            return;
        }
        // Two tokens decide most comparisons; beside the position they need no look into the text.
        let key = |position: u32| {
            let before = &self.tokens[..position as usize];
            let last = nth_last(before, 1);
            let second = if last == 0 { 0 } else { nth_last(before, 2) };
            (u64::from(last) << 32) | u64::from(second)
        };
        let mut keyed: Vec<(u64, u32)> =
            positions.iter().map(|&position| (key(position), position)).collect();
        keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.order(a.1, b.1)));
        positions.iter_mut().zip(keyed).for_each(|(position, (_, sorted))| *position = sorted);
    }

    /// Merges sorted new positions from the back, so that each entry moves once.
    fn merge(&mut self, batch: &[u32]) {
        let mut end = self.sorted.len();
        self.sorted.resize(end + batch.len(), 0);
        for (n_before, &position) in batch.iter().enumerate().rev() {
            let at =
                self.sorted[..end].partition_point(|&other| self.order(other, position) == Ordering::Less);
            self.sorted.copy_within(at..end, at + n_before + 1);
            self.sorted[at + n_before] = position;
            end = at;
        }
    }
}

/// The `i`-th last token plus 1, or 0 if the sequence has fewer.
fn nth_last(tokens: &[u32], i: usize) -> u32 {
    // A separator, u32::MAX, becomes 0 too.
    tokens.len().checked_sub(i).map_or(0, |at| tokens[at].wrapping_add(1))
}
