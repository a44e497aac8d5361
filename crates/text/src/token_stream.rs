//! Tokens as they come, as whole characters.

use crate::Tokenizer;

/// Turns tokens into text piece by piece and never cuts a character in two.
///
/// Bytes of an incomplete character are held back until the rest comes. Bytes that cannot become UTF-8
/// turn into U+FFFD as soon as that is certain; those still held at the end do in [`Self::finish`]. Markers
/// give no text.
#[derive(Debug, Clone, Default)]
pub struct TokenStream {
    /// Bytes of an incomplete character: at most three.
    pending: Vec<u8>,
    text: String,
}

impl TokenStream {
    /// A stream at its start.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text that `token` completes; empty for a marker or a part of a character.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> &str {
        let bytes = if tokenizer.is_marker(token) { &[] } else { tokenizer.token_bytes(token) };
        self.push_bytes(bytes)
    }

    /// The text that `bytes` complete.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        self.pending.extend_from_slice(bytes);
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text.push_str(std::str::from_utf8(valid).expect("checked just before"));
                    rest = after;
                    let Some(n_invalid) = error.error_len() else { break };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[n_invalid..];
                }
            }
        }
        let n_done = self.pending.len() - rest.len();
        self.pending.drain(..n_done);
        &self.text
    }

    /// Ends the stream: U+FFFD if bytes of an incomplete character are left, else nothing.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holds_back_a_split_character() {
        let mut stream = TokenStream::new();
        assert_eq!(stream.push_bytes(b"a\xe6"), "a");
        assert_eq!(stream.push_bytes(b"\x97"), "");
        assert_eq!(stream.push_bytes(b"\xa5b"), "日b");
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn replaces_what_can_never_be_text() {
        let mut stream = TokenStream::new();
        assert_eq!(stream.push_bytes(b"\xffa\xe6"), "\u{fffd}a");
        assert_eq!(stream.push_bytes(b"b\xf0\x9f"), "\u{fffd}b");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_lossy_text(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..20)) {
            let mut stream = TokenStream::new();
            let mut text = String::new();
            for chunk in &chunks {
                text.push_str(stream.push_bytes(chunk));
            }
            text.push_str(stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&chunks.concat()).into_owned());
        }

        #[test]
        fn valid_text_comes_back_byte_by_byte(text in any::<String>()) {
            let mut stream = TokenStream::new();
            let pieces: String = text.bytes().map(|byte| stream.push_bytes(&[byte]).to_string()).collect();
            prop_assert_eq!(pieces, text);
            prop_assert_eq!(stream.finish(), "");
        }
    }
}
