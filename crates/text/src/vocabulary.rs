//! What a GGUF file's metadata says about its tokenizer.

use nano_reasoning_gguf::{GgufFile, StrArray};

use crate::Result;

/// The tokenizer part of a GGUF file, borrowed from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary<'a> {
    /// `tokenizer.ggml.model`: `gpt2` for byte-level BPE.
    pub model: &'a str,
    /// `tokenizer.ggml.pre`: how text is split into words.
    pub pre: Option<&'a str>,
    /// Text of every token, in GPT-2's byte alphabet where it is normal.
    pub tokens: Vec<&'a str>,
    /// Type of every token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Merges, best first, as `left right`.
    pub merges: Vec<&'a str>,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends a text.
    pub eos: Option<u32>,
    /// The token that ends a turn.
    pub eot: Option<u32>,
    /// Whether a text begins with `bos`; `None` if the file leaves it to the pre-tokenizer.
    pub add_bos: Option<bool>,
    /// The chat template, Jinja.
    pub chat_template: Option<&'a str>,
}

impl<'a> GgufVocabulary<'a> {
    /// Reads the metadata of `file`.
    ///
    /// # Errors
    /// [`crate::Error::Gguf`] if a key is missing or of another type.
    pub fn from_file(file: &'a GgufFile) -> Result<Self> {
        let metadata = file.metadata();
        let tokens: StrArray<'a> = metadata.get("tokenizer.ggml.tokens")?;
        let merges: Option<StrArray<'a>> = metadata.find("tokenizer.ggml.merges")?;
        let token_types: Option<Vec<i32>> = metadata.find("tokenizer.ggml.token_type")?;
        Ok(Self {
            model: metadata.get("tokenizer.ggml.model")?,
            pre: metadata.find("tokenizer.ggml.pre")?,
            token_types: token_types.unwrap_or_else(|| vec![1; tokens.len()]),
            tokens: tokens.iter().collect(),
            merges: merges.map_or_else(Vec::new, |merges| merges.iter().collect()),
            bos: metadata.find("tokenizer.ggml.bos_token_id")?,
            eos: metadata.find("tokenizer.ggml.eos_token_id")?,
            eot: metadata.find("tokenizer.ggml.eot_token_id")?,
            add_bos: metadata.find("tokenizer.ggml.add_bos_token")?,
            chat_template: metadata.find("tokenizer.chat_template")?,
        })
    }
}
