//! A head from a file or a folder.

use super::config::{HeadConfig, core_list};
use super::output::HeadOutput;
use super::values::HeadValues;
use super::weights::HeadWeights;
use super::{CHUNK_ENTRIES, Eagle3Head, HeadLayer, HeadOptions, MAX_NODES, Scratch, gguf, safetensors};
use crate::adapter::AdapterScratch;
use crate::model::CpuModel;
use crate::{Error, Result};
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_kernels::{Activations, AttentionScratch, KvLayer, PackedMatrix};
use std::path::Path;
use std::sync::Arc;

/// What a file holds.
pub(super) struct Parts {
    pub(super) config: HeadConfig,
    pub(super) weights: HeadWeights,
    /// Tokens it drafts over, most frequent first.
    pub(super) core: Vec<u32>,
    /// Trained rows for those, `[core.len(), hidden_dim]`.
    pub(super) own: Option<PackedMatrix>,
}

impl Eagle3Head {
    /// Reads the head in `file` for `target`, with room for `context_len` tokens.
    ///
    /// # Errors
    /// The first thing that is wrong with the file, that does not fit the target, or that is not computed here.
    pub fn from_gguf(
        file: &GgufFile,
        target: &Arc<CpuModel>,
        context_len: usize,
        options: &HeadOptions,
    ) -> Result<Self> {
        Self::new(gguf::read(file, target)?, target, context_len, options)
    }

    /// Reads the head in a folder of `config.json` and safetensors, as SpecForge and speculators write it, for `target`,
    /// with room for `context_len` tokens.
    ///
    /// # Errors
    /// As [`Self::from_gguf`], of the folder.
    pub fn from_folder(
        folder: impl AsRef<Path>,
        target: &Arc<CpuModel>,
        context_len: usize,
        options: &HeadOptions,
    ) -> Result<Self> {
        Self::new(safetensors::read(folder.as_ref(), target)?, target, context_len, options)
    }

    /// A head of the sizes of `config` with the weights `values`, which drafts over rows of the target's, those of `core`,
    /// most frequent first, with room for `context_len` tokens.
    ///
    /// # Errors
    /// If sizes, numbers or tokens do not fit each other or the target, or memory is short.
    pub fn from_values(
        target: &Arc<CpuModel>,
        config: &HeadConfig,
        values: &HeadValues,
        core: &[u32],
        context_len: usize,
    ) -> Result<Self> {
        let config = config.clone().check(target, str::to_owned)?;
        let weights = values.pack(target, &config)?;
        let core = core_list(core.iter().map(|&token| i64::from(token)), config.vocab_size)?;
        let parts = Parts { config, weights, core, own: None };
        Self::new(parts, target, context_len, &HeadOptions::default())
    }

    fn new(parts: Parts, target: &Arc<CpuModel>, context_len: usize, options: &HeadOptions) -> Result<Self> {
        let Parts { config, weights, core, own } = parts;
        let hidden_dim = target.config.hidden_dim;
        let cache = KvLayer::new(config.n_kv_heads, config.head_dim, context_len.saturating_add(MAX_NODES))
            .map_err(|_| Error::CacheTooLarge { context_len })?;
        Ok(Self {
            target: target.clone(),
            output: HeadOutput::new(target, core, own, options)?,
            cache,
            context_len,
            is_vocab_fixed: options.is_vocab_fixed,
            len: 0,
            ancestors: Vec::with_capacity(MAX_NODES),
            y: Vec::with_capacity((1 + MAX_NODES) * hidden_dim),
            scratch: Scratch::new(&config, CHUNK_ENTRIES),
            attention: AttentionScratch::new(),
            activations: Activations::new(),
            logits: Vec::new(),
            layer: Arc::new(HeadLayer::new(config, weights)?),
            learnt: Default::default(),
            adapter_scratch: AdapterScratch::default(),
        })
    }
}
