//! The sorted positions of an index on disk, so that loading need not sort.
//!
//! Header: 8 bytes `nr-sort\n`, version and CRC-32 of 4 bytes each, generation of the answers and number of tokens
//! it covers, 8 bytes each; then the positions, 4 bytes each, all little-endian. The checksum is over the tokens
//! that it covers and over the positions: an order of other answers is told by it.

use super::bytes::{put_tokens, tokens_of, u32_at, u64_at};
use crate::ngram::suffix_index::SuffixIndex;

const MAGIC: [u8; 8] = *b"nr-sort\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// The order of `index` as a file's content.
pub(super) fn write(index: &SuffixIndex, generation: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 4 * index.sorted().len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(generation.to_le_bytes());
    bytes.extend((index.tokens().len() as u64).to_le_bytes());
    put_tokens(&mut bytes, index.sorted());
    let checksum = checksum(index.tokens(), &bytes[HEADER_BYTES..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The index of `tokens`, with the saved order as far as that goes, and the number of tokens that it covered.
pub(super) fn read(bytes: &[u8], generation: u64, tokens: Vec<u32>) -> (SuffixIndex, usize) {
    let Some((sorted, n_covered)) = sorted(bytes, generation, &tokens) else {
        return (SuffixIndex::new(&tokens), 0);
    };
    (SuffixIndex::with_order(tokens, sorted, n_covered), n_covered)
}

fn sorted(bytes: &[u8], generation: u64, tokens: &[u32]) -> Option<(Vec<u32>, usize)> {
    let is_ours =
        bytes.starts_with(&MAGIC) && u32_at(bytes, 8)? == VERSION && u64_at(bytes, 16)? == generation;
    let n_covered = usize::try_from(u64_at(bytes, 24)?).ok()?;
    let (covered, positions) = (tokens.get(..n_covered)?, bytes.get(HEADER_BYTES..)?);
    if !is_ours || u32_at(bytes, 12)? != checksum(covered, positions) {
        return None;
    }
    Some((tokens_of(positions), n_covered))
}

fn checksum(tokens: &[u32], positions: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = Vec::new();
    for tokens in tokens.chunks(4096) {
        bytes.clear();
        put_tokens(&mut bytes, tokens);
        hasher.update(&bytes);
    }
    hasher.update(positions);
    hasher.finalize()
}
