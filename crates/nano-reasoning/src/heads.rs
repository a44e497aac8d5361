//! The heads that ship with the project, in the binary itself: a head is small, and without it nothing drafts.

/// A shipped head, as a GGUF file: the one trained for the catalogue's model `name`.
pub(crate) fn shipped(name: &str) -> Option<&'static [u8]> {
    match name {
        "qwen2.5-coder-1.5b" => Some(include_bytes!("../../../assets/heads/qwen2.5-coder-1.5b.eagle3.gguf")),
        _ => None,
    }
}
