//! The bytes of every token, and the way back from bytes to a token.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::byte_alphabet;

/// What a token is for; the values are GGUF's `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Text, reached by merging bytes.
    Normal,
    /// A marker of the format, never part of a text.
    Control,
    /// Text that is one token wherever it appears, such as `<tool_call>`.
    UserDefined,
    /// Fills up the vocabulary.
    Unused,
}

impl TokenKind {
    /// From the number in a file and the token's text.
    ///
    /// A token that looks like `<|…|>` is a marker even where a converter calls it user-defined, as it did
    /// with fill-in-the-middle markers.
    pub(crate) fn from_gguf(token_type: i32, text: &str) -> Self {
        let is_marker = text.len() > 4 && text.starts_with("<|") && text.ends_with("|>");
        match token_type {
            2 | 3 => Self::Control,
            4 if is_marker => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            _ => Self::Normal,
        }
    }
}

/// All tokens of a vocabulary: bytes in one buffer, and a hash table over those of normal tokens.
#[derive(Debug, Clone)]
pub(crate) struct TokenTable {
    bytes: Vec<u8>,
    /// Where each token's bytes end; they begin where the one before ends.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    normal: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl TokenTable {
    pub(crate) fn with_capacity(n_tokens: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(n_tokens * 8),
            ends: Vec::with_capacity(n_tokens),
            kinds: Vec::with_capacity(n_tokens),
            normal: HashTable::with_capacity(n_tokens),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Appends a token as the file spells it. Of normal tokens that spell the same the first is found.
    pub(crate) fn push(&mut self, text: &str, kind: TokenKind) {
        let start = self.bytes.len();
        match kind {
            TokenKind::Normal => byte_alphabet::push_bytes(text, &mut self.bytes),
            _ => self.bytes.extend_from_slice(text.as_bytes()),
        }
        let token = self.ends.len() as u32;
        self.ends.push(self.bytes.len() as u32);
        self.kinds.push(kind);
        if kind == TokenKind::Normal {
            let Self { bytes, ends, normal, hasher, .. } = self;
            let slice = &bytes[start..];
            let is_it = |&other: &u32| bytes_of(bytes, ends, other) == slice;
            let rehash = |&other: &u32| hasher.hash_one(bytes_of(bytes, ends, other));
            if let Entry::Vacant(place) = normal.entry(hasher.hash_one(slice), is_it, rehash) {
                place.insert(token);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of `token`; empty if there is none.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        if (token as usize) < self.ends.len() { bytes_of(&self.bytes, &self.ends, token) } else { &[] }
    }

    pub(crate) fn kind(&self, token: u32) -> TokenKind {
        self.kinds.get(token as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// The normal token with exactly these bytes.
    pub(crate) fn find_normal(&self, bytes: &[u8]) -> Option<u32> {
        let is_it = |&token: &u32| bytes_of(&self.bytes, &self.ends, token) == bytes;
        self.normal.find(self.hasher.hash_one(bytes), is_it).copied()
    }

    /// Tokens of other kinds, in the order of ids.
    pub(crate) fn added(&self) -> impl Iterator<Item = (u32, TokenKind)> + '_ {
        let is_added = |kind: &TokenKind| matches!(kind, TokenKind::Control | TokenKind::UserDefined);
        (0u32..).zip(self.kinds.iter().copied()).filter(move |(_, kind)| is_added(kind))
    }
}

fn bytes_of<'a>(bytes: &'a [u8], ends: &[u32], token: u32) -> &'a [u8] {
    let start = if token == 0 { 0 } else { ends[token as usize - 1] };
    &bytes[start as usize..ends[token as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_normal_tokens_by_their_bytes_only() {
        let mut table = TokenTable::with_capacity(4);
        table.push("Ġa", TokenKind::Normal);
        table.push("<|x|>", TokenKind::Control);
        table.push("b", TokenKind::Normal);
        table.push("b", TokenKind::Normal);
        assert_eq!(table.bytes(0), b" a");
        assert_eq!(table.bytes(1), b"<|x|>");
        assert_eq!(table.bytes(9), b"");
        assert_eq!(table.find_normal(b" a"), Some(0));
        assert_eq!(table.find_normal(b"<|x|>"), None);
        assert_eq!(table.find_normal(b"b"), Some(2), "the first of two");
        assert_eq!(table.added().collect::<Vec<_>>(), [(1, TokenKind::Control)]);
    }

    #[test]
    fn markers_are_control_whatever_the_file_says() {
        assert_eq!(TokenKind::from_gguf(4, "<|fim_pad|>"), TokenKind::Control);
        assert_eq!(TokenKind::from_gguf(4, "<tool_call>"), TokenKind::UserDefined);
        assert_eq!(TokenKind::from_gguf(1, "<|x|>"), TokenKind::Normal);
        assert_eq!(TokenKind::from_gguf(99, "x"), TokenKind::Normal);
    }
}
