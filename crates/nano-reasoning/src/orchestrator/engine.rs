//! The loaded model: tokenizer, chat template, a sequence of an engine behind the seam, and its drafters.

use std::sync::Arc;
use std::thread;

use nano_reasoning_engine::{LogitRows, Sampler, TargetModel};
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_model::{CpuModel, LoadOptions};
use nano_reasoning_speculate::{Drafter, HeadDrafter, Observer, SpeculationOptions, SpeculativeDecoder};
use nano_reasoning_text::{ChatTemplate, Message, Tokenizer};
use nano_reasoning_train::{TrainableHead, TrainerTask};

use super::learning::{self, Trainable};
use super::speculation::{load_head, model_drafter};
use super::{GenerationConfig, Machine, machine};
use crate::checkpoints::CheckpointStore;
use crate::store::{Format, Resolved};
use crate::tier::CONTEXT_LEN;
use crate::{Error, Result};

/// Tokens before an answer that are kept with it: they say that one begins.
const N_BEFORE_ANSWER: usize = 3;

/// A loaded model and its one sequence.
pub struct Engine {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Messages to text.
    pub template: ChatTemplate,
    /// The sequence.
    pub target: Box<dyn TargetModel>,
    /// What it runs on.
    pub info: EngineInfo,
    decoder: SpeculativeDecoder,
    /// What of the drafters can be trained, until it is.
    trainable: Option<Trainable>,
    trainer: Option<TrainerTask>,
    /// Whether whole answers are kept.
    is_remembering: bool,
    /// The tokens in the sequence's cache.
    cached: Vec<u32>,
    model: Arc<CpuModel>,
}

/// What a model runs on, for people to read.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// Name of the model.
    pub model: String,
    /// Instruction set or device.
    pub device: String,
    /// Threads that compute.
    pub n_threads: usize,
    /// Bytes of weights in memory.
    pub weights_bytes: usize,
    /// Bytes of the KV cache when full.
    pub cache_bytes: usize,
    /// Bytes of weights that one token's pass reads.
    pub streamed_bytes: usize,
}

impl Engine {
    /// Loads a model, and a draft model beside it.
    ///
    /// # Errors
    /// If a file is broken or holds what the engine does not know, or the draft model has another vocabulary.
    pub fn load(
        resolved: &Resolved,
        draft_model: Option<&Resolved>,
        machine: &Machine,
        config: &GenerationConfig,
    ) -> Result<Self> {
        let options = LoadOptions {
            n_threads: Some(machine.n_threads),
            isa: config.isa.as_deref(),
            ..LoadOptions::default()
        };
        let (model, tokenizer) = load(resolved, &options)?;
        let template = ChatTemplate::of(&tokenizer)?;
        let sequence = model.sequence(config.context_len.unwrap_or(CONTEXT_LEN))?;
        let info = EngineInfo {
            model: resolved.name.clone(),
            device: model.kernels().isa().name().to_owned(),
            n_threads: model.pool().n_threads(),
            weights_bytes: model.weights_bytes(),
            cache_bytes: sequence.cache_bytes(),
            streamed_bytes: model.streamed_bytes(),
        };
        let mut target: Box<dyn TargetModel> = Box::new(sequence);
        let context_len = target.shape().context_len;
        let mut drafters: Vec<Box<dyn Drafter>> = Vec::new();
        let mut trainable = None;
        if let Some(file) = config.speculation.head_file(machine, &resolved.name)? {
            let head = load_head(&file, &config.speculation, &model, context_len)?;
            trainable = Some(Trainable::Head(TrainableHead::of(&head)));
            drafters.push(Box::new(HeadDrafter::new("head", Box::new(head))));
        }
        if let Some(draft_model) = draft_model {
            let (drafter, parts) = model_drafter(draft_model, &model, &tokenizer, context_len)?;
            // One drafter learns: the head, which drafts more often.
            trainable.get_or_insert(Trainable::DraftModel(parts));
            drafters.push(drafter);
        }
        drafters.extend(config.speculation.ngram_drafter(machine, &tokenizer));
        let options = config.speculation.options(machine);
        let decoder = SpeculativeDecoder::new(&mut *target, drafters, options)?;
        let (trainer, is_remembering, cached) = (None, true, Vec::new());
        let mut engine = Self {
            tokenizer,
            template,
            target,
            info,
            decoder,
            trainable,
            trainer,
            is_remembering,
            cached,
            model,
        };
        if machine.settings.is_training_enabled.value && engine.trainable.is_some() {
            engine.start_training(machine, config.speculation.checkpoints(machine, &resolved.name)?)?;
        }
        Ok(engine)
    }

    /// Starts to train the drafter, if nobody does yet; what it learns goes to `stores`.
    ///
    /// # Errors
    /// [`Error::NothingToTrain`]; if memory is short.
    pub(super) fn start_training(&mut self, machine: &Machine, stores: Vec<CheckpointStore>) -> Result<()> {
        if self.trainer.is_some() {
            return Ok(());
        }
        let trainable = self.trainable.take();
        let trainable = trainable.ok_or_else(|| Error::NothingToTrain { target: self.info.model.clone() })?;
        let trainer = self.trainer.insert(learning::start(trainable, machine, stores)?);
        self.decoder.add_observer(Box::new(trainer.recorder()));
        Ok(())
    }

    /// Who trains the drafter, if somebody does.
    pub fn trainer(&self) -> Option<&TrainerTask> {
        self.trainer.as_ref()
    }

    /// The weights.
    pub(crate) fn model(&self) -> &Arc<CpuModel> {
        &self.model
    }

    /// Who drafts, what it was good for, and what it learnt.
    pub fn decoder(&self) -> &SpeculativeDecoder {
        &self.decoder
    }

    /// Adds one who hears of each verification.
    pub fn add_observer(&mut self, observer: Box<dyn Observer>) {
        self.decoder.add_observer(observer);
    }

    /// Whether whole answers are kept, and learnt from, from now on.
    pub fn set_remembering(&mut self, remembers: bool) {
        self.is_remembering = remembers;
    }

    /// How far drafts may go from now on.
    pub fn set_speculation(&mut self, options: SpeculationOptions) {
        self.decoder.set_options(options);
    }

    /// Empties the cache. Whoever ran passes on [`Self::target`] himself calls this before the next answer.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn reset(&mut self) -> Result<()> {
        self.cached.clear();
        Ok(self.decoder.truncate(&mut *self.target, 0)?)
    }

    /// How fast the threads that compute read memory, measured now, in GB/s; 0 if memory is short.
    pub fn stream_read_gb_per_s(&self) -> f64 {
        machine::measure_with(self.model.pool(), 1)
    }

    /// The tokens of a conversation, up to where the answer begins.
    ///
    /// # Errors
    /// If the model's chat template refuses it.
    pub fn encode(&self, messages: &[Message]) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode_chat(&self.template, messages, true)?)
    }

    /// Tells the drafters that an answer is whole: the tokens of `history` from `start` on.
    pub(super) fn end_answer(&mut self, history: &[u32], start: usize) {
        if !self.is_remembering {
            return;
        }
        self.decoder.end_answer(&history[start.saturating_sub(N_BEFORE_ANSWER)..]);
    }

    /// Rolls the cache back to what it shares with `tokens`, less than all of them: the last one is always
    /// computed, for its logits. Returns how many stay.
    pub(super) fn reuse(&mut self, tokens: &[u32]) -> Result<usize> {
        let shared = self.cached.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let n_kept = shared.min(tokens.len().saturating_sub(1));
        self.decoder.truncate(&mut *self.target, n_kept)?;
        self.cached.truncate(n_kept);
        Ok(n_kept)
    }

    /// Passes a chunk of a prompt; gives the token that `sampler` draws after `history`, if it is the last.
    pub(super) fn prefill(
        &mut self,
        chunk: &[u32],
        history: Option<&[u32]>,
        sampler: &mut Sampler,
    ) -> Result<Option<u32>> {
        let rows = if history.is_some() { LogitRows::Last } else { LogitRows::None };
        let forward = self.decoder.prefill(&mut *self.target, chunk, rows)?;
        let token = history.map(|history| sampler.sample(forward.logits, history));
        self.cached.extend_from_slice(chunk);
        Ok(token)
    }

    /// Writes at least one token and at most `max_tokens`; see [`SpeculativeDecoder::cycle`].
    pub(super) fn cycle(
        &mut self,
        sampler: &mut Sampler,
        history: &mut Vec<u32>,
        max_tokens: usize,
        on_token: &mut dyn FnMut(&Tokenizer, u32) -> bool,
    ) -> Result<()> {
        let Self { tokenizer, target, decoder, cached, .. } = self;
        decoder
            .cycle(&mut **target, sampler, history, max_tokens, &mut |token| on_token(tokenizer, token))?;
        cached.extend_from_slice(&history[cached.len()..target.len()]);
        Ok(())
    }
}

/// The weights and the tokenizer of `resolved`. Building the tokenizer takes one core a part of the time that the
/// weights take: it is done beside them.
pub(super) fn load(resolved: &Resolved, options: &LoadOptions<'_>) -> Result<(Arc<CpuModel>, Tokenizer)> {
    let (model, tokenizer) = match resolved.format {
        Format::Gguf => {
            let file = GgufFile::open(&resolved.path)?;
            beside(|| CpuModel::from_gguf(&file, options), || Tokenizer::from_gguf(&file))
        }
        Format::Folder => beside(
            || CpuModel::load_hugging_face(&resolved.path, options),
            || Tokenizer::from_folder(&resolved.path),
        ),
    };
    Ok((model?, tokenizer?))
}

/// Runs `here` on this thread and `there` on another.
fn beside<A, B: Send>(here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let there = scope.spawn(there);
        (here(), there.join().expect("building a tokenizer does not panic"))
    })
}
