//! A vocabulary small enough to read: all bytes, a few merges, a few markers.

use nano_reasoning_text::GgufVocabulary;

/// The 256 bytes in GPT-2's alphabet, in the order of bytes: a byte's id is its value.
pub(crate) fn byte_texts() -> Vec<String> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut shifted = 0x100..;
    let char_of = |byte: u8| {
        let code = if is_printable(byte) { u32::from(byte) } else { shifted.next().unwrap() };
        char::from_u32(code).unwrap().to_string()
    };
    (0..=255).map(char_of).collect()
}

pub(crate) const MERGES: &[&str] = &["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "a a", "aa aa", "Ã ©"];
pub(crate) const IM_START: u32 = 265;
pub(crate) const IM_END: u32 = 266;
pub(crate) const TOOL: u32 = 267;

/// The texts of all tokens; tokens 256 to 264 are the merges' results.
pub(crate) fn texts() -> Vec<String> {
    let mut texts = byte_texts();
    texts.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
    texts.extend(["<|im_start|>", "<|im_end|>", "<tool>"].map(str::to_string));
    texts
}

/// A vocabulary that borrows `texts`.
pub(crate) fn vocabulary(texts: &[String]) -> GgufVocabulary<'_> {
    let mut token_types = vec![1; texts.len()];
    token_types[IM_START as usize] = 3;
    token_types[IM_END as usize] = 3;
    token_types[TOOL as usize] = 4;
    GgufVocabulary {
        model: "gpt2",
        pre: Some("qwen2"),
        tokens: texts.iter().map(String::as_str).collect(),
        token_types,
        merges: MERGES.to_vec(),
        eos: Some(IM_END),
        ..GgufVocabulary::default()
    }
}
