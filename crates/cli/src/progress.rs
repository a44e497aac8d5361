//! Downloads and slow starts, shown on a terminal's standard error. Elsewhere nothing is shown.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nano_reasoning::store::{Phase, Progress, Update};

use crate::interrupt::{Cancellation, Signal};

/// What starts faster needs no explanation.
const QUICK: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// A line that appears when something takes longer than a second, and goes when dropped.
pub(crate) struct Spinner {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    pub(crate) fn new(message: String) -> Self {
        if !io::stderr().is_terminal() {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            if stopped.recv_timeout(QUICK) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg} {elapsed}"));
            bar.set_message(message);
            bar.enable_steady_tick(TICK);
            let _ = stopped.recv();
            bar.finish_and_clear();
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A line that could not be drawn is not worth an error.
            let _ = thread.join();
        }
    }
}

/// A download: a bar while bytes arrive, and Ctrl-C stops it with what is there kept.
pub(crate) struct Download {
    bar: ProgressBar,
    phase: Option<Phase>,
    cancellation: Option<Cancellation>,
    signal: Option<Signal>,
}

impl Download {
    pub(crate) fn new() -> Self {
        // indicatif draws nothing where standard error is no terminal.
        Self { bar: ProgressBar::hidden(), phase: None, cancellation: None, signal: None }
    }

    /// The signal that stopped it.
    pub(crate) fn signal(&self) -> Option<Signal> {
        self.cancellation.as_ref().and_then(Cancellation::signal).or(self.signal)
    }

    fn enter(&mut self, update: &Update<'_>) {
        self.phase = Some(update.phase);
        self.bar.finish_and_clear();
        self.bar = match update.total_bytes {
            Some(total) if matches!(update.phase, Phase::Downloading | Phase::Verifying | Phase::Resuming) => {
                ProgressBar::new(total).with_style(style(
                    "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
                ))
            }
            _ => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        let model = update.model;
        let from = update.source.map(|source| format!(" from {source}")).unwrap_or_default();
        self.bar.set_message(match update.phase {
            Phase::Waiting => format!("another process is downloading {model}, waiting for it"),
            Phase::Connecting => format!("looking for {model}{}", from.replace(" from ", " at ")),
            Phase::Resuming => format!("{model}: reading what an earlier download left"),
            Phase::Downloading => format!("{model}{from}"),
            Phase::Verifying => format!("{model}: checking"),
            Phase::Done => String::new(),
        });
        if update.phase != Phase::Done {
            self.bar.enable_steady_tick(TICK);
        }
    }
}

impl Progress for Download {
    fn update(&mut self, update: &Update<'_>) {
        if self.phase != Some(update.phase) {
            self.enter(update);
        }
        self.bar.set_position(update.done_bytes);
        if update.phase == Phase::Done {
            self.bar.finish_and_clear();
            self.signal = self.signal();
            self.cancellation = None;
        } else if self.cancellation.is_none() {
            self.cancellation = Some(Cancellation::new());
        }
    }

    fn is_cancelled(&self) -> bool {
        self.signal().is_some()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written here")
}
