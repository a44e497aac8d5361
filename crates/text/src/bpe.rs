//! Byte pair encoding of one word: bytes are joined by the best-ranked merge until none applies.
//!
//! Works on ids alone (arXiv 1508.07909; a merge is a pair of ids, its rank and the id it makes), so that
//! loading hashes each string once and encoding touches no string. The `tokenizers` crate's own model wants
//! every token and both sides of every merge as a `String` first; for the 151,936 tokens of Qwen2.5 that takes
//! 2.9 times as long: 102–107 ms against 35–38 ms (best of 10, three runs, one thread of an EPYC, 2026-11;
//! `examples/against_tokenizers.rs`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use crate::byte_alphabet;
use crate::error::printable;
use crate::token_table::{TokenKind, TokenTable};
use crate::{Error, Result};

/// Stands for a byte that the vocabulary does not have.
const UNKNOWN: u32 = u32::MAX;
/// No neighbour.
const END: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    token: u32,
}

/// The merges of a vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    merges: HashMap<(u32, u32), Merge>,
    byte_tokens: [u32; 256],
    /// Whether a word that is a token is taken whole, whatever the merges say (llama 3).
    is_whole_word_first: bool,
}

/// A token of the word so far, in a doubly linked list.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    token: u32,
    prev: u32,
    next: u32,
}

/// A merge that might apply: by rank, then from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    at: u32,
    left: u32,
    right: u32,
    token: u32,
}

/// Buffers of the encoding, reused from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

impl Bpe {
    /// Resolves merges, best first, each given by its two sides as the file spells them.
    pub(crate) fn new<'a>(
        table: &TokenTable,
        merges: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        is_whole_word_first: bool,
    ) -> Result<Self> {
        let byte_tokens = std::array::from_fn(|byte| table.find_normal(&[byte as u8]).unwrap_or(UNKNOWN));
        let token_of = |bytes: &[u8]| match *bytes {
            [byte] => Some(byte_tokens[byte as usize]).filter(|&token| token != UNKNOWN),
            _ => table.find_normal(bytes),
        };
        let mut map = HashMap::with_capacity(merges.len());
        let mut joined = Vec::new();
        for (index, (left, right)) in merges.enumerate() {
            let bad_merge = move || Error::BadMerge { index, merge: printable(&format!("{left} {right}")) };
            joined.clear();
            byte_alphabet::push_bytes(left, &mut joined);
            let left_len = joined.len();
            byte_alphabet::push_bytes(right, &mut joined);
            let (left, right) = joined.split_at(left_len);
            let (Some(left), Some(right)) = (token_of(left), token_of(right)) else {
                return Err(bad_merge());
            };
            // Vocabularies list the 256 bytes, then one token a merge: a guess that mostly saves a search.
            let guess = 256 + index as u32;
            let is_guess_right = table.kind(guess) == TokenKind::Normal && table.bytes(guess) == joined;
            let token = if is_guess_right { Some(guess) } else { table.find_normal(&joined) };
            let merge = Merge { rank: index as u32, token: token.ok_or_else(bad_merge)? };
            map.entry((left, right)).or_insert(merge);
        }
        Ok(Self { merges: map, byte_tokens, is_whole_word_first })
    }

    /// Appends the tokens of `word`. A byte that the vocabulary does not have is left out.
    pub(crate) fn encode(&self, table: &TokenTable, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        if let [byte] = word {
            return out.extend(Some(self.byte_tokens[*byte as usize]).filter(|&token| token != UNKNOWN));
        }
        if self.is_whole_word_first
            && let Some(token) = table.find_normal(word)
        {
            return out.push(token);
        }
        let Scratch { symbols, queue } = scratch;
        symbols.clear();
        queue.clear();
        symbols.extend((0u32..).zip(word).map(|(i, &byte)| Symbol {
            token: self.byte_tokens[byte as usize],
            prev: i.wrapping_sub(1),
            next: if i as usize + 1 < word.len() { i + 1 } else { END },
        }));
        for at in 0..symbols.len() as u32 {
            self.queue_merge(symbols, queue, at);
        }
        while let Some(Reverse(best)) = queue.pop() {
            let left = symbols[best.at as usize];
            let is_current = left.token == best.left
                && left.next != END
                && symbols[left.next as usize].token == best.right;
            if !is_current {
                continue;
            }
            let after = symbols[left.next as usize].next;
            symbols[left.next as usize].token = UNKNOWN;
            symbols[best.at as usize] = Symbol { token: best.token, prev: left.prev, next: after };
            if after != END {
                symbols[after as usize].prev = best.at;
            }
            self.queue_merge(symbols, queue, best.at);
            if left.prev != END {
                self.queue_merge(symbols, queue, left.prev);
            }
        }
        // Joined symbols are UNKNOWN, like bytes without a token: what is left is the result, in order.
        out.extend(symbols.iter().map(|symbol| symbol.token).filter(|&token| token != UNKNOWN));
    }

    fn queue_merge(&self, symbols: &[Symbol], queue: &mut BinaryHeap<Reverse<Candidate>>, at: u32) {
        let left = symbols[at as usize];
        if left.next == END {
            return;
        }
        let right = symbols[left.next as usize].token;
        if let Some(merge) = self.merges.get(&(left.token, right)) {
            queue.push(Reverse(Candidate {
                rank: merge.rank,
                at,
                left: left.token,
                right,
                token: merge.token,
            }));
        }
    }
}
