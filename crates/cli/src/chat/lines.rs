//! Lines typed at a prompt, with editing and history, or read from a pipe.

use std::cell::Cell;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};

use super::command;
use crate::interrupt::{AtPrompt, Signal};

const PROMPT: &str = "> ";
const MAX_HISTORY: usize = 1000;

/// Where lines come from.
pub(super) enum Lines {
    /// A terminal.
    Editor(Box<LineEditor>),
    /// Anything else; bytes read so far.
    Pipe { offset: usize },
}

/// What was read.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// No more lines, and how the program shall end.
    End(ExitCode),
}

pub(super) struct LineEditor {
    editor: Editor<Commands, DefaultHistory>,
    /// `None` if it cannot be kept.
    history: Option<PathBuf>,
    was_interrupted: bool,
}

impl Lines {
    /// Lines of standard input. The history lies beside the folder of models.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub(super) fn open(models: &Path) -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Pipe { offset: 0 });
        }
        let builder = rustyline::Config::builder().max_history_size(MAX_HISTORY)?;
        let config = builder.history_ignore_space(true).auto_add_history(true).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Commands::default()));
        let path = models.with_file_name("chat_history");
        let opened = create_private(&path).map_err(ReadlineError::Io);
        let history = match opened.and_then(|()| editor.load_history(&path)) {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "there is no history");
                None
            }
        };
        Ok(Self::Editor(Box::new(LineEditor { editor, history, was_interrupted: false })))
    }

    /// Whether somebody types them.
    pub(super) fn is_interactive(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    /// # Errors
    /// If reading fails, or what is read is no UTF-8.
    pub(super) fn read(&mut self) -> anyhow::Result<Line> {
        match self {
            Self::Editor(editor) => editor.read(),
            Self::Pipe { offset } => read_pipe(&mut io::stdin().lock(), offset),
        }
    }
}

impl LineEditor {
    fn read(&mut self) -> anyhow::Result<Line> {
        if let Some(commands) = self.editor.helper() {
            commands.has_text.set(false);
        }
        let at_prompt = AtPrompt::new();
        let read = self.editor.readline(PROMPT);
        drop(at_prompt);
        let had_text = self.editor.helper().is_some_and(|commands| commands.has_text.get());
        let was_interrupted = std::mem::take(&mut self.was_interrupted);
        match read {
            Ok(text) => {
                if let Some(path) = &self.history
                    && let Err(error) = self.editor.append_history(path)
                {
                    tracing::debug!(path = %path.display(), %error, "cannot keep the history");
                }
                Ok(Line::Text(text.replace("\\\n", "\n")))
            }
            // The first Ctrl-C clears the line.
            Err(ReadlineError::Interrupted) if had_text => Ok(Line::Text(String::new())),
            Err(ReadlineError::Interrupted) if was_interrupted => {
                Ok(Line::End(Signal::Interrupt.exit_code()))
            }
            Err(ReadlineError::Interrupted) => {
                self.was_interrupted = true;
                Ok(Line::Interrupted)
            }
            Err(ReadlineError::Eof) => Ok(Line::End(ExitCode::SUCCESS)),
            Err(error) => Err(error.into()),
        }
    }
}

/// What people ask is nobody else's business.
fn create_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

fn read_pipe(source: &mut impl BufRead, offset: &mut usize) -> anyhow::Result<Line> {
    let mut bytes = Vec::new();
    if source.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(Line::End(ExitCode::SUCCESS));
    }
    let start = *offset;
    *offset += bytes.len();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Line::Text(text.trim_end_matches(['\n', '\r']).to_owned())),
        Err(error) => {
            let bad = error.utf8_error().valid_up_to();
            bail!(
                "standard input is not UTF-8: byte 0x{:02x} at offset {}",
                error.as_bytes()[bad],
                start + bad
            )
        }
    }
}

/// Completes commands, continues lines that end with a backslash, and knows whether anything is typed.
#[derive(Default)]
struct Commands {
    has_text: Cell<bool>,
}

impl Completer for Commands {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let fitting = command::NAMES.iter().filter(|name| !typed.is_empty() && name.starts_with(typed));
        Ok((0, fitting.map(|&name| name.to_owned()).collect()))
    }
}

impl Validator for Commands {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_continued = context.input().ends_with('\\');
        Ok(if is_continued { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Hinter for Commands {
    type Hint = String;

    /// Asked at every change of the line.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.has_text.set(!line.is_empty());
        None
    }
}

impl Highlighter for Commands {}

impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_byte_in_a_pipe_is_named_with_its_offset() {
        let mut source = &b"one\r\ntwo\n\xfe"[..];
        let mut offset = 0;
        for expected in ["one", "two"] {
            let Ok(Line::Text(text)) = read_pipe(&mut source, &mut offset) else { panic!("{expected}") };
            assert_eq!(text, expected);
        }
        let error = read_pipe(&mut source, &mut offset).err().unwrap().to_string();
        assert_eq!(error, "standard input is not UTF-8: byte 0xfe at offset 9");
    }

    #[test]
    fn the_history_is_private_even_if_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache/chat_history");
        for _ in 0..2 {
            create_private(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
    }
}
