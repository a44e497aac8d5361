//! Ctrl-C and SIGTERM.
//!
//! A thread of its own gets them. What they do depends on what is under way: at most times they end the
//! program at once; while an answer or a download is under way they ask it to stop, and a second one ends
//! the program; at the chat's prompt Ctrl-C is a key that the line editor reads.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A signal that ends the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// From `kill`, a service manager, a shutdown.
    Terminate,
}

/// What signals do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Action {
    /// They end the program.
    Exit,
    /// The first asks to stop.
    Cancel,
    /// SIGTERM ends the program, Ctrl-C does nothing.
    Prompt,
}

static ACTION: AtomicU8 = AtomicU8::new(Action::Exit as u8);
/// The signal that asks to stop, or 0.
static PENDING: AtomicI32 = AtomicI32::new(0);
/// How the terminal was before the line editor changed it.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Starts listening.
///
/// # Errors
/// If the system refuses.
pub(crate) fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let action = ACTION.load(SeqCst);
            if action == Action::Prompt as u8 && signal == SIGINT {
                continue;
            }
            let is_first = PENDING.swap(signal, SeqCst) == 0;
            if action != Action::Cancel as u8 || !is_first {
                exit(signal);
            }
        }
    })?;
    Ok(())
}

fn exit(signal: i32) -> ! {
    if let Some(terminal) = TERMINAL.lock().ok().and_then(|mut terminal| terminal.take()) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &terminal);
    }
    // A spinner or an unfinished line shall not stand before the shell's prompt.
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(b"\r\x1b[K");
    }
    std::process::exit(128 + signal);
}

/// While it lives, the first signal asks to stop.
pub(crate) struct Cancellation {
    before: u8,
}

impl Cancellation {
    pub(crate) fn new() -> Self {
        PENDING.store(0, SeqCst);
        Self { before: ACTION.swap(Action::Cancel as u8, SeqCst) }
    }

    /// The signal that came, if one did.
    pub(crate) fn signal(&self) -> Option<Signal> {
        match PENDING.load(SeqCst) {
            SIGINT => Some(Signal::Interrupt),
            SIGTERM => Some(Signal::Terminate),
            _ => None,
        }
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        ACTION.store(self.before, SeqCst);
    }
}

/// While it lives, Ctrl-C is a key.
pub(crate) struct AtPrompt {
    before: u8,
}

impl AtPrompt {
    pub(crate) fn new() -> Self {
        *TERMINAL.lock().expect("nothing panics with the lock") = tcgetattr(io::stdin()).ok();
        Self { before: ACTION.swap(Action::Prompt as u8, SeqCst) }
    }
}

impl Drop for AtPrompt {
    fn drop(&mut self) {
        ACTION.store(self.before, SeqCst);
    }
}

impl Signal {
    /// As shells give it.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        })
    }
}
