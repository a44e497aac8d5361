//! The prompt of `generate`: arguments, a file, standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::failure::Usage;

/// Longer than any context; `yes | nano-reasoning generate` shall not fill the memory.
const MAX_BYTES: u64 = 16 << 20;

/// Puts the prompt together. Words are joined by spaces, and the file comes after them.
///
/// # Errors
/// [`Usage`] if there is none, and what is wrong with file or standard input.
pub(crate) fn read(words: &[String], file: Option<&Path>) -> anyhow::Result<String> {
    let is_stdin = |path: &Path| path == Path::new("-");
    let words = match words {
        [dash] if dash == "-" => return two(stdin()?, file),
        [] if file.is_none() => {
            if io::stdin().is_terminal() {
                bail!(Usage(
                    "there is no prompt; give it as an argument, with --file or on standard input".into()
                ));
            }
            return not_empty(stdin()?);
        }
        words => words.join(" "),
    };
    match file {
        Some(path) if is_stdin(path) => not_empty(joined(words, &stdin()?)),
        file => two(words, file),
    }
}

fn two(first: String, file: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = file else { return not_empty(first) };
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let file = file.map_err(|error| anyhow!("{error}: {}", error.root_cause()))?;
    not_empty(joined(first, &utf8(file, &path.display().to_string())?))
}

fn joined(first: String, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { format!("{first}\n\n{second}") }
}

fn not_empty(text: String) -> anyhow::Result<String> {
    if text.trim().is_empty() {
        bail!(Usage("the prompt is empty".into()));
    }
    // The line end of `echo` is no part of a prompt.
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn stdin() -> anyhow::Result<String> {
    utf8(io::stdin().lock(), "standard input")
}

fn utf8(source: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| anyhow!("cannot read {name}: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{name} has more than {} MiB, which no context holds", MAX_BYTES >> 20);
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        anyhow!("{name} is not UTF-8: byte 0x{:02x} at offset {offset}", error.as_bytes()[offset])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_byte_is_named_with_its_offset() {
        let error = utf8(&b"ab\xffc"[..], "standard input").unwrap_err();
        assert_eq!(error.to_string(), "standard input is not UTF-8: byte 0xff at offset 2");
        let error = utf8(&b"ab\xe6\xbc"[..], "standard input").unwrap_err();
        assert_eq!(error.to_string(), "standard input is not UTF-8: byte 0xe6 at offset 2");
    }

    #[test]
    fn words_come_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "text\n").unwrap();
        let words = ["Sum".to_owned(), "up:".to_owned()];
        assert_eq!(read(&words, Some(&path)).unwrap(), "Sum up:\n\ntext");
        assert_eq!(read(&[], Some(&path)).unwrap(), "text");
        assert!(read(&["  ".to_owned()], None).unwrap_err().is::<Usage>());
        let error = read(&words, Some(Path::new("/absent"))).unwrap_err().to_string();
        assert!(error.starts_with("cannot open /absent: "), "{error}");
    }

    #[test]
    fn endless_input_is_refused() {
        let error = utf8(io::repeat(b'y'), "standard input").unwrap_err().to_string();
        assert_eq!(error, "standard input has more than 16 MiB, which no context holds");
    }
}
