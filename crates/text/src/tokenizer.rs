//! Text to token ids and back.

use std::cell::RefCell;

use nano_reasoning_gguf::GgufFile;
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use crate::bpe::{Bpe, Scratch};
use crate::error::printable;
use crate::pre_tokenizer::PreTokenizer;
use crate::special::{Piece, SpecialTokens};
use crate::token_table::{TokenKind, TokenTable};
use crate::vocabulary::GgufVocabulary;
use crate::{Error, Result};

/// What a marker such as `<|im_end|>` in a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Characters like any others: for what a user wrote.
    AsText,
    /// The token of that name: for what a template made.
    Parse,
}

/// Tokens that end an answer, by their text: each model family has its own.
const END_TEXTS: &[&str] = &[
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endofturn|>",
    "</s>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// Ids, texts and merges of one vocabulary.
///
/// Built once, shared by reference; encoding and decoding need no lock.
#[derive(Debug)]
pub struct Tokenizer {
    table: TokenTable,
    bpe: Bpe,
    pre_tokenizer: PreTokenizer,
    normalizer: Option<NormalizerWrapper>,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    end_tokens: Vec<u32>,
    chat_template: Option<String>,
}

/// The parts that the two kinds of files give.
pub(crate) struct Parts {
    pub(crate) table: TokenTable,
    pub(crate) bpe: Bpe,
    pub(crate) pre_tokenizer: PreTokenizer,
    pub(crate) normalizer: Option<NormalizerWrapper>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) adds_bos: bool,
    /// Tokens that end an answer beside `eos` and those of known texts.
    pub(crate) more_ends: Vec<u32>,
    pub(crate) chat_template: Option<String>,
}

impl Tokenizer {
    /// The tokenizer in a GGUF file.
    ///
    /// # Errors
    /// [`Error::Gguf`] if the metadata lacks it, else as [`Self::from_vocabulary`].
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        Self::from_vocabulary(&GgufVocabulary::from_file(file)?)
    }

    /// The tokenizer of a vocabulary, with the same ids as llama.cpp's.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`], [`Error::UnsupportedPreTokenizer`], [`Error::LengthMismatch`],
    /// [`Error::BadMerge`], [`Error::TokenOutOfRange`].
    pub fn from_vocabulary(vocabulary: &GgufVocabulary<'_>) -> Result<Self> {
        if vocabulary.model != "gpt2" {
            return Err(Error::UnsupportedModel { found: printable(vocabulary.model) });
        }
        let rules = PreTokenizer::from_gguf(vocabulary.pre)?;
        let (tokens, token_types) = (vocabulary.tokens.len(), vocabulary.token_types.len());
        if tokens != token_types {
            return Err(Error::LengthMismatch { tokens, token_types });
        }
        let mut table = TokenTable::with_capacity(tokens);
        for (text, &token_type) in vocabulary.tokens.iter().zip(&vocabulary.token_types) {
            table.push(text, TokenKind::from_gguf(token_type, text));
        }
        // A space can be a token's only in its shifted form, so the first one separates the two sides.
        let merges = vocabulary.merges.iter().map(|merge| merge.split_once(' ').unwrap_or((merge, "")));
        let bpe = Bpe::new(&table, merges, rules.is_whole_word_first)?;
        Self::from_parts(Parts {
            table,
            bpe,
            pre_tokenizer: rules.pre_tokenizer,
            normalizer: None,
            bos: vocabulary.bos,
            eos: vocabulary.eos,
            adds_bos: vocabulary.add_bos.unwrap_or(rules.adds_bos),
            more_ends: vocabulary.eot.into_iter().collect(),
            chat_template: vocabulary.chat_template.map(str::to_string),
        })
    }

    pub(crate) fn from_parts(parts: Parts) -> Result<Self> {
        let vocab_size = parts.table.len();
        let named = [("bos", parts.bos), ("eos", parts.eos), ("eot", parts.more_ends.iter().copied().max())];
        for (name, id) in named {
            if let Some(id) = id.filter(|&id| id as usize >= vocab_size) {
                return Err(Error::TokenOutOfRange { name, id, vocab_size });
            }
        }
        let is_end_text =
            |token: u32| END_TEXTS.iter().any(|text| text.as_bytes() == parts.table.bytes(token));
        let by_text = parts.table.added().map(|(token, _)| token).filter(|&token| is_end_text(token));
        let mut end_tokens: Vec<u32> = by_text.chain(parts.eos).chain(parts.more_ends).collect();
        end_tokens.sort_unstable();
        end_tokens.dedup();
        Ok(Self {
            special: SpecialTokens::new(&parts.table),
            table: parts.table,
            bpe: parts.bpe,
            pre_tokenizer: parts.pre_tokenizer,
            normalizer: parts.normalizer,
            bos: parts.bos,
            eos: parts.eos,
            adds_bos: parts.adds_bos,
            end_tokens,
            chat_template: parts.chat_template,
        })
    }

    /// Number of token ids. A model's output matrix can have more rows.
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether a text without a template begins with [`Self::bos`]. [`Self::encode`] leaves that to its
    /// caller, because a text can be the continuation of another.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// All tokens that end an answer (end of text, of a turn, of a file), in the order of ids.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// Whether `token` ends an answer.
    pub fn is_end(&self, token: u32) -> bool {
        self.end_tokens.binary_search(&token).is_ok()
    }

    /// Whether `token` is a marker of the format, which is no part of an answer's text.
    pub fn is_marker(&self, token: u32) -> bool {
        self.table.kind(token) == TokenKind::Control
    }

    /// The bytes that `token` stands for, of a marker its name; empty for an id that is not in use.
    pub fn token_bytes(&self, token: u32) -> &[u8] {
        self.table.bytes(token)
    }

    /// The token whose whole text is `text`, markers and user-defined ones first.
    pub fn token_of(&self, text: &str) -> Option<u32> {
        let is_it = |&(token, _): &(u32, TokenKind)| self.table.bytes(token) == text.as_bytes();
        let added = self.table.added().find(is_it).map(|(token, _)| token);
        added.or_else(|| self.table.find_normal(text.as_bytes()))
    }

    /// The chat template that came with the tokenizer, Jinja.
    pub fn chat_template_source(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// The first id that means something else in `other`, `None` if both agree on all ids that both have.
    ///
    /// A drafter may propose to a target only what both spell the same.
    pub fn first_difference(&self, other: &Self) -> Option<u32> {
        let n_common = self.vocab_size().min(other.vocab_size()) as u32;
        let is_different = |&token: &u32| {
            self.token_bytes(token) != other.token_bytes(token)
                || self.is_marker(token) != other.is_marker(token)
        };
        (0..n_common).find(is_different)
    }

    /// A number that two tokenizers share if all their ids mean the same (and by chance else, once in 2⁶⁴).
    pub fn vocabulary_hash(&self) -> u64 {
        (0..self.vocab_size() as u32).fold(0xcbf2_9ce4_8422_2325, |hash, token| {
            let ends = [0xff, u8::from(self.is_marker(token))];
            self.token_bytes(token)
                .iter()
                .chain(&ends)
                .fold(hash, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        })
    }

    /// The tokens of `text`, without a token that begins or ends it.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        let finder = match special {
            Special::AsText => &self.special.user_defined,
            Special::Parse => &self.special.all,
        };
        finder.for_each_piece(text, |piece| match piece {
            Piece::Token(token) => tokens.push(token),
            Piece::Text(text) => self.encode_plain(text, &mut tokens),
        });
        tokens
    }

    /// As [`Self::encode`] with [`Special::Parse`], after which `breaker` is dropped from what is no marker.
    pub(crate) fn encode_broken(&self, text: &str, breaker: char) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        self.special.all.for_each_piece(text, |piece| match piece {
            Piece::Token(token) => tokens.push(token),
            Piece::Text(text) if text.contains(breaker) => {
                self.encode_plain(&text.replace(breaker, ""), &mut tokens);
            }
            Piece::Text(text) => self.encode_plain(text, &mut tokens),
        });
        tokens
    }

    pub(crate) fn special(&self) -> &SpecialTokens {
        &self.special
    }

    fn encode_plain(&self, text: &str, tokens: &mut Vec<u32>) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        let normalized = self.normalizer.as_ref().and_then(|normalizer| normalize(normalizer, text));
        let text = normalized.as_ref().map_or(text, |normalized| normalized.get());
        SCRATCH.with_borrow_mut(|scratch| {
            self.pre_tokenizer.for_each_word(text, &mut |word| {
                self.bpe.encode(&self.table, word.as_bytes(), scratch, tokens);
            });
        });
    }

    /// The bytes of `tokens`, markers by their names.
    pub fn decode_bytes(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.token_bytes(token)).copied().collect()
    }

    /// The text of `tokens`, markers by their names; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(tokens)).into_owned()
    }
}

/// `None` if there is nothing to change.
fn normalize(normalizer: &NormalizerWrapper, text: &str) -> Option<NormalizedString> {
    if matches!(normalizer, NormalizerWrapper::NFC(_)) && text.is_ascii() {
        return None;
    }
    let mut normalized = NormalizedString::from(text);
    normalizer.normalize(&mut normalized).ok().map(|()| normalized)
}
