//! The loaded model: tokenizer, chat template, and a sequence of an engine behind the seam.

use std::sync::Arc;
use std::thread;

use nano_reasoning_engine::TargetModel;
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, LoadOptions};
use nano_reasoning_text::{ChatTemplate, Message, Tokenizer};

use super::{GenerationConfig, Machine, machine};
use crate::Result;
use crate::store::{Format, Resolved};
use crate::tier::CONTEXT_LEN;

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
    /// The tokens in the sequence's cache.
    cached: Vec<u32>,
    pool: Arc<Pool>,
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
    /// Loads a model.
    ///
    /// # Errors
    /// If the file is broken or holds what the engine does not know.
    pub fn load(resolved: &Resolved, machine: &Machine, config: &GenerationConfig) -> Result<Self> {
        let options = LoadOptions {
            n_threads: Some(machine.n_threads),
            isa: config.isa.as_deref(),
            ..LoadOptions::default()
        };
        // Building the tokenizer takes one core a part of the time that the weights take: do it beside them.
        let (model, tokenizer) = match resolved.format {
            Format::Gguf => {
                let file = GgufFile::open(&resolved.path)?;
                beside(|| CpuModel::from_gguf(&file, &options), || Tokenizer::from_gguf(&file))
            }
            Format::Folder => beside(
                || CpuModel::load_hugging_face(&resolved.path, &options),
                || Tokenizer::from_folder(&resolved.path),
            ),
        };
        let (model, tokenizer) = (model?, tokenizer?);
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
        let (target, cached, pool) = (Box::new(sequence), Vec::new(), model.pool().clone());
        Ok(Self { tokenizer, template, target, info, cached, pool })
    }

    /// Empties the cache. Whoever ran passes on [`Self::target`] himself calls this before the next answer.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn reset(&mut self) -> Result<()> {
        self.cached.clear();
        Ok(self.target.truncate(0)?)
    }

    /// How fast the threads that compute read memory, measured now, in GB/s; 0 if memory is short.
    pub fn stream_read_gb_per_s(&self) -> f64 {
        machine::measure_with(&self.pool, 1)
    }

    /// The tokens of a conversation, up to where the answer begins.
    ///
    /// # Errors
    /// If the model's chat template refuses it.
    pub fn encode(&self, messages: &[Message]) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode_chat(&self.template, messages, true)?)
    }

    /// Rolls the cache back to what it shares with `tokens`, less than all of them: the last one is always
    /// computed, for its logits. Returns how many stay.
    pub(super) fn reuse(&mut self, tokens: &[u32]) -> Result<usize> {
        let shared = self.cached.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let n_kept = shared.min(tokens.len().saturating_sub(1));
        self.target.truncate(n_kept)?;
        self.cached.truncate(n_kept);
        Ok(n_kept)
    }

    /// Records that `tokens` went into the cache.
    pub(super) fn cache(&mut self, tokens: &[u32]) {
        self.cached.extend_from_slice(tokens);
    }
}

/// Runs `here` on this thread and `there` on another.
fn beside<A, B: Send>(here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let there = scope.spawn(there);
        (here(), there.join().expect("building a tokenizer does not panic"))
    })
}
