//! The configuration file: JSON with exactly the keys below, each optional.
//!
//! ```json
//! {
//!   "hardware":   { "forceTier": "pro", "gpuUtilizationTarget": 0.85, "enableNPUOffload": true },
//!   "models":     { "targetModelId": "qwen2.5-7b", "drafterModelId": "qwen2.5-0.5b" },
//!   "generation": { "maxTokens": 2048, "temperature": 0.7, "draftCount": 5 },
//!   "training":   { "enabled": true, "strategy": "lora", "learningRate": 1e-4, "batchSize": 4, "bufferCapacity": 50 }
//! }
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::json_object::{Members, line_of, offset_of};
use super::limits::{self, Limit};
use super::{Environment, LearningStrategy, Setting, Source};
use crate::near_miss::near_miss;
use crate::tier::Tier;
use crate::{Error, Result};

/// Sections and their keys.
const SECTIONS: [(&str, &[&str]); 4] = [
    ("hardware", &["forceTier", "gpuUtilizationTarget", "enableNPUOffload"]),
    ("models", &["targetModelId", "drafterModelId"]),
    ("generation", &["maxTokens", "temperature", "draftCount"]),
    ("training", &["enabled", "strategy", "learningRate", "batchSize", "bufferCapacity"]),
];

/// No configuration is longer.
const MAX_BYTES: u64 = 1 << 20;

/// What a configuration file sets; `None` is what it leaves alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigFile {
    /// `hardware.forceTier`
    pub force_tier: Option<Setting<Tier>>,
    /// `hardware.gpuUtilizationTarget`
    pub gpu_utilization_target: Option<Setting<f64>>,
    /// `hardware.enableNPUOffload`
    pub enable_npu_offload: Option<Setting<bool>>,
    /// `models.targetModelId`
    pub target_model_id: Option<Setting<String>>,
    /// `models.drafterModelId`
    pub drafter_model_id: Option<Setting<String>>,
    /// `generation.maxTokens`
    pub max_tokens: Option<Setting<u32>>,
    /// `generation.temperature`
    pub temperature: Option<Setting<f64>>,
    /// `generation.draftCount`
    pub draft_count: Option<Setting<u32>>,
    /// `training.enabled`
    pub is_training_enabled: Option<Setting<bool>>,
    /// `training.strategy`
    pub strategy: Option<Setting<LearningStrategy>>,
    /// `training.learningRate`
    pub learning_rate: Option<Setting<f64>>,
    /// `training.batchSize`
    pub batch_size: Option<Setting<u32>>,
    /// `training.bufferCapacity`
    pub buffer_capacity: Option<Setting<u32>>,
}

impl ConfigFile {
    /// Reads the file that the environment names. A default file that is not there sets nothing. What the environment
    /// sets itself takes the place of the file's.
    ///
    /// # Errors
    /// [`Error::ConfigMissing`] if a file named by a variable or flag is not there, [`Error::ConfigRead`]
    /// and [`Error::ConfigTooLong`] if it cannot be read, and those of [`Self::parse`].
    pub fn load(environment: &Environment) -> Result<Self> {
        let file = Self::read(environment)?;
        Ok(Self { strategy: environment.strategy.clone().or(file.strategy.clone()), ..file })
    }

    fn read(environment: &Environment) -> Result<Self> {
        let Setting { value: path, source } = &environment.config_path;
        let failed = |source| Error::ConfigRead { path: path.clone(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match source {
                    Source::Default => Ok(Self::default()),
                    named_by => {
                        Err(Error::ConfigMissing { path: path.clone(), named_by: named_by.to_string() })
                    }
                };
            }
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        // One byte more than allowed tells a long file from one that just fits.
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_BYTES {
            let bytes = std::fs::metadata(path).map_or(text.len() as u64, |metadata| metadata.len());
            return Err(Error::ConfigTooLong { path: path.clone(), bytes, limit: MAX_BYTES });
        }
        Self::parse(&text, path)
    }

    /// Reads the text of a configuration file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`], [`Error::ConfigUnknownKey`], [`Error::ConfigDuplicateKey`] or
    /// [`Error::ConfigBadValue`], each with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        // Some editors put a mark at the start of UTF-8.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut config = Self::default();
        if text.trim().is_empty() {
            return Ok(config);
        }
        let Members(sections) = serde_json::from_str(text).map_err(|error| syntax(path, &error))?;
        let at = |raw| Member { path, text, key: String::new(), raw };
        for (index, (name, raw)) in sections.iter().enumerate() {
            let member = Member { key: name.clone(), ..at(*raw) };
            let Some((_, keys)) = SECTIONS.iter().find(|(section, _)| section == name) else {
                return Err(member.unknown_section());
            };
            if sections[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(member.duplicate());
            }
            let Ok(Members(members)) = serde_json::from_str(raw.get()) else {
                return Err(member.bad("an object { … }", None));
            };
            for (index, (key, raw)) in members.iter().enumerate() {
                let member = Member { key: format!("{name}.{key}"), ..at(*raw) };
                if !keys.contains(&key.as_str()) {
                    return Err(member.unknown_key(name, key, keys));
                }
                if members[..index].iter().any(|(earlier, _)| earlier == key) {
                    return Err(member.duplicate());
                }
                config.set(&member)?;
            }
        }
        Ok(config)
    }

    fn set(&mut self, member: &Member<'_>) -> Result<()> {
        match member.key.as_str() {
            "hardware.forceTier" => self.force_tier = member.tier()?,
            "hardware.gpuUtilizationTarget" => {
                self.gpu_utilization_target = member.number(&limits::GPU_UTILIZATION)?;
            }
            "hardware.enableNPUOffload" => self.enable_npu_offload = member.boolean()?,
            "models.targetModelId" => self.target_model_id = member.model_id()?,
            "models.drafterModelId" => self.drafter_model_id = member.model_id()?,
            "generation.maxTokens" => self.max_tokens = member.number(&limits::MAX_TOKENS)?,
            "generation.temperature" => self.temperature = member.number(&limits::TEMPERATURE)?,
            "generation.draftCount" => self.draft_count = member.number(&limits::DRAFT_COUNT)?,
            "training.enabled" => self.is_training_enabled = member.boolean()?,
            "training.strategy" => self.strategy = member.strategy()?,
            "training.learningRate" => self.learning_rate = member.number(&limits::LEARNING_RATE)?,
            "training.batchSize" => self.batch_size = member.number(&limits::BATCH_SIZE)?,
            "training.bufferCapacity" => self.buffer_capacity = member.number(&limits::BUFFER_CAPACITY)?,
            key => unreachable!("{key} is in SECTIONS and has no field"),
        }
        Ok(())
    }
}

/// A key with its value, and where they stand.
struct Member<'a> {
    path: &'a Path,
    text: &'a str,
    /// With its section: `generation.maxTokens`.
    key: String,
    raw: &'a RawValue,
}

impl Member<'_> {
    fn number<T: DeserializeOwned + PartialOrd + Copy>(
        &self,
        limit: &Limit<T>,
    ) -> Result<Option<Setting<T>>> {
        let value = self.read().filter(|&value| limit.allows(value));
        value.map(|value| Some(self.setting(value))).ok_or_else(|| self.bad(limit.wanted, None))
    }

    fn boolean(&self) -> Result<Option<Setting<bool>>> {
        self.read().map(|value| Some(self.setting(value))).ok_or_else(|| self.bad("true or false", None))
    }

    /// A string that is not empty, or null for the tier's.
    fn model_id(&self) -> Result<Option<Setting<String>>> {
        if self.is_null() {
            return Ok(None);
        }
        let value = self.read().filter(|id: &String| !id.trim().is_empty());
        value.map(|value| Some(self.setting(value))).ok_or_else(|| {
            self.bad("a model's name, path or Hub id in quotes, or null for the tier's model", None)
        })
    }

    fn tier(&self) -> Result<Option<Setting<Tier>>> {
        if self.is_null() {
            return Ok(None);
        }
        let word: Option<String> = self.read();
        match word.as_deref().map(str::parse) {
            Some(Ok(tier)) => Ok(Some(self.setting(tier))),
            Some(Err(Error::UnknownTier { suggestion, .. })) => Err(self.bad_tier(suggestion)),
            _ => Err(self.bad_tier(None)),
        }
    }

    fn bad_tier(&self, suggestion: Option<String>) -> Error {
        self.bad("\"compact\", \"entry\", \"pro\", \"elite\" or null for the automatic pick", suggestion)
    }

    fn strategy(&self) -> Result<Option<Setting<LearningStrategy>>> {
        if self.is_null() {
            return Ok(None);
        }
        let word: Option<String> = self.read();
        match word.as_deref().map(str::parse) {
            Some(Ok(strategy)) => Ok(Some(self.setting(strategy))),
            _ => Err(self.bad(
                "\"frozen\", \"lora\", \"eagle\" or null for the tier's",
                word.as_deref().and_then(LearningStrategy::suggestion),
            )),
        }
    }

    fn is_null(&self) -> bool {
        self.raw.get() == "null"
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.raw.get()).ok()
    }

    fn line(&self) -> usize {
        line_of(self.text, self.raw.get())
    }

    /// The line of the key: of the colon behind it, as the value may start on a later one.
    fn key_line(&self) -> usize {
        let value_at = offset_of(self.text, self.raw.get());
        let colon = self.text.get(..value_at).and_then(|before| before.rfind(':'));
        colon.map_or_else(|| self.line(), |colon| line_of(self.text, &self.text[colon..]))
    }

    fn path(&self) -> PathBuf {
        self.path.to_owned()
    }

    fn setting<T>(&self, value: T) -> Setting<T> {
        Setting { value, source: Source::File { path: self.path(), line: self.line() } }
    }

    fn bad(&self, wanted: &'static str, suggestion: Option<String>) -> Error {
        Error::ConfigBadValue {
            path: self.path(),
            line: self.line(),
            key: self.key.clone(),
            found: shorten(self.raw.get()),
            wanted,
            suggestion,
        }
    }

    fn duplicate(&self) -> Error {
        Error::ConfigDuplicateKey { path: self.path(), line: self.key_line(), key: shorten(&self.key) }
    }

    fn unknown_section(&self) -> Error {
        let names = SECTIONS.map(|(section, _)| section);
        // A key of a section that stands outside of it is a likely slip.
        let stray = SECTIONS.iter().find_map(|(section, keys)| {
            near_miss(&self.key, keys.iter().copied()).map(|key| format!("{section}.{key}"))
        });
        Error::ConfigUnknownKey {
            path: self.path(),
            line: self.key_line(),
            key: shorten(&self.key),
            suggestion: near_miss(&self.key, names).map(str::to_owned).or(stray),
            allowed: names.join(", "),
        }
    }

    fn unknown_key(&self, section: &str, key: &str, keys: &[&str]) -> Error {
        let elsewhere = || {
            let mut others = SECTIONS.iter().filter(|(other, _)| *other != section);
            others.find_map(|(other, keys)| {
                near_miss(key, keys.iter().copied()).map(|key| format!("{other}.{key}"))
            })
        };
        let here = near_miss(key, keys.iter().copied()).map(|key| format!("{section}.{key}"));
        Error::ConfigUnknownKey {
            path: self.path(),
            line: self.key_line(),
            key: shorten(&self.key),
            suggestion: here.or_else(elsewhere),
            allowed: keys.join(", "),
        }
    }
}

fn syntax(path: &Path, error: &serde_json::Error) -> Error {
    let problem = error.to_string();
    // serde_json ends its messages with a place of its own, and quotes a string in full.
    let problem = problem.rsplit_once(" at line ").map_or(&*problem, |(problem, _)| problem);
    let quote = problem.split_once('"').and_then(|(before, rest)| Some((before, rest.rsplit_once('"')?)));
    let problem = match quote {
        Some((before, (quoted, after))) => format!("{before}\"{}\"{after}", shorten(quoted)),
        None => problem.to_owned(),
    };
    Error::ConfigSyntax { path: path.to_owned(), line: error.line(), column: error.column(), problem }
}

/// A value as it stands in the file, on one line and not too long for a message.
fn shorten(raw: &str) -> String {
    const MAX_CHARS: usize = 40;
    let line: String = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
