//! Files that only their owner reads.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// No file of a history is read further.
const MAX_FILE_BYTES: u64 = 1 << 28;
/// How often a lock is tried, a millisecond apart: whoever holds it writes one answer.
const MAX_TRIES: usize = 1000;

/// Creates a folder and those above it, for the owner alone.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file, which it creates if need be and makes the owner's alone.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Reads from where the file stands to its end.
pub(super) fn read_rest(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts `bytes` in the place of a file's content: whoever looks finds the old or the new, even after a power cut if
/// it `is_precious`, for which the disk is waited for.
pub(super) fn replace(path: &Path, bytes: &[u8], is_precious: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = open(&temporary)?;
    file.set_len(0)?;
    let written = file.write_all(bytes).and_then(|()| if is_precious { file.sync_data() } else { Ok(()) });
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Takes a lock that is given back when the file is dropped.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    for _ in 0..MAX_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(1)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let message = format!("another process does not let go of '{}'", path.display());
    Err(io::Error::new(io::ErrorKind::WouldBlock, message))
}
