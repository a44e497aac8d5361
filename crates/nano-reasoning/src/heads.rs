//! Heads: those that ship with the project, in the binary itself, since a head is small and without it nothing drafts;
//! and what can be done with one beside drafting.

use std::path::Path;
use std::sync::Arc;

use nano_reasoning_engine::DraftHead;
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_model::{CpuModel, HeadFile, HeadOptions, LoadOptions};

use crate::store::{Format, Resolved};
use crate::{Error, GenerationConfig, Machine, Result};

/// A shipped head, as a GGUF file: the one trained for the catalogue's model `name`.
pub(crate) fn shipped(name: &str) -> Option<&'static [u8]> {
    match name {
        "qwen2.5-coder-1.5b" => Some(include_bytes!("../../../assets/heads/qwen2.5-coder-1.5b.eagle3.gguf")),
        "smollm2-135m" => Some(include_bytes!("../../../assets/heads/smollm2-135m.eagle3.gguf")),
        _ => None,
    }
}

/// The head at `path`, or the one that ships for the catalogue's model `name`.
pub(crate) fn find(path: Option<&Path>, name: &str) -> Result<Option<HeadFile>> {
    Ok(match (path, shipped(name)) {
        (Some(path), _) => Some(HeadFile::open(path)?),
        (None, Some(bytes)) => Some(HeadFile::Gguf(GgufFile::from_program(bytes)?)),
        (None, None) => None,
    })
}

/// A head beside the model that it drafts for: to look at, and to write for other programs.
pub struct Head {
    file: HeadFile,
    target: Arc<CpuModel>,
    resolved: Resolved,
}

/// What a head is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeadInfo {
    /// The model that it drafts for.
    pub target: String,
    /// Layers of that model whose inputs it reads.
    pub target_layers: Vec<usize>,
    /// Numbers it has learnt.
    pub n_parameters: usize,
    /// Tokens it drafts over before it has seen any text.
    pub n_core_tokens: usize,
    /// Whether it scores those with rows of its own, or with the model's.
    pub has_trained_output: bool,
    /// Bytes in memory, rows that it copies from the model included.
    pub size_bytes: usize,
}

impl Head {
    /// The head that `config` names or that ships for its model, which must be on this machine.
    ///
    /// # Errors
    /// [`Error::NoHead`], or whatever is wrong with configuration, model or head.
    pub fn open(config: &GenerationConfig) -> Result<Self> {
        let machine = Machine::look(config)?;
        let resolved = machine.store.resolve(&machine.settings.target_model_id.value)?;
        let file = find(config.speculation.head.as_deref(), &resolved.name)?;
        let file = file.ok_or_else(|| Error::NoHead { target: resolved.name.clone() })?;
        let options = LoadOptions {
            n_threads: Some(machine.n_threads),
            isa: config.isa.as_deref(),
            ..LoadOptions::default()
        };
        let target = CpuModel::load(&resolved.path, &options)?;
        Ok(Self { file, target, resolved })
    }

    /// What it is.
    ///
    /// # Errors
    /// The first thing that is wrong with it, or that does not fit the model.
    pub fn info(&self) -> Result<HeadInfo> {
        let head = self.file.load(&self.target, 0, &HeadOptions::default())?;
        Ok(HeadInfo {
            target: self.resolved.name.clone(),
            target_layers: head.taps().to_vec(),
            n_parameters: head.n_parameters(),
            n_core_tokens: head.draft_vocab().len(),
            has_trained_output: head.has_output(),
            size_bytes: head.weights_bytes(),
        })
    }

    /// Writes it for other programs: to a GGUF file, for llama.cpp, where `to` ends so, else to a folder, for vLLM and
    /// SGLang.
    ///
    /// # Errors
    /// If there is something at `to`, the program would not compute the head, or writing fails.
    pub fn export(&self, to: &Path) -> Result<()> {
        if to.exists() {
            return Err(Error::ExportExists { path: to.to_owned() });
        }
        if to.extension().is_none_or(|extension| extension != "gguf") {
            return Ok(self.file.write_folder(&self.target, to)?);
        }
        match self.resolved.format {
            Format::Gguf => {
                Ok(self.file.write_gguf(&self.target, &GgufFile::open(&self.resolved.path)?, to)?)
            }
            Format::Folder => Err(Error::NoGgufTarget { target: self.resolved.name.clone() }),
        }
    }
}
