//! What can be typed at the prompt beside messages.

pub(super) const HELP: &str = "\
/help    this list
/stats   tokens and times of this session
/clear   start a new conversation
/quit    leave; /exit and Ctrl-D do, too
Ctrl-C stops an answer. A backslash at the end of a line continues the message on the next one.";

/// All of them, for completion.
pub(super) const NAMES: [&str; 5] = ["/clear", "/exit", "/help", "/quit", "/stats"];

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Quit,
    Stats,
    Clear,
    Help,
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    /// The command in a line; `None` for a message. `/etc/hosts is …` is a message.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let word = line.split_whitespace().next()?;
        let name = word.strip_prefix('/')?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic()) {
            return None;
        }
        Some(match name {
            "quit" | "exit" => Self::Quit,
            "stats" => Self::Stats,
            "clear" => Self::Clear,
            "help" => Self::Help,
            _ => Self::Unknown(word),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        assert_eq!(Command::parse(" /quit "), Some(Command::Quit));
        assert_eq!(Command::parse("/exit"), Some(Command::Quit));
        assert_eq!(Command::parse("/clera"), Some(Command::Unknown("/clera")));
        for message in ["quit", "/etc/hosts is what?", "/ 2", "//", "", "a /quit"] {
            assert_eq!(Command::parse(message), None, "{message}");
        }
        for name in NAMES {
            assert!(!matches!(Command::parse(name), None | Some(Command::Unknown(_))), "{name}");
        }
    }
}
