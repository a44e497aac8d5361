//! Which drafters a session has, and how far they may go.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use nano_reasoning_model::{CpuModel, Eagle3Head, HeadFile, HeadOptions, LoadOptions};
use nano_reasoning_speculate::{
    DEFAULT_HISTORY_TOKENS, Drafter, HistoryStore, ModelDrafter, NgramDrafter, SpeculationOptions,
};
use nano_reasoning_text::Tokenizer;
use nano_reasoning_train::DraftModel;

use super::{Machine, engine};
use crate::checkpoints::{CheckpointStore, DEFAULT_PROFILE};
use crate::config::{LearningStrategy, Settings, Source};
use crate::store::Resolved;
use crate::{Error, Result, heads};

/// Tokens of its list that a head can always propose. With all 24,576 it accepts 0.9 % more tokens a pass (τ 3.27 against
/// 3.25 over 30 development prompts), and a step takes 5.3 instead of 3.2 % of the target's pass (Zen 4, 2 threads, 2026-11).
const HEAD_CORE_VOCAB: usize = 8_192;
/// Tokens that a draft model can always propose: ids ascend as the tokenizer's training went from frequent to rare.
const MODEL_CORE_VOCAB: u32 = 24_576;

/// Profiles to choose from at most: each answer is guessed with every one of them.
const MAX_PROFILES: usize = 8;

/// What speculation shall use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Speculation {
    /// Who drafts.
    pub drafter: DrafterChoice,
    /// A head's GGUF file, or its folder of safetensors, instead of the one that ships for the target.
    pub head: Option<PathBuf>,
    /// Rows of the head's core list to draft over; `None` for 8,192.
    pub core_vocab: Option<usize>,
    /// Whether a head drafts over its core list alone, not over the context's tokens, too.
    pub is_vocab_fixed: bool,
    /// Alternatives that may follow one token; `None` for 2, and 1 is chains.
    pub max_width: Option<usize>,
    /// Whether answers are neither kept for later drafts nor drafted from.
    pub is_history_off: bool,
    /// Where answers and what was learnt are kept; `None` for the environment's folder.
    pub memory_dir: Option<PathBuf>,
    /// What is learnt is kept, and found again, under this name; `None` for whichever profile guesses recent answers best,
    /// [`DEFAULT_PROFILE`] where there is none yet.
    pub profile: Option<String>,
    /// Whether drafts are always as long as they may be: to measure drafters, not to be fast.
    pub is_fixed: bool,
}

/// Who drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrafterChoice {
    /// Nobody.
    None,
    /// What was written before.
    Ngram,
    /// A small model.
    Model,
    /// A head that reads the target's hidden states.
    Head,
    /// All there is for the target, whichever pays.
    #[default]
    Auto,
}

impl DrafterChoice {
    /// All choices.
    pub const ALL: [Self; 5] = [Self::None, Self::Ngram, Self::Model, Self::Head, Self::Auto];

    /// Its name, as `--drafter` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ngram => "ngram",
            Self::Model => "model",
            Self::Head => "head",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for DrafterChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DrafterChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|choice| choice.name() == text);
        found.ok_or_else(|| {
            let allowed = Self::ALL.map(Self::name).join(", ");
            format!("unknown drafter '{text}'; allowed: {allowed}")
        })
    }
}

impl Speculation {
    /// What the decoder may do.
    pub(super) fn options(&self, machine: &Machine) -> SpeculationOptions {
        SpeculationOptions {
            draft_count: machine.settings.draft_count.value as usize,
            max_width: self.max_width.unwrap_or(2).max(1),
            is_fixed: self.is_fixed,
        }
    }

    /// Where answers and what was learnt are kept.
    fn memory_dir<'a>(&'a self, machine: &'a Machine) -> &'a Path {
        self.memory_dir.as_deref().unwrap_or(&machine.environment.checkpoints_dir.value)
    }

    /// Where what is learnt is kept for the model called `name`, by profile: the one that is named, or else the default
    /// one and all others there are, the latest few of them. Nowhere where nothing is kept.
    ///
    /// # Errors
    /// [`Error::BadProfile`].
    pub(super) fn checkpoints(&self, machine: &Machine, name: &str) -> Result<Vec<CheckpointStore>> {
        if self.is_history_off {
            return Ok(Vec::new());
        }
        let folder = self.memory_dir(machine);
        let first = self.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
        let mut stores = vec![CheckpointStore::new(folder, first, name)?];
        if self.profile.is_none() {
            let mut others = CheckpointStore::all(folder);
            others.retain(|store| store.model == stores[0].model && *store != stores[0]);
            others.sort_by_key(|store| std::cmp::Reverse(store.latest()));
            stores.extend(others.into_iter().take(MAX_PROFILES - 1));
        }
        Ok(stores)
    }

    /// Whether nothing shall draft.
    pub(super) fn is_off(&self, settings: &Settings) -> bool {
        self.drafter == DrafterChoice::None || settings.draft_count.value == 0
    }

    /// A drafter that copies what was written before, in earlier answers too.
    pub(super) fn ngram_drafter(&self, machine: &Machine, tokenizer: &Tokenizer) -> Option<Box<dyn Drafter>> {
        if !machine.drafters.has_ngram {
            return None;
        }
        let folder = history_folder(self.memory_dir(machine));
        let open = || HistoryStore::open(&folder, &history_key(tokenizer), DEFAULT_HISTORY_TOKENS);
        let history = (!self.is_history_off).then(open).transpose().unwrap_or_else(|error| {
            tracing::warn!(path = %folder.display(), %error, "earlier answers cannot be read; drafting goes on without");
            None
        });
        Some(Box::new(NgramDrafter::new(history)))
    }

    /// The head that is to be loaded for the model of the catalogue called `name`.
    ///
    /// # Errors
    /// If its file is broken; [`Error::NoHead`] if one is asked for, or asked to learn, and none is known.
    pub(super) fn head_file(&self, machine: &Machine, name: &str) -> Result<Option<HeadFile>> {
        let may_draft = matches!(self.drafter, DrafterChoice::Head | DrafterChoice::Auto);
        if self.is_off(&machine.settings) || !may_draft {
            return Ok(None);
        }
        let strategy = &machine.settings.strategy;
        let shall_learn =
            strategy.value == LearningStrategy::Eagle && matches!(strategy.source, Source::Flag(_));
        match heads::find(self.head.as_deref(), name)? {
            None if shall_learn || self.drafter != DrafterChoice::Auto => {
                Err(Error::NoHead { target: name.to_owned() })
            }
            found => Ok(found),
        }
    }

    /// The draft model that is to be loaded.
    ///
    /// # Errors
    /// [`Error::NoDraftModel`] if one is asked for and none is known.
    pub(super) fn draft_model<'a>(&self, machine: &'a Machine) -> Result<Option<&'a str>> {
        let model = machine.drafters.model.as_deref();
        if model.is_none() && self.drafter == DrafterChoice::Model && !self.is_off(&machine.settings) {
            let target = machine.settings.target_model_id.value.clone();
            return Err(Error::NoDraftModel { target });
        }
        Ok(model)
    }
}

/// Where earlier answers lie.
pub fn history_folder(memory_dir: &Path) -> PathBuf {
    memory_dir.join("history")
}

/// What the answers of models with this tokenizer are kept under.
fn history_key(tokenizer: &Tokenizer) -> String {
    format!("{:016x}", tokenizer.vocabulary_hash())
}

/// The head in `file`.
pub(super) fn load_head(
    file: &HeadFile,
    speculation: &Speculation,
    target: &Arc<CpuModel>,
    context_len: usize,
) -> Result<Eagle3Head> {
    let Speculation { core_vocab, is_vocab_fixed, .. } = *speculation;
    let options = HeadOptions { core_vocab: Some(core_vocab.unwrap_or(HEAD_CORE_VOCAB)), is_vocab_fixed };
    Ok(file.load(target, context_len, &options)?)
}

/// A drafter around the model `resolved`, sharing the target's threads, and what a trainer needs of it.
pub(super) fn model_drafter(
    resolved: &Resolved,
    target: &Arc<CpuModel>,
    tokenizer: &Tokenizer,
    context_len: usize,
) -> Result<(Box<dyn Drafter>, DraftModel)> {
    let options = LoadOptions {
        pool: Some(target.pool().clone()),
        isa: Some(target.kernels().isa().name()),
        ..LoadOptions::default()
    };
    let (model, own) = engine::load(resolved, &options)?;
    if let Some(token) = tokenizer.first_difference(&own) {
        let text = |tokenizer: &Tokenizer| match token as usize {
            id if id < tokenizer.vocab_size() => {
                String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned()
            }
            _ => "no token".to_owned(),
        };
        let (drafter, found, wanted) = (resolved.name.clone(), text(&own), text(tokenizer));
        return Err(nano_reasoning_speculate::Error::OtherVocabulary { drafter, token, found, wanted }.into());
    }
    let vocab_size = model.config().vocab_size.min(target.config().vocab_size) as u32;
    let n_core = MODEL_CORE_VOCAB.min(vocab_size);
    let more = tokenizer.end_tokens().iter().copied().filter(|token| (n_core..vocab_size).contains(token));
    let core_vocab: Vec<u32> = (0..n_core).chain(more).collect();
    let sequence = model.sequence(context_len)?;
    let (target, slot) = (target.clone(), sequence.slot().clone());
    let drafter = ModelDrafter::new("model", Box::new(sequence), core_vocab.iter().copied());
    Ok((Box::new(drafter), DraftModel { target, model, core_vocab, slot }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GenerationConfig;
    use crate::config::Overrides;

    #[test]
    fn a_head_that_shall_learn_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let config_path = folder.path().join("config.json");
        std::fs::write(&config_path, "{}").unwrap();
        let found = |strategy, drafter| {
            let overrides = Overrides { strategy: Some(strategy), ..Overrides::default() };
            let config_path = Some(config_path.clone());
            let speculation = Speculation { drafter, ..Speculation::default() };
            let config =
                GenerationConfig { overrides, speculation, config_path, ..GenerationConfig::default() };
            let machine = Machine::look(&config).unwrap();
            config.speculation.head_file(&machine, "my-model")
        };
        use DrafterChoice::{Auto, Ngram};
        let error = found(LearningStrategy::Eagle, Auto).err().unwrap().to_string();
        assert!(error.starts_with("no head ships for 'my-model'"), "{error}");
        assert!(found(LearningStrategy::Eagle, Ngram).unwrap().is_none());
        assert!(found(LearningStrategy::Lora, Auto).unwrap().is_none());
    }

    #[test]
    fn all_profiles_of_a_model_stand_by_unless_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let config_path = folder.path().join("config.json");
        std::fs::write(&config_path, "{}").unwrap();
        let config = GenerationConfig { config_path: Some(config_path), ..GenerationConfig::default() };
        let machine = Machine::look(&config).unwrap();
        for (profile, model) in [("maths", "mine"), ("code", "mine"), ("letters", "another")] {
            let folder = folder.path().join("profiles").join(profile).join(model);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("000001.safetensors"), "").unwrap();
        }
        let names = |profile: Option<&str>, is_history_off| {
            let profile = profile.map(str::to_owned);
            let memory_dir = Some(folder.path().into());
            let speculation = Speculation { profile, memory_dir, is_history_off, ..Speculation::default() };
            let stores = speculation.checkpoints(&machine, "mine").unwrap();
            stores.into_iter().map(|store| store.profile).collect::<Vec<_>>()
        };
        let found = names(None, false);
        assert_eq!(found[0], DEFAULT_PROFILE);
        assert!(found.len() == 3 && ["maths", "code"].iter().all(|name| found.contains(&(*name).into())));
        assert_eq!(names(Some("maths"), false), ["maths"]);
        assert!(names(None, true).is_empty());
    }

    #[test]
    fn drafters_are_chosen_by_name() {
        for choice in DrafterChoice::ALL {
            assert_eq!(choice.name().parse(), Ok(choice));
        }
        let error = "eagle".parse::<DrafterChoice>().unwrap_err();
        assert_eq!(error, "unknown drafter 'eagle'; allowed: none, ngram, model, head, auto");
    }
}
