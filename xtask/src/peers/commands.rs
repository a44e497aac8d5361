//! Processes that are measured from outside: how long they take, and how much memory.

use anyhow::{Context, bail};
use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause between two looks at a process's memory. What it held at most is kept by the system, so only
/// what it gained in its last moments could be missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Runs commands, and shows each once.
#[derive(Default)]
pub(super) struct Commands(RefCell<Vec<String>>);

/// A process that succeeded.
pub(super) struct Finished {
    pub(super) stdout: String,
    /// From before its start to after its end.
    pub(super) wall_ms: f64,
}

impl Commands {
    /// All that was run, in the order of their first run.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// If it does not start or does not succeed.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<Finished> {
        self.note(command);
        let started = Instant::now();
        let child = spawn(command)?;
        finish(command, child, started)
    }

    /// As [`Self::run`], and the most memory that was resident at once, in bytes; nothing where the
    /// system does not tell.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) fn run_watched(&self, command: &mut Command) -> anyhow::Result<(Finished, Option<u64>)> {
        self.note(command);
        let started = Instant::now();
        let child = spawn(command)?;
        let path = format!("/proc/{}/status", child.id());
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut peak = None;
                while !has_ended.load(Ordering::Relaxed) {
                    peak =
                        peak.max(std::fs::read_to_string(&path).ok().and_then(|status| peak_bytes(&status)));
                    std::thread::sleep(LOOK_EVERY);
                }
                peak
            });
            let finished = finish(command, child, started);
            has_ended.store(true, Ordering::Relaxed);
            let peak = watch.join().expect("watching does not panic");
            Ok((finished?, peak))
        })
    }

    /// Shows a command that is about to run, unless it was shown before.
    pub(super) fn note(&self, command: &Command) {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| quoted(&word.to_string_lossy()));
        let mut line = words.collect::<Vec<_>>().join(" ");
        if let Some(home) = std::env::home_dir().filter(|home| home.parent().is_some()) {
            line = line.replace(&format!("{}/", home.display()), "~/");
        }
        let mut shown = self.0.borrow_mut();
        if !shown.contains(&line) {
            println!("$ {line}");
            shown.push(line);
        }
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("starting {command:?}"))
}

fn finish(command: &Command, child: Child, started: Instant) -> anyhow::Result<Finished> {
    let output = child.wait_with_output().with_context(|| format!("waiting for {command:?}"))?;
    let wall_ms = started.elapsed().as_secs_f64() * 1e3;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = stderr.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        bail!("{command:?} ended with {}: {last}", output.status);
    }
    // A last token may end within a character.
    Ok(Finished { stdout: String::from_utf8_lossy(&output.stdout).into_owned(), wall_ms })
}

/// `VmHWM`, the peak of resident memory, in the text of Linux's `/proc/PID/status`.
fn peak_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,:=~+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let word = word.replace('\n', "\\n");
    match word.char_indices().nth(60) {
        Some((end, _)) => format!("'{}…'", &word[..end]),
        None => format!("'{word}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_peak_of_resident_memory() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    20 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(peak_bytes(status), Some(20480));
        assert_eq!(peak_bytes("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn quotes_what_a_shell_would_split() {
        assert_eq!(quoted("--json=-"), "--json=-");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(&"é ".repeat(40)), format!("'{}…'", "é ".repeat(30)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failed_command_says_why() {
        let commands = Commands::default();
        let mut command = Command::new("sh");
        let error = commands.run(command.args(["-c", "echo why >&2; exit 3"])).err().expect("it fails");
        assert!(error.to_string().ends_with("exit status: 3: why"), "{error}");
        let mut command = Command::new("sh");
        let (finished, peak) = commands.run_watched(command.args(["-c", "echo out; sleep 0.1"])).unwrap();
        assert_eq!(finished.stdout, "out\n");
        assert!(peak.unwrap() > 4096);
    }
}
