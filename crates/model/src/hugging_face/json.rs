//! JSON files of a folder.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Far above any configuration or index, low enough to read.
const MAX_BYTES: u64 = 64 << 20;

/// Reads and parses a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a JSON file of more than 64 MiB"));
        }
        Ok(bytes)
    };
    let bytes = read().map_err(|reason| Error::ReadFile { path: path.into(), reason })?;
    serde_json::from_slice(&bytes).map_err(|reason| Error::BadJson { path: path.into(), reason })
}
