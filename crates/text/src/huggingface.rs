//! The tokenizer of a Hugging Face folder: `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`
//! and the end tokens of `generation_config.json`.
//!
//! Normalizer and pre-tokenizer are read by the `tokenizers` crate; vocabulary and merges, which are
//! nearly all of the file, straight into our tables with borrowed strings.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::bpe::Bpe;
use crate::error::printable;
use crate::pre_tokenizer::PreTokenizer;
use crate::token_table::{TokenKind, TokenTable};
use crate::tokenizer::{Parts, Tokenizer};
use crate::{Error, Result};

/// Ids a vocabulary may have: eight times the largest known.
const MAX_IDS: usize = 1 << 21;

/// `tokenizer.json`.
#[derive(Deserialize)]
struct TokenizerJson<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

/// The kind of `model`, looked at before the rest of it.
#[derive(Deserialize)]
struct ModelKind {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct BpeJson<'a> {
    #[serde(borrow)]
    vocab: Vocab<'a>,
    #[serde(borrow)]
    merges: Vec<MergeText<'a>>,
    #[serde(default)]
    ignore_merges: bool,
}

/// A string that stays in the file unless it has escapes.
struct Text<'a>(Cow<'a, str>);

/// `{"token": id, …}` in the order of the file.
struct Vocab<'a>(Vec<(Text<'a>, u32)>);

/// `"left right"` or `["left", "right"]`.
struct MergeText<'a>(Text<'a>, Option<Text<'a>>);

/// What of `tokenizer_config.json` matters.
#[derive(Deserialize, Default)]
struct ConfigJson {
    bos_token: Option<Value>,
    eos_token: Option<Value>,
    add_bos_token: Option<bool>,
    chat_template: Option<Value>,
}

impl Tokenizer {
    /// The tokenizer of a folder with a `tokenizer.json`, with the same ids as Hugging Face's.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Json`] for a file that is missing or broken, [`Error::UnsupportedPart`]
    /// for a tokenizer that is no byte-level BPE, [`Error::BadVocabulary`], [`Error::BadMerge`].
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let json = read(&path)?;
        let file: TokenizerJson<'_> = parse(&json, &path, "tokenizer.json")?;
        let kind: ModelKind = parse(file.model.get(), &path, "tokenizer.json")?;
        if kind.kind.as_deref().is_some_and(|kind| kind != "BPE") || kind.byte_fallback {
            let byte_fallback = if kind.byte_fallback { " with byte_fallback" } else { "" };
            return Err(Error::UnsupportedPart {
                part: "model",
                found: printable(&kind.kind.unwrap_or_else(|| "BPE".to_string())) + byte_fallback,
                supported: "byte-level BPE",
            });
        }
        let model: BpeJson<'_> = parse(file.model.get(), &path, "tokenizer.json")?;
        let table = token_table(&model.vocab, &file.added_tokens)?;
        let bpe = Bpe::new(&table, model.merges.iter().map(MergeText::sides), model.ignore_merges)?;

        let config: ConfigJson =
            parse_if_there(&folder.join("tokenizer_config.json"), "tokenizer_config.json")?;
        let generation: Value =
            parse_if_there(&folder.join("generation_config.json"), "generation_config.json")?;
        let token_of = |text: &Option<Value>| added_id(&file.added_tokens, text.as_ref()?);
        let bos = token_of(&config.bos_token);
        // A post-processor that names the bos token puts it before every text.
        let processor_adds_bos = file.post_processor.as_ref().is_some_and(|processor| {
            text_of(config.bos_token.as_ref()).is_some_and(|bos| has_string(processor, bos))
        });
        Self::from_parts(Parts {
            bpe,
            pre_tokenizer: PreTokenizer::from_wrapper(file.pre_tokenizer)?,
            normalizer: file.normalizer,
            bos,
            eos: token_of(&config.eos_token),
            adds_bos: bos.is_some() && config.add_bos_token.unwrap_or(processor_adds_bos),
            more_ends: ids(generation.get("eos_token_id"))
                .filter(|&id| (id as usize) < table.len())
                .collect(),
            chat_template: chat_template(folder, config.chat_template)?,
            table,
        })
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str, path: &Path, what: &'static str) -> Result<T> {
    serde_json::from_str(json).map_err(|source| Error::Json { path: path.to_path_buf(), what, source })
}

/// The default if there is no such file.
fn parse_if_there<T: for<'a> Deserialize<'a> + Default>(path: &Path, what: &'static str) -> Result<T> {
    if path.exists() { parse(&read(path)?, path, what) } else { Ok(T::default()) }
}

/// The template in a file of its own, or in the configuration: one, or several with names.
fn chat_template(folder: &Path, in_config: Option<Value>) -> Result<Option<String>> {
    let own_file = folder.join("chat_template.jinja");
    if own_file.exists() {
        return read(&own_file).map(Some);
    }
    Ok(match in_config {
        Some(Value::String(template)) => Some(template),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|entry| entry["name"] == "default").or(named.first());
            default.and_then(|entry| entry["template"].as_str()).map(str::to_string)
        }
        _ => None,
    })
}

fn token_table(vocab: &Vocab<'_>, added: &[AddedToken]) -> Result<TokenTable> {
    let ids = vocab.0.iter().map(|entry| entry.1).chain(added.iter().map(|token| token.id));
    let tokens = vocab.0.len() + added.len();
    let max_id = ids.max().map_or(u64::MAX, u64::from);
    if max_id >= MAX_IDS as u64 {
        return Err(Error::BadVocabulary { tokens, max_id, limit: MAX_IDS });
    }
    // Ids without a token stay unused.
    let mut by_id: Vec<(&str, TokenKind)> = vec![("", TokenKind::Unused); max_id as usize + 1];
    for (text, id) in &vocab.0 {
        by_id[*id as usize] = (&text.0, TokenKind::Normal);
    }
    for token in added {
        let token_type = if token.special { 3 } else { 4 };
        by_id[token.id as usize] = (&token.content, TokenKind::from_gguf(token_type, &token.content));
    }
    let mut table = TokenTable::with_capacity(by_id.len());
    for (text, kind) in by_id {
        table.push(text, kind);
    }
    Ok(table)
}

/// A token in the configuration: its text, or an object that has it as `content`.
fn text_of(token: Option<&Value>) -> Option<&str> {
    token.and_then(|token| token.as_str().or_else(|| token["content"].as_str()))
}

fn added_id(added: &[AddedToken], token: &Value) -> Option<u32> {
    let text = text_of(Some(token))?;
    added.iter().find(|token| token.content == text).map(|token| token.id)
}

/// One id or several.
fn ids(value: Option<&Value>) -> impl Iterator<Item = u32> + '_ {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    many.chain(value).filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok())
}

fn has_string(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| has_string(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| has_string(field, wanted)),
        _ => false,
    }
}

impl MergeText<'_> {
    fn sides(&self) -> (&str, &str) {
        match &self.1 {
            Some(right) => (&self.0.0, &right.0),
            None => self.0.0.split_once(' ').unwrap_or((&self.0.0, "")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab(entries))
            }
        }
        deserializer.deserialize_map(VocabVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for MergeText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = MergeText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge, as 'left right' or as an array of both")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<MergeText<'de>, E> {
                Ok(MergeText(Text(Cow::Borrowed(text)), None))
            }

            fn visit_str<E>(self, text: &str) -> Result<MergeText<'de>, E> {
                Ok(MergeText(Text(Cow::Owned(text.to_string())), None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MergeText<'de>, A::Error> {
                let missing = |n| serde::de::Error::invalid_length(n, &self);
                let left = seq.next_element()?.ok_or_else(|| missing(0))?;
                let right = seq.next_element()?.ok_or_else(|| missing(1))?;
                if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    return Err(missing(3));
                }
                Ok(MergeText(left, Some(right)))
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
