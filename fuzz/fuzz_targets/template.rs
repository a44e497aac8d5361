//! Any template is either refused with a printable message, or renders any message; and no message adds a
//! marker to a conversation in the standard format.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nano_reasoning_text::{ChatTemplate, GgufVocabulary, Message, Tokenizer};

/// Letters, spaces and the two markers; characters it does not know are left out.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let letters: Vec<String> = ('!'..='~').chain(['Ġ', 'Ċ']).map(String::from).collect();
    let tokens: Vec<&str> = letters.iter().map(String::as_str).chain(["<|im_start|>", "<|im_end|>"]).collect();
    let token_types = (0..tokens.len()).map(|id| if id < letters.len() { 1 } else { 3 }).collect();
    let vocabulary =
        GgufVocabulary { model: "gpt2", pre: Some("qwen2"), tokens, token_types, ..GgufVocabulary::default() };
    Tokenizer::from_vocabulary(&vocabulary).expect("the vocabulary is complete")
});

// The template, then the messages, each behind a form feed.
fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\u{c}');
    let source = parts.next().unwrap_or_default();
    let messages: Vec<Message> = parts.map(|content| Message::new("user", content)).collect();

    let rendered = ChatTemplate::new(source, "<|im_start|>", "<|im_end|>")
        .and_then(|template| TOKENIZER.encode_chat(&template, &messages, true));
    if let Err(error) = rendered {
        let message = error.to_string();
        assert!(!message.contains(char::is_control) && message.len() < 2000, "{message:?}");
    }

    let chatml = ChatTemplate::of(&TOKENIZER).expect("the fallback is valid");
    let tokens = TOKENIZER.encode_chat(&chatml, &messages, true).expect("the fallback renders anything");
    let n_markers = tokens.iter().filter(|&&token| TOKENIZER.is_marker(token)).count();
    assert_eq!(n_markers, 2 * messages.len() + 1, "{messages:?}");
});
