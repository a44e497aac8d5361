//! GPT-2's alphabet: every byte as a printable character, so that a vocabulary file holds only text.
//!
//! Printable Latin-1 bytes stand for themselves, the 68 others for U+0100 … U+0143 in their order (`encoder.py`
//! of the GPT-2 release, `bytes_to_unicode`).

/// Whether `byte` stands for itself.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Byte of each character below U+0144; `NONE` where there is none.
const BYTES: [u16; 0x144] = {
    let mut bytes = [NONE; 0x144];
    let mut byte = 0;
    let mut shifted = 0x100;
    while byte < 256 {
        if is_printable(byte as u8) {
            bytes[byte] = byte as u16;
        } else {
            bytes[shifted] = byte as u16;
            shifted += 1;
        }
        byte += 1;
    }
    bytes
};
const NONE: u16 = u16::MAX;

/// Appends the bytes that `text` stands for; a character outside the alphabet stands for itself.
pub(crate) fn push_bytes(text: &str, out: &mut Vec<u8>) {
    let mut bytes = text.as_bytes();
    // Runs of plain ASCII, which most tokens are, need no decoding.
    loop {
        let n_plain = bytes.iter().take_while(|byte| byte.is_ascii_graphic()).count();
        out.extend_from_slice(&bytes[..n_plain]);
        bytes = &bytes[n_plain..];
        let n_bytes = match bytes.first() {
            None => return,
            Some(0xc0..0xe0) => 2,
            Some(0xe0..0xf0) => 3,
            Some(0xf0..) => 4,
            Some(_) => 1,
        };
        let (this, rest) = bytes.split_at(n_bytes);
        let byte = match *this {
            [first, second] => BYTES.get(usize::from(first & 0x1f) << 6 | usize::from(second & 0x3f)),
            _ => None,
        };
        match byte {
            Some(&byte) if byte != NONE => out.push(byte as u8),
            _ => out.extend_from_slice(this),
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut seen: Vec<u16> = BYTES.iter().copied().filter(|&byte| byte != NONE).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..256).collect::<Vec<u16>>());
    }

    #[test]
    fn space_and_newline_are_shifted() {
        let mut bytes = Vec::new();
        push_bytes("aĠbĊĀ¡Ł日", &mut bytes);
        assert_eq!(bytes, [b"a b\n\0\xa1\x9f".as_slice(), "日".as_bytes()].concat());
        bytes.clear();
        push_bytes(" \t日😀é\u{144}", &mut bytes);
        assert_eq!(bytes, [b" \t", "日😀".as_bytes(), b"\xe9", "\u{144}".as_bytes()].concat());
    }
}
