//! The file of answers: a header, then a record per answer, oldest first.
//!
//! | bytes | header | | bytes | record |
//! |---|---|---|---|---|
//! | 8 | `nr-hist\n` | | 4 | number of tokens |
//! | 4 | version | | 4 | CRC-32 of all that follows in the record |
//! | 4 | 0 | | 8 | date, seconds since 1970 |
//! | 4 | CRC-32 of the vocabulary's key | | 4 each | tokens |
//! | 4 | 0 | | | |
//! | 8 | generation: another one whenever answers were dropped | | | |
//!
//! All numbers are little-endian. Records are only ever appended; a crash can tear the last one, which its checksum
//! tells.

use super::bytes::{put_tokens, tokens_of, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"nr-hist\n";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 32;
const RECORD_HEADER_BYTES: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Of this version and vocabulary.
    Good { generation: u64 },
    /// Of a later version.
    Newer { version: u32 },
    /// Nothing that can be used.
    Unknown,
}

/// An answer in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Seconds since 1970.
    pub(super) seconds: u64,
    pub(super) tokens: Vec<u32>,
}

pub(super) fn header(key: u32, generation: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..20].copy_from_slice(&key.to_le_bytes());
    bytes[24..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

pub(super) fn read_header(bytes: &[u8], key: u32) -> Header {
    let (version, found, generation) = (u32_at(bytes, 8), u32_at(bytes, 16), u64_at(bytes, 24));
    match (version, found, generation) {
        _ if !bytes.starts_with(&MAGIC) => Header::Unknown,
        (Some(version), ..) if version > VERSION => Header::Newer { version },
        (Some(VERSION), Some(found), Some(generation)) if found == key => Header::Good { generation },
        _ => Header::Unknown,
    }
}

pub(super) fn put_record(bytes: &mut Vec<u8>, seconds: u64, tokens: &[u32]) {
    let start = bytes.len();
    bytes.extend((tokens.len() as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(seconds.to_le_bytes());
    put_tokens(bytes, tokens);
    let checksum = crc32fast::hash(&bytes[start + 8..]);
    bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads records up to the first that is not whole; returns how many bytes were good.
pub(super) fn read_records(bytes: &[u8], mut take: impl FnMut(Record)) -> usize {
    let mut at = 0;
    while let Some((record, len)) = read_record(&bytes[at..]) {
        take(record);
        at += len;
    }
    at
}

fn read_record(bytes: &[u8]) -> Option<(Record, usize)> {
    let n_tokens = u32_at(bytes, 0)? as usize;
    let len = n_tokens.checked_mul(4)?.checked_add(RECORD_HEADER_BYTES)?;
    let body = bytes.get(8..len)?;
    if crc32fast::hash(body) != u32_at(bytes, 4)? {
        return None;
    }
    Some((Record { seconds: u64_at(body, 0)?, tokens: tokens_of(body.get(8..)?) }, len))
}
