//! Finds tokens that are one token wherever their text appears: a format's markers, and user-defined ones.

use std::collections::HashSet;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::token_table::{TokenKind, TokenTable};

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Token(u32),
}

/// Searches for a set of tokens, the longest first.
#[derive(Debug)]
pub(crate) struct TokenFinder {
    /// `None` if there is nothing to find.
    automaton: Option<AhoCorasick>,
    tokens: Vec<u32>,
}

impl TokenFinder {
    fn new(table: &TokenTable, tokens: Vec<u32>) -> Self {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|&token| table.bytes(token)))
            .ok()
            .filter(|_| !tokens.is_empty());
        Self { automaton, tokens }
    }

    /// Calls `emit` with each piece of `text`, in order; no text piece is empty.
    pub(crate) fn for_each_piece<'a>(&self, text: &'a str, mut emit: impl FnMut(Piece<'a>)) {
        let mut end_before = 0;
        for found in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            if end_before < found.start() {
                emit(Piece::Text(&text[end_before..found.start()]));
            }
            emit(Piece::Token(self.tokens[found.pattern().as_usize()]));
            end_before = found.end();
        }
        if end_before < text.len() {
            emit(Piece::Text(&text[end_before..]));
        }
    }

    /// Where tokens begin in `text`.
    fn starts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.automaton.iter().flat_map(move |automaton| automaton.find_iter(text)).map(|found| found.start())
    }
}

/// The tokens of a vocabulary that are found in text.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    /// Markers and user-defined tokens, for text that the format made.
    pub(crate) all: TokenFinder,
    /// User-defined tokens, for text that a user made.
    pub(crate) user_defined: TokenFinder,
    markers: TokenFinder,
    /// Texts of the markers.
    marker_texts: Vec<String>,
}

impl SpecialTokens {
    pub(crate) fn new(table: &TokenTable) -> Self {
        let text_of = |token: u32| String::from_utf8_lossy(table.bytes(token)).into_owned();
        let of_kind = |wanted: &[TokenKind]| -> Vec<u32> {
            // A marker of one character could not be broken up; no format has one.
            let is_long_enough = |token: u32, kind: TokenKind| {
                text_of(token).chars().count() > usize::from(kind == TokenKind::Control)
            };
            let is_wanted =
                |&(token, kind): &(u32, TokenKind)| wanted.contains(&kind) && is_long_enough(token, kind);
            table.added().filter(is_wanted).map(|(token, _)| token).collect()
        };
        let markers = of_kind(&[TokenKind::Control]);
        Self {
            marker_texts: markers.iter().copied().map(text_of).collect(),
            all: TokenFinder::new(table, of_kind(&[TokenKind::Control, TokenKind::UserDefined])),
            user_defined: TokenFinder::new(table, of_kind(&[TokenKind::UserDefined])),
            markers: TokenFinder::new(table, markers),
        }
    }

    /// The first private-use character that none of `texts` and no marker contains.
    pub(crate) fn unused_char<'a>(&'a self, texts: impl Iterator<Item = &'a str>) -> char {
        const FIRST: char = '\u{e000}';
        let texts = texts.chain(self.marker_texts.iter().map(String::as_str));
        let used: HashSet<char> = texts.flat_map(str::chars).filter(|&c| c >= FIRST).collect();
        // Text that holds every character from here on loses the first of them; it stays harmless.
        (FIRST..=char::MAX).find(|c| !used.contains(c)).unwrap_or(FIRST)
    }

    /// Puts `breaker` into `text` so that no marker is left in it, nor can be completed by what follows.
    pub(crate) fn break_markers(&self, text: &str, breaker: char) -> String {
        let mut text = text.replace(breaker, "");
        loop {
            // Breaking one marker can leave another that overlapped it: search again until none is left.
            let mut broken = String::new();
            let mut end_before = 0;
            for start in self.markers.starts(&text) {
                let first = text[start..].chars().next().map_or(0, char::len_utf8);
                broken.push_str(&text[end_before..start + first]);
                broken.push(breaker);
                end_before = start + first;
            }
            if end_before == 0 {
                break;
            }
            broken.push_str(&text[end_before..]);
            text = broken;
        }
        // A beginning of a marker at the end. Templates often trim, so the end before white space counts
        // too; the breaker goes right there, where it changes nothing that a trim would do.
        for end in [text.len(), text.trim_end().len()] {
            if self.marker_texts.iter().any(|marker| ends_in_part_of(&text[..end], marker)) {
                text.insert(end, breaker);
            }
        }
        text
    }
}

/// Whether `text` ends in a proper beginning of `marker`.
fn ends_in_part_of(text: &str, marker: &str) -> bool {
    marker.char_indices().skip(1).any(|(end, _)| text.ends_with(&marker[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> (TokenTable, SpecialTokens) {
        let mut table = TokenTable::with_capacity(8);
        for (text, kind) in [
            ("a", TokenKind::Normal),
            ("<|end|>", TokenKind::Control),
            ("<|end|>x", TokenKind::Control),
            ("<tool>", TokenKind::UserDefined),
            ("ab", TokenKind::Control),
            ("bc", TokenKind::Control),
            ("", TokenKind::Control),
            ("<", TokenKind::Control),
        ] {
            table.push(text, kind);
        }
        let special = SpecialTokens::new(&table);
        (table, special)
    }

    fn pieces<'a>(finder: &TokenFinder, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        finder.for_each_piece(text, |piece| pieces.push(piece));
        pieces
    }

    #[test]
    fn takes_the_longest_marker() {
        let (_, special) = tokens();
        assert_eq!(
            pieces(&special.all, "x<|end|>x<tool><|end|>"),
            [Piece::Text("x"), Piece::Token(2), Piece::Token(3), Piece::Token(1)]
        );
    }

    #[test]
    fn user_text_has_no_markers() {
        let (_, special) = tokens();
        assert_eq!(pieces(&special.user_defined, "<|end|><tool>"), [Piece::Text("<|end|>"), Piece::Token(3)]);
    }

    #[test]
    fn broken_text_has_no_marker_even_where_they_overlap() {
        let (_, special) = tokens();
        for text in ["abc", "<|end|>", "<|end|>x", "ababcbc", "q<|en", "<", "x<|end|>\n <|e  \n"] {
            let broken = special.break_markers(text, '#');
            assert_eq!(broken.replace('#', ""), text);
            for follow in ["", "d|>", "|end|>", "|>", "b", "<|end|>"] {
                let joined = broken.clone() + follow;
                let trimmed = broken.trim().to_string() + follow;
                for joined in [joined, trimmed] {
                    let found: Vec<_> = special.markers.starts(&joined).collect();
                    let own = joined.len() - follow.len();
                    assert!(
                        found.iter().all(|&start| start >= own),
                        "{joined:?} holds a marker at {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn plain_text_is_left_alone() {
        let (_, special) = tokens();
        assert_eq!(special.break_markers(" if x > 3 { y } \n", '#'), " if x > 3 { y } \n");
    }

    #[test]
    fn unused_char_is_in_no_text() {
        let (_, special) = tokens();
        assert_eq!(special.unused_char(["a\u{e000}", "\u{e001}"].into_iter()), '\u{e002}');
    }
}
