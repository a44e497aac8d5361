//! A chat in a terminal, as somebody types it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::common::{PATIENCE, Sandbox, wait};
use super::signals::send;

/// The other side of a terminal with a chat in it.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// Up to where the screen was looked at.
    seen: usize,
}

impl Terminal {
    fn chat(sandbox: &Sandbox, arguments: &str) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let side: OwnedFd = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).unwrap();
        let arguments = format!(
            "--model {} --threads 1 --context 1000000 -t 0 -m 1000000 {arguments}",
            sandbox.alphabet()
        );
        let mut command = sandbox.command(&arguments);
        command.env("TERM", "xterm");
        command.stdin(side.try_clone().unwrap()).stdout(side.try_clone().unwrap()).stderr(side);
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(controller);
        let mut source = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal is gone when its last user is.
            while let Ok(n @ 1..) = source.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, keyboard, screen, seen: 0 }
    }

    fn write(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown after what was seen before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            if let Some(at) = screen[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no {text:?} in {:?}", &screen[self.seen..]);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ctrl-D at the prompt: during an answer the terminal, not the line editor, would take the key.
    #[track_caller]
    fn leaves(&mut self) {
        self.sees("> ");
        self.write(CTRL_D);
        self.ends_with(0);
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) {
        assert_eq!(wait(&mut self.child).code(), Some(code), "{:?}", self.screen.lock().unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

#[test]
fn messages_are_answered_and_commands_obeyed() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    terminal.sees("/help lists the commands.");
    terminal.sees("> ");
    terminal.write("x 5\r");
    terminal.sees("6789");
    terminal.sees("> ");
    terminal.write("/stats\r");
    terminal.sees("1 answer\r\n");
    terminal.write("/nonsense\r");
    terminal.sees("there is no command /nonsense");
    terminal.write("/quit\r");
    terminal.ends_with(0);
    let history = sandbox.path(".cache/nano-reasoning/chat_history");
    assert!(fs::read_to_string(&history).unwrap().contains("x 5"));
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    terminal.sees("> ");
    terminal.write("a\r");
    terminal.sees("bcdefghijklm");
    // The terminal makes a signal of the key, while no line is edited.
    send(&terminal.child, Signal::INT);
    terminal.sees("(stopped)");
    terminal.sees("> ");
    terminal.write("5\r");
    terminal.sees("6789");
    terminal.leaves();
}

#[test]
fn ctrl_c_at_the_prompt_clears_the_line_then_warns_then_leaves() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    terminal.sees("> ");
    terminal.write("half a li");
    terminal.sees("half a li");
    terminal.write(CTRL_C);
    terminal.sees("> ");
    terminal.write(CTRL_C);
    terminal.sees("(Ctrl-C again or Ctrl-D leaves)");
    terminal.sees("> ");
    terminal.write(CTRL_C);
    terminal.ends_with(130);
}

#[test]
fn sigterm_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    let mode = |terminal: &Terminal| rustix::termios::tcgetattr(&terminal.keyboard).unwrap().local_modes;
    let before = mode(&terminal);
    terminal.sees("> ");
    assert_ne!(mode(&terminal), before);
    send(&terminal.child, Signal::TERM);
    terminal.ends_with(143);
    assert_eq!(mode(&terminal), before);
}

#[test]
fn a_long_paste_is_one_message_and_a_backslash_continues_a_line() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    terminal.sees("> ");
    terminal.write("\u{1b}[200~one\ntwo\n5\u{1b}[201~");
    terminal.write("\r");
    terminal.sees("6789");
    terminal.sees("> ");
    terminal.write("a line \\\r7\r");
    terminal.sees("89");
    terminal.sees("> ");
    terminal.write("/stats\r");
    terminal.sees("2 answers");
    terminal.write(&format!("{}5\r", "a long line ".repeat(300)));
    terminal.sees("6789");
    terminal.leaves();
}

#[test]
fn a_resize_while_a_line_is_edited_is_survived() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::chat(&sandbox, "");
    terminal.sees("> ");
    terminal.write(&"word ".repeat(30));
    let size = Winsize { ws_row: 10, ws_col: 20, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.keyboard, size).unwrap();
    send(&terminal.child, Signal::WINCH);
    terminal.write("5\r");
    terminal.sees("6789");
    terminal.leaves();
}
