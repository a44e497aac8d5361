//! Reading little-endian values from bytes that nobody has checked yet.

use std::fmt::Display;

use crate::{Error, Result};

/// A position in the file's bytes. Each read names what it reads, for the error.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// Offset of the next byte.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Bytes from here to the end.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: u64, what: &dyn Display) -> Result<&'a [u8]> {
        let slice = usize::try_from(n)
            .ok()
            .and_then(|n| self.bytes.get(self.pos..self.pos.checked_add(n)?))
            .ok_or_else(|| self.truncated(n, what))?;
        self.pos += slice.len();
        Ok(slice)
    }

    /// The next `N` bytes, as an array to decode.
    pub(crate) fn array<const N: usize>(&mut self, what: &dyn Display) -> Result<[u8; N]> {
        let array = *self.bytes[self.pos..].first_chunk().ok_or_else(|| self.truncated(N as u64, what))?;
        self.pos += N;
        Ok(array)
    }

    pub(crate) fn u32(&mut self, what: &dyn Display) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &dyn Display) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: its length in bytes as `u64`, then UTF-8.
    pub(crate) fn str(&mut self, what: &dyn Display) -> Result<&'a str> {
        let len = self.u64(what)?;
        let offset = self.pos;
        std::str::from_utf8(self.take(len, what)?)
            .map_err(|_| Error::NotUtf8 { what: what.to_string(), offset })
    }

    /// A count of things that take at least `min_bytes` each, so that the rest of the file bounds it.
    pub(crate) fn count(&self, found: u64, min_bytes: usize, what: &dyn Display) -> Result<usize> {
        let max = self.left() / min_bytes;
        usize::try_from(found).ok().filter(|&count| count <= max).ok_or_else(|| Error::TooMany {
            what: what.to_string(),
            found,
            max: max as u64,
        })
    }

    #[cold]
    fn truncated(&self, needed: u64, what: &dyn Display) -> Error {
        Error::Truncated { what: what.to_string(), needed, offset: self.pos, left: self.left() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_advances() {
        let mut cursor = Cursor::new(b"\x02\0\0\0\0\0\0\0hi\x07\0\0\0");
        assert_eq!(cursor.str(&"a name").unwrap(), "hi");
        assert_eq!(cursor.u32(&"a number").unwrap(), 7);
        assert_eq!((cursor.pos(), cursor.left()), (14, 0));
    }

    #[test]
    fn a_length_past_the_end_is_an_error_that_names_the_thing() {
        for len in [3_u64, u64::MAX, usize::MAX as u64 - 4] {
            let bytes = [&len.to_le_bytes()[..], b"hi"].concat();
            let error = Cursor::new(&bytes).str(&"a name").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("a name needs {len} bytes at offset 8, file has 2 left; is the download complete?")
            );
        }
    }

    #[test]
    fn a_count_is_bounded_by_the_rest_of_the_file() {
        let cursor = Cursor::new(&[0; 64]);
        assert_eq!(cursor.count(8, 8, &"strings").unwrap(), 8);
        assert_eq!(
            cursor.count(9, 8, &"strings").unwrap_err().to_string(),
            "file claims 9 strings, at most 8 are possible in a file of its size; is the download complete?"
        );
    }
}
