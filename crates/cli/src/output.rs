//! Writing for people and programs: answers to standard output, all else to standard error.

use std::borrow::Cow;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use nano_reasoning::atomic_file;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct WriteError(pub(crate) io::Error);

/// Writes to standard output.
///
/// # Errors
/// If that fails; a closed pipe ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), WriteError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(WriteError)
}

/// Writes a file, whole or not at all; a device or a pipe as it comes.
///
/// # Errors
/// The system's.
pub(crate) fn write_file(path: &Path, text: &str) -> io::Result<()> {
    match fs::canonicalize(path) {
        Ok(path) if !path.is_file() => fs::write(path, text),
        // Behind a link it is the file that is replaced.
        Ok(path) => atomic_file::write(&path, text.as_bytes()),
        Err(_) => atomic_file::write(path, text.as_bytes()),
    }
}

/// Writes a line to standard error. Where that is closed there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// As [`note`], for hints that only a person needs.
pub(crate) fn hint(text: &str) {
    if io::stderr().is_terminal() {
        note(text);
    }
}

/// An answer on its way to standard output, piece by piece.
pub(crate) struct Answer {
    is_terminal: bool,
    is_line_open: bool,
    failure: Option<WriteError>,
}

impl Answer {
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), is_line_open: false, failure: None }
    }

    /// Shows a piece; false if it cannot be shown.
    pub(crate) fn push(&mut self, piece: &str) -> bool {
        if piece.is_empty() || self.failure.is_some() {
            return self.failure.is_none();
        }
        self.is_line_open = !piece.ends_with('\n');
        let shown = if self.is_terminal { harmless(piece) } else { Cow::Borrowed(piece) };
        self.failure = print(&shown).err();
        self.failure.is_none()
    }

    /// Ends the last line.
    ///
    /// # Errors
    /// The first error of writing.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        if self.is_line_open {
            self.push("\n");
        }
        self.failure.map_or(Ok(()), Err)
    }
}

/// A model may say anything, and a terminal obeys control characters.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(is_harmful) { text.replace(is_harmful, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(harmless("a\tb\nc é 漢"), "a\tb\nc é 漢");
        assert_eq!(harmless("\u{1b}[2J\r\u{9b}"), "\u{fffd}[2J\u{fffd}\u{fffd}");
    }
}
