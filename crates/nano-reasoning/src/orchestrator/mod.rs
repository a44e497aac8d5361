//! One model, ready to answer: configuration, machine, files and engine put together.

mod answer;
mod drafters;
mod engine;
mod generation;
mod learning;
mod machine;
mod speculation;
mod statistics;

pub use answer::{Answer, FinishReason};
pub use drafters::Drafters;
pub use engine::{Engine, EngineInfo};
pub use generation::Sampling;
pub use machine::Machine;
pub use speculation::{DrafterChoice, Speculation, history_folder};
pub use statistics::SessionStatistics;

use std::path::PathBuf;

use nano_reasoning_speculate::SpeculationOptions;
use nano_reasoning_text::Message;
use nano_reasoning_train::TrainerTask;

use crate::config::{Overrides, Setting};
use crate::store::{Progress, Resolved};
use crate::{Error, Result};

/// What a program asks of an [`Orchestrator`]; all else comes from environment, file and tier.
#[derive(Debug, Clone, Default)]
pub struct GenerationConfig {
    /// Values that win over the configuration file.
    pub overrides: Overrides,
    /// How tokens are drawn; the temperature is the settings' unless given here.
    pub sampling: Sampling,
    /// What speculation uses.
    pub speculation: Speculation,
    /// Tokens of context; `None` for [`crate::tier::CONTEXT_LEN`], or the model's own if that is less.
    pub context_len: Option<usize>,
    /// Threads that compute; `None` for one per performance core.
    pub n_threads: Option<usize>,
    /// Instruction set, by name; `None` for the best there is.
    pub isa: Option<String>,
    /// Folder of models, instead of the environment's.
    pub cache_dir: Option<PathBuf>,
    /// The configuration file, instead of the environment's.
    pub config_path: Option<PathBuf>,
}

/// A loaded model and one conversation with it.
///
/// ```no_run
/// # fn main() -> nano_reasoning::Result<()> {
/// let mut orchestrator = nano_reasoning::NanoReasoning::create_orchestrator()?;
/// let answer = orchestrator.generate("Name three primes.", 64, |piece| {
///     print!("{piece}");
///     true
/// })?;
/// println!("\n{:.1} tokens/s", answer.tokens_per_second());
/// # Ok(())
/// # }
/// ```
pub struct Orchestrator {
    config: GenerationConfig,
    machine: Option<Machine>,
    engine: Option<Engine>,
    statistics: SessionStatistics,
}

impl Orchestrator {
    /// An orchestrator that has loaded nothing yet.
    pub fn new(config: GenerationConfig) -> Self {
        Self { config, machine: None, engine: None, statistics: SessionStatistics::default() }
    }

    /// Looks at the machine, fetches the model if it is not here, and loads it.
    ///
    /// # Errors
    /// Whatever is wrong with configuration, machine, download or model file.
    pub fn initialize(&mut self) -> Result<()> {
        self.initialize_with(&mut ())
    }

    /// As [`Self::initialize`], and tells `progress` how far a download is.
    ///
    /// # Errors
    /// As [`Self::initialize`].
    pub fn initialize_with(&mut self, progress: &mut dyn Progress) -> Result<()> {
        self.config.sampling.check()?;
        // An earlier model's memory may be needed.
        self.engine = None;
        let machine = self.machine.insert(Machine::look(&self.config)?);
        let target = &machine.settings.target_model_id.value;
        let resolved: Resolved = machine.store.ensure(target, progress)?;
        // A model of the Hub may turn out to be one of the catalogue's.
        machine.settle(&self.config.speculation, &resolved.name);
        let draft_model = match self.config.speculation.draft_model(machine)? {
            Some(id) => Some(machine.store.ensure(id, progress)?),
            None => None,
        };
        let engine = Engine::load(&resolved, draft_model.as_ref(), machine, &self.config)?;
        self.config.sampling.check_tokens(&engine.tokenizer)?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Answers `prompt` as the first message of a new conversation. `on_piece` gets the text as it comes and
    /// stops the answer by returning false; it is also asked, with an empty piece, while a long prompt is read.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], or the engine's: the prompt does not fit the context.
    pub fn generate(
        &mut self,
        prompt: &str,
        max_tokens: usize,
        on_piece: impl FnMut(&str) -> bool,
    ) -> Result<Answer> {
        self.chat(&[Message::user(prompt)], max_tokens, on_piece)
    }

    /// Answers the last of `messages`. What the messages share with the conversation before is not computed
    /// again.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn chat(
        &mut self,
        messages: &[Message],
        max_tokens: usize,
        mut on_piece: impl FnMut(&str) -> bool,
    ) -> Result<Answer> {
        let (engine, machine) = (self.engine.as_mut(), self.machine.as_ref());
        let (Some(engine), Some(machine)) = (engine, machine) else { return Err(Error::NotInitialized) };
        let (sampling, temperature) = (&self.config.sampling, machine.settings.temperature.value);
        let tokens = engine.encode(messages)?;
        let answer = {
            // Whoever waits for an answer comes first.
            let _pause = engine.trainer().map(TrainerTask::pause);
            generation::answer(engine, &tokens, max_tokens, sampling, temperature, &mut on_piece)?
        };
        self.statistics.add(&answer, engine.decoder().statistics());
        Ok(answer)
    }

    /// Goes on from `tokens`, drawing as `sampling` says, without statistics.
    pub(crate) fn complete(
        &mut self,
        tokens: &[u32],
        max_tokens: usize,
        sampling: &Sampling,
        on_piece: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Answer> {
        let engine = self.engine.as_mut().ok_or(Error::NotInitialized)?;
        generation::answer(engine, tokens, max_tokens, sampling, 0.0, on_piece)
    }

    /// What was asked for.
    pub(crate) fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// How tokens are drawn from now on.
    ///
    /// # Errors
    /// [`Error::Sampling`] if a value is out of range, [`Error::StopToken`] if the model has none of that id; nothing is
    /// changed then.
    pub fn set_sampling(&mut self, sampling: Sampling) -> Result<()> {
        sampling.check()?;
        if let Some(engine) = &self.engine {
            sampling.check_tokens(&engine.tokenizer)?;
        }
        self.config.sampling = sampling;
        Ok(())
    }

    /// Whether the next conversations are answered with speculation, as configured, or without.
    pub fn set_speculating(&mut self, speculates: bool) {
        if let (Some(engine), Some(machine)) = (&mut self.engine, &self.machine) {
            let options = self.config.speculation.options(machine);
            engine.set_speculation(if speculates {
                options
            } else {
                SpeculationOptions { draft_count: 0, ..options }
            });
        }
    }

    /// What the answers so far took.
    pub fn session_statistics(&self) -> &SessionStatistics {
        &self.statistics
    }

    /// The machine and the values in force, once initialized; also if it was the model that failed.
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// The loaded model, once initialized.
    pub fn engine(&mut self) -> Option<&mut Engine> {
        self.engine.as_mut()
    }

    /// Lets the drafter learn from answers in the background from now on, whatever the tier does by itself. Where it does
    /// already, nothing changes. What is learnt is [`Self::trainer`]'s to tell, and stays where checkpoints are kept.
    ///
    /// # Errors
    /// [`Error::NotInitialized`]; [`Error::TrainingOff`] if flag, environment or file say so; [`Error::NothingToTrain`] if
    /// there is neither a head nor a draft model.
    pub fn start_training(&mut self) -> Result<()> {
        let (engine, machine) = (self.engine.as_mut(), self.machine.as_ref());
        let (Some(engine), Some(machine)) = (engine, machine) else { return Err(Error::NotInitialized) };
        let Setting { value: is_on, source } = &machine.settings.is_training_enabled;
        if !is_on && source.is_set() {
            return Err(Error::TrainingOff { set_by: source.to_string() });
        }
        let stores = self.config.speculation.checkpoints(machine, &engine.info.model)?;
        engine.start_training(machine, stores)
    }

    /// The trainer in the background, where there is one: `training.enabled` is set or [`Self::start_training`] was called,
    /// and a head or a draft model is there.
    pub fn trainer(&self) -> Option<&TrainerTask> {
        self.engine.as_ref()?.trainer()
    }
}

/// The short way in.
pub struct NanoReasoning;

impl NanoReasoning {
    /// An orchestrator with the models that fit this machine, fetched if need be and loaded.
    ///
    /// # Errors
    /// As [`Orchestrator::initialize`].
    pub fn create_orchestrator() -> Result<Orchestrator> {
        let mut orchestrator = Orchestrator::new(GenerationConfig::default());
        orchestrator.initialize()?;
        Ok(orchestrator)
    }
}
