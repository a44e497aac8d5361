//! Little-endian numbers in byte slices.

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The numbers in `bytes`; an incomplete one at the end is left out.
pub(super) fn tokens_of(bytes: &[u8]) -> Vec<u32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|&number| u32::from_le_bytes(number)).collect()
}

pub(super) fn put_tokens(bytes: &mut Vec<u8>, tokens: &[u32]) {
    let start = bytes.len();
    bytes.resize(start + 4 * tokens.len(), 0);
    let (numbers, _) = bytes[start..].as_chunks_mut();
    numbers.iter_mut().zip(tokens).for_each(|(number, token)| *number = token.to_le_bytes());
}
