//! A loaded model, and answers of it.

use std::time::{Duration, Instant};

use nano_reasoning::store::{Phase, Progress, Update};
use nano_reasoning::{Answer, Error, GenerationConfig, Message, Orchestrator};

use crate::failure::Stopped;
use crate::interrupt::{Cancellation, Signal};
use crate::output::{self, note};
use crate::progress::{Download, Spinner};
use crate::trace::Trace;

/// A loaded model, and how long loading took.
pub(crate) struct Session {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) load_time: Duration,
}

/// An answer that was shown.
pub(crate) struct Shown {
    pub(crate) answer: Answer,
    /// Time until the first text.
    pub(crate) first_token: Option<Duration>,
    /// The signal that stopped it.
    pub(crate) signal: Option<Signal>,
}

impl Session {
    /// Loads the model, after downloading it if it is not here.
    ///
    /// # Errors
    /// Whatever is wrong with configuration, machine, download or model; [`Stopped`] by a signal.
    pub(crate) fn open(config: GenerationConfig) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut orchestrator = Orchestrator::new(config);
        let mut start = Start { spinner: Some(loading()), download: None };
        let initialized = orchestrator.initialize_with(&mut start);
        let signal = start.download.as_ref().and_then(Download::signal);
        drop(start);
        match (initialized, signal) {
            (Err(error @ Error::Cancelled { .. }), Some(signal)) => {
                note(&error.to_string());
                return Err(Stopped(signal).into());
            }
            // What is wrong inside a file is told without the file's name.
            (Err(error @ (Error::Gguf(_) | Error::Model(_) | Error::Text(_))), _) => {
                let machine = orchestrator.machine();
                let message = machine.map_or(error.to_string(), |machine| {
                    let model = &machine.settings.target_model_id.value;
                    match machine.store.catalogue().find(model) {
                        Some(_) => format!("{model}: {error}; or check it with: nano-reasoning pull {model}"),
                        None => format!("{model}: {error}"),
                    }
                });
                return Err(anyhow::Error::new(error).context(message));
            }
            (initialized, _) => initialized?,
        }
        let machine = orchestrator.machine().expect("it is initialized");
        for warning in machine.choice.warnings.iter().chain(&machine.warnings) {
            tracing::warn!("{warning}");
        }
        let is_traced = orchestrator.machine().is_some_and(|machine| machine.environment.is_debug.value);
        if let Some(engine) = orchestrator.engine().filter(|_| is_traced) {
            let drafters = engine.decoder().actors().iter().map(|actor| actor.name().to_owned()).collect();
            engine.add_observer(Box::new(Trace { drafters }));
        }
        Ok(Self { orchestrator, load_time: started.elapsed() })
    }

    /// Answers the last of `messages` on standard output, until a signal stops it.
    ///
    /// # Errors
    /// Those of the library, and of writing.
    pub(crate) fn answer(&mut self, messages: &[Message], max_tokens: u32) -> anyhow::Result<Shown> {
        let cancellation = Cancellation::new();
        let mut spinner = Some(Spinner::new("reading the prompt".to_owned()));
        let mut output = output::Answer::new();
        let started = Instant::now();
        let mut first_token = None;
        let answer = self.orchestrator.chat(messages, max_tokens as usize, |piece| {
            if !piece.is_empty() {
                spinner = None;
                first_token.get_or_insert_with(|| started.elapsed());
            }
            output.push(piece) && cancellation.signal().is_none()
        });
        drop(spinner);
        output.finish()?;
        Ok(Shown { answer: answer?, first_token, signal: cancellation.signal() })
    }
}

/// A spinner while the model loads; in its place the download's bar if there is one.
struct Start {
    spinner: Option<Spinner>,
    download: Option<Download>,
}

fn loading() -> Spinner {
    Spinner::new("loading the model".to_owned())
}

impl Progress for Start {
    fn update(&mut self, update: &Update<'_>) {
        self.spinner = None;
        self.download.get_or_insert_with(Download::new).update(update);
        if update.phase == Phase::Done {
            self.spinner = Some(loading());
        }
    }

    fn is_cancelled(&self) -> bool {
        self.download.as_ref().is_some_and(Progress::is_cancelled)
    }
}
