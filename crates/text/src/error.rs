//! What can go wrong with tokenizers and templates.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GGUF file's metadata does not hold what a tokenizer needs.
    #[error(transparent)]
    Gguf(#[from] nano_reasoning_gguf::Error),
    /// A tokenizer that is no byte-level BPE.
    #[error("tokenizer model '{found}' is not supported; supported is gpt2 (byte-level BPE)")]
    UnsupportedModel {
        /// The name in the file.
        found: String,
    },
    /// A rule of splitting text into words that is not known.
    #[error("pre-tokenizer '{found}' is not supported; supported are {}", supported.join(", "))]
    UnsupportedPreTokenizer {
        /// The name in the file.
        found: String,
        /// The names known.
        supported: &'static [&'static str],
    },
    /// A part of a `tokenizer.json` that this crate cannot do.
    #[error("{part} '{found}' in tokenizer.json is not supported; supported is {supported}")]
    UnsupportedPart {
        /// Which part.
        part: &'static str,
        /// What the file has there.
        found: String,
        /// What it may have there.
        supported: &'static str,
    },
    /// As many tokens as token types are needed.
    #[error("the vocabulary has {tokens} tokens but {token_types} token types")]
    LengthMismatch {
        /// Number of tokens.
        tokens: usize,
        /// Number of token types.
        token_types: usize,
    },
    /// A merge whose parts or result are not in the vocabulary.
    #[error("merge {index} ('{merge}') of the tokenizer does not join two tokens to a third one")]
    BadMerge {
        /// Its place in the list.
        index: usize,
        /// The merge.
        merge: String,
    },
    /// Token ids that leave too many unused between them, or none at all.
    #[error("the vocabulary has {tokens} tokens with ids up to {max_id}; at most {limit} ids are allowed")]
    BadVocabulary {
        /// Number of tokens.
        tokens: usize,
        /// The highest id.
        max_id: u64,
        /// How many ids it may have.
        limit: usize,
    },
    /// A special token's id outside the vocabulary.
    #[error("the {name} token is {id}, outside the vocabulary of {vocab_size} tokens")]
    TokenOutOfRange {
        /// Which token: `eos`.
        name: &'static str,
        /// Its id.
        id: u32,
        /// Ids must be below this.
        vocab_size: usize,
    },
    /// A file that could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no JSON, or not of the wanted form.
    #[error("{} is not a valid {what}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The template has a fault, or uses what is not supported.
    #[error("the model's chat template failed in line {line}: {reason}")]
    Template {
        /// The line of the template, from 1; 0 if the fault has no place.
        line: usize,
        /// What went wrong, in the words of the template engine.
        reason: String,
    },
    /// The template refused the messages, in its own words.
    #[error("the model's chat template refuses these messages: {reason}")]
    TemplateRefused {
        /// What the template says.
        reason: String,
    },
    /// The template's text is longer than any real one.
    #[error("the model's chat template has {found} bytes; at most {limit} are allowed")]
    TemplateTooLarge {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The template did work that its steps do not count.
    #[error("the model's chat template ran for over {seconds} s")]
    TemplateTooSlow {
        /// Seconds allowed.
        seconds: u64,
    },
    /// The template engine panicked.
    #[error("the template engine failed on the model's chat template")]
    TemplateCrashed,
    /// There is no memory for the thread that runs the template.
    #[error("cannot start a thread for the model's chat template: {0}")]
    NoThread(#[source] std::io::Error),
    /// The template ran too long or built too much text.
    #[error(
        "the model's chat template takes too long (over {limit} steps for {messages} messages of {content_bytes} bytes)"
    )]
    TemplateTooExpensive {
        /// Steps allowed.
        limit: u64,
        /// Number of messages.
        messages: usize,
        /// Bytes in the messages.
        content_bytes: usize,
    },
}

/// Text from a file, fit for a message: on one line, without control characters, not too long.
pub(crate) fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut printable = String::new();
    for c in text.chars().take(MAX_CHARS) {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        printable.push('…');
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_no_control_characters() {
        assert_eq!(printable("é\u{1b}[31m\n\u{202e}"), "é\\u{1b}[31m\\n\\u{202e}");
        assert_eq!(printable(&"x".repeat(1000)).chars().count(), 201);
    }
}
