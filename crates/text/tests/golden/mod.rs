//! Ids that llama.cpp gave, as they are kept: for each string a line with two digests.

use std::path::PathBuf;

/// The digests for the vocabulary of a model's file.
pub(crate) fn path(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(model).with_extension("ids")
}

/// Number of ids and their FNV-1a hash.
pub(crate) fn digest(ids: &[u32]) -> String {
    let hash = ids
        .iter()
        .flat_map(|id| id.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{}:{hash:016x}", ids.len())
}
