//! What can go wrong in this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::DrafterChoice;
use crate::quantity::{FileSize, MemorySize};
use crate::tier::Tier;

/// An error of this crate. Each message is one line that names the thing, what was found, what was wanted
/// and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration file is no JSON.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What the JSON parser says.
        problem: String,
    },
    /// The configuration file has a key that is none.
    #[error(
        "{}:{line}: unknown key '{key}'{}; allowed here: {allowed}",
        path.display(), DidYouMean(suggestion)
    )]
    ConfigUnknownKey {
        /// The file.
        path: PathBuf,
        /// Line of the key.
        line: usize,
        /// The key found, with its section.
        key: String,
        /// The key that was most likely meant, with its section.
        suggestion: Option<String>,
        /// Keys that may stand there.
        allowed: String,
    },
    /// The configuration file has a key twice.
    #[error("{}:{line}: key '{key}' is given twice; keep one", path.display())]
    ConfigDuplicateKey {
        /// The file.
        path: PathBuf,
        /// Line of the second.
        line: usize,
        /// The key, with its section.
        key: String,
    },
    /// The configuration file has a value that its key cannot take.
    #[error("{}:{line}: {key} is {found}; wanted {wanted}{}", path.display(), DidYouMean(suggestion))]
    ConfigBadValue {
        /// The file.
        path: PathBuf,
        /// Line of the value.
        line: usize,
        /// The key, with its section.
        key: String,
        /// The value found, shortened.
        found: String,
        /// What is allowed.
        wanted: &'static str,
        /// The value that was most likely meant.
        suggestion: Option<String>,
    },
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    ConfigRead {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is longer than any configuration.
    #[error("the configuration file {} has {bytes} bytes, more than the {limit} allowed; is it the right file?", path.display())]
    ConfigTooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The longest accepted.
        limit: u64,
    },
    /// A configuration file that was asked for by name is not there.
    #[error("there is no configuration file {}, which {named_by} names", path.display())]
    ConfigMissing {
        /// The file.
        path: PathBuf,
        /// The variable or flag that names it.
        named_by: String,
    },
    /// An environment variable has a value it cannot take.
    #[error("{name} is '{found}'; wanted {wanted}{}", DidYouMean(suggestion))]
    BadEnvironment {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        wanted: &'static str,
        /// The value that was most likely meant.
        suggestion: Option<String>,
    },
    /// A value given by a flag or by the calling program is one it cannot take.
    #[error("{name} is {found}; wanted {wanted}")]
    BadOverride {
        /// The flag.
        name: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        wanted: &'static str,
    },
    /// There is no home folder to put files into.
    #[error("HOME is not set, so there is no default for {name}; set HOME or {name}")]
    NoHome {
        /// The variable whose default needs a home folder.
        name: &'static str,
    },

    /// A word that is no tier.
    #[error("there is no tier '{found}'{}; tiers: compact, entry, pro, elite", DidYouMean(suggestion))]
    UnknownTier {
        /// The word found.
        found: String,
        /// The tier that was most likely meant.
        suggestion: Option<String>,
    },
    /// A forced tier whose models do not fit the memory.
    #[error(
        "tier {tier} needs {} of memory for its models and {context_len} tokens of context, but of {} only {} can be used; \
         force a smaller tier or none",
        MemorySize(*needed_bytes), MemorySize(*memory_bytes), MemorySize(*usable_bytes)
    )]
    TierDoesNotFit {
        /// The tier forced.
        tier: Tier,
        /// Weights and KV caches.
        needed_bytes: u64,
        /// What the system leaves.
        usable_bytes: u64,
        /// What the machine has.
        memory_bytes: u64,
        /// Tokens of context counted.
        context_len: usize,
    },
    /// Not even the smallest tier's target fits.
    #[error(
        "the smallest tier needs {} of memory, but of {} only {} can be used; name a smaller model with --model, \
         such as smollm2-135m",
        MemorySize(*needed_bytes), MemorySize(*memory_bytes), MemorySize(*usable_bytes)
    )]
    NothingFits {
        /// Weights and KV cache of the smallest tier's target.
        needed_bytes: u64,
        /// What the system leaves.
        usable_bytes: u64,
        /// What the machine has.
        memory_bytes: u64,
    },

    /// A catalogue that contradicts itself.
    #[error("the model catalogue is wrong at '{model}': {problem}")]
    BadCatalogue {
        /// The entry, or where in the file.
        model: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is neither in the catalogue nor a path nor an id of the Hub.
    #[error(
        "there is no model '{name}'{}; known: {known}; or give a path or a Hub id (owner/name)",
        DidYouMean(suggestion)
    )]
    UnknownModel {
        /// The name.
        name: String,
        /// The name that was most likely meant.
        suggestion: Option<String>,
        /// Names of the catalogue.
        known: String,
    },
    /// A path that leads nowhere.
    #[error("there is no model at {}; give another path, or a name that `nano-reasoning models` lists", path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// A path to something that is no model.
    #[error("{} is no model: {problem}", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// A model that is known but not on this machine.
    #[error("model '{name}' is not downloaded; get it with: nano-reasoning pull {name}")]
    NotDownloaded {
        /// The model.
        name: String,
    },
    /// A path that is not the store's to remove.
    #[error("{} is not in the model store {}; remove it yourself", path.display(), root.display())]
    NotInStore {
        /// The path.
        path: PathBuf,
        /// The store.
        root: PathBuf,
    },
    /// No source of a model could give it.
    #[error("cannot get model '{name}': {}", Attempts(attempts))]
    NotAvailable {
        /// The model.
        name: String,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A repository of the Hub with several models in it.
    #[error("{repo} holds several models; name one file: {files}")]
    AmbiguousRepo {
        /// The repository.
        repo: String,
        /// Some of the files to choose from, as they would be named.
        files: String,
    },
    /// Bytes that are not the ones wanted.
    #[error("{what} has sha256 {found}, wanted {wanted}; it was removed, run the same command again")]
    WrongSha256 {
        /// The file, or the part of it.
        what: String,
        /// Of the bytes that came.
        found: String,
        /// Of the bytes wanted.
        wanted: String,
    },
    /// A file with too few or too many bytes.
    #[error("{what} has {found} bytes, wanted {wanted}")]
    WrongSize {
        /// The file, or the part of it.
        what: String,
        /// Bytes that came.
        found: u64,
        /// Bytes wanted.
        wanted: u64,
    },
    /// No room for a model.
    #[error(
        "no room in {}: {} more are needed, {} are free; free some and run the same command again, what was \
         downloaded is kept",
        path.display(), FileSize(*needed_bytes), FileSize(*free_bytes)
    )]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Bytes still to be written.
        needed_bytes: u64,
        /// Bytes that there is room for.
        free_bytes: u64,
    },
    /// Another process is downloading the model.
    #[error("model '{name}' is being downloaded by another process; wait for it to end")]
    Busy {
        /// The model.
        name: String,
    },
    /// The caller stopped the download.
    #[error("stopped downloading '{name}'; what was downloaded is kept")]
    Cancelled {
        /// The model.
        name: String,
    },
    /// No threads were asked for.
    #[error("0 threads cannot compute anything; take at least 1")]
    NoThreads,
    /// An answer was asked for before a model was loaded.
    #[error("no model is loaded; call initialize first")]
    NotInitialized,
    /// A token that shall end answers is none of the model's.
    #[error("stop token {token} is outside the model's vocabulary; wanted an id below {vocab_size}")]
    StopToken {
        /// The id.
        token: u32,
        /// How many ids the model has.
        vocab_size: usize,
    },
    /// A profile's name that is no folder's.
    #[error(
        "'{name}' cannot be a profile's name; wanted letters, digits, '.', '_' and '-', not starting with '.'"
    )]
    BadProfile {
        /// What was given.
        name: String,
    },
    /// A checkpoint that cannot be read, written or used.
    #[error("checkpoint '{}': {reason}", path.display())]
    BadCheckpoint {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of a head in the making that cannot be read or written.
    #[error("cannot {action} '{}': {reason}", path.display())]
    DistillFile {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// A folder, or a file in it, that belongs to something else.
    #[error("'{}': found {found}; wanted {wanted}; choose another folder, or remove it", path.display())]
    BadDistillFolder {
        /// The file or folder.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// A model that cannot write a request.
    #[error(
        "the chat template of '{target}' has no token that ends a request, so the model cannot write one; \
         give requests with --prompts"
    )]
    NoTurnEnd {
        /// The model.
        target: String,
    },
    /// A head that scores its tokens itself.
    #[error(
        "the head of '{target}' has output rows of its own, wanted one that drafts over the model's; \
         add --from-scratch to make a new one"
    )]
    OwnRows {
        /// The model.
        target: String,
    },
    /// The trainer cannot start.
    #[error(transparent)]
    Train(#[from] nano_reasoning_train::Error),
    /// A sampling parameter is out of range.
    #[error(transparent)]
    Sampling(#[from] nano_reasoning_engine::InvalidParameter),
    /// The engine refused a pass.
    #[error(transparent)]
    Engine(#[from] nano_reasoning_engine::Error),
    /// Speculation cannot be set up, or failed.
    #[error(transparent)]
    Speculation(#[from] nano_reasoning_speculate::Error),
    /// A head is asked for and none is known.
    #[error("no head ships for '{target}'; name a file or folder with --head, or use --drafter ngram")]
    NoHead {
        /// The target.
        target: String,
    },
    /// A drafter is named, and the choice of another leaves it out.
    #[error(
        "{named_by} names '{named}', and --drafter is '{choice}', which leaves it out; give one of them, or take \
         --drafter {way_out} or auto"
    )]
    DrafterLeftOut {
        /// The flag that names it.
        named_by: &'static str,
        /// Its name or file.
        named: String,
        /// The choice in force.
        choice: DrafterChoice,
        /// The choice that uses it.
        way_out: DrafterChoice,
    },
    /// Training is asked for, and somebody set it off.
    #[error("training is off: {set_by} says so; leave it out there, or ask for lora or eagle")]
    TrainingOff {
        /// The flag, variable, or file and line.
        set_by: String,
    },
    /// Training is asked for where no drafter learns by gradients.
    #[error(
        "nothing of the drafters of '{target}' can be trained: found neither a head nor a draft model; name one (--head, \
         --drafter-model), or a model for which a head ships"
    )]
    NothingToTrain {
        /// The target.
        target: String,
    },
    /// A head's layer shall learn, and what drafts is a model.
    #[error(
        "a draft model has no head whose layer could learn; --strategy lora learns adapters on the model"
    )]
    NoLayerToLearn,
    /// A head is to be written where something is.
    #[error("{} is already there; remove it or choose another name", path.display())]
    ExportExists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A head is to be written to a GGUF file, and its model is none.
    #[error(
        "a head's GGUF file holds the tokenizer of its model's GGUF file, but '{target}' is a folder; \
         export to a folder, or name the model's .gguf file with --model"
    )]
    NoGgufTarget {
        /// The model.
        target: String,
    },
    /// A draft model is asked for and none is known.
    #[error(
        "no draft model is known for '{target}'; name one of the same vocabulary with --drafter-model, or use --drafter ngram"
    )]
    NoDraftModel {
        /// The target.
        target: String,
    },
    /// A GGUF file is broken.
    #[error(transparent)]
    Gguf(#[from] nano_reasoning_gguf::Error),
    /// A model cannot be run.
    #[error(transparent)]
    Model(#[from] nano_reasoning_model::Error),
    /// A tokenizer or chat template cannot be used.
    #[error(transparent)]
    Text(#[from] nano_reasoning_text::Error),
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `create`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// One source of a model that was tried, and why it did not give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The source: `Hub owner/name`, `pip packages`.
    pub source: String,
    /// Why it did not work.
    pub problem: String,
}

/// `; did you mean 'x'?` or nothing.
struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, ", did you mean '{word}'?"),
            None => Ok(()),
        }
    }
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, attempt) in self.0.iter().enumerate() {
            let comma = if i > 0 { "; " } else { "" };
            write!(f, "{comma}{}: {}", attempt.source, attempt.problem)?;
        }
        if self.0.is_empty() { write!(f, "it has no source") } else { Ok(()) }
    }
}
