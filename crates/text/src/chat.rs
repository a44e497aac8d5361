//! A conversation as the tokens of a model, in which no message can forge a marker.
//!
//! The template is rendered on the messages as they are and its output is encoded with its markers parsed,
//! so that templates may trim, split or test what they get, and the ids are those of llama.cpp. Only where
//! a message spells a marker (`<|im_end|>`), that marker is first broken up by a private-use character
//! that occurs nowhere else; the broken text passes the template, no marker is found in it, and the
//! character is dropped from the plain text before that is encoded. A beginning of a marker at the end of
//! a message is broken too, for what the template puts behind it.

use serde::{Deserialize, Serialize};

use crate::{ChatTemplate, Result, Tokenizer};

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// How the model shall behave.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

impl Tokenizer {
    /// The tokens of a conversation, the bos token included where the model wants it.
    ///
    /// With `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn encode_chat(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>> {
        let special = self.special();
        let texts = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
        let breaker = special.unused_char(texts.chain([template.source()]));
        let broken: Vec<Message> = messages
            .iter()
            .map(|Message { role, content }| Message {
                role: special.break_markers(role, breaker),
                content: special.break_markers(content, breaker),
            })
            .collect();
        let text = template.render(&broken, add_generation_prompt)?;
        let mut tokens = self.encode_broken(&text, breaker);
        if let Some(bos) = self.bos().filter(|&bos| self.adds_bos() && tokens.first() != Some(&bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }
}
