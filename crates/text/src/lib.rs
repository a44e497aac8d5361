//! Text in, tokens out, and back: tokenizers, chat templates, streamed answers and stop strings.
//!
//! [`Tokenizer`] comes from a GGUF file's own metadata or from a Hugging Face folder and gives the ids that
//! llama.cpp gives, respectively Hugging Face. [`ChatTemplate`] is the file's own; what a user writes can
//! never become a marker of it ([`Tokenizer::encode_chat`]). [`TokenStream`] turns tokens back into whole
//! characters, [`StopStrings`] ends an answer where it should.
#![forbid(unsafe_code)]

mod bpe;
mod byte_alphabet;
mod chat;
mod chat_template;
mod error;
mod huggingface;
mod pre_tokenizer;
mod special;
mod stop_strings;
mod template_functions;
mod token_stream;
mod token_table;
mod tokenizer;
mod vocabulary;

pub use chat::Message;
pub use chat_template::ChatTemplate;
pub use error::Error;
pub use stop_strings::{StopPiece, StopStrings};
pub use token_stream::TokenStream;
pub use tokenizer::{Special, Tokenizer};
pub use vocabulary::GgufVocabulary;

/// Result of loading or using a tokenizer or template.
pub type Result<T, E = Error> = std::result::Result<T, E>;
