//! The environment variables, and where things lie by default.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::{LearningStrategy, Setting, Source};
use crate::near_miss::near_miss;
use crate::{Error, Result};

const CACHE: &str = "NANO_REASONING_CACHE";
const CHECKPOINTS: &str = "NANO_REASONING_CHECKPOINTS";
const CONFIG: &str = "NANO_REASONING_CONFIG";
const DEBUG: &str = "NANO_REASONING_DEBUG";
const LOG_LEVEL: &str = "NANO_REASONING_LOG_LEVEL";
const STRATEGY: &str = "NANO_REASONING_STRATEGY";

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Folder of the models: `NANO_REASONING_CACHE`, or `~/.cache/nano-reasoning/models`.
    pub cache_dir: Setting<PathBuf>,
    /// Folder of what is learnt: `NANO_REASONING_CHECKPOINTS`, or `~/.cache/nano-reasoning/checkpoints`.
    pub checkpoints_dir: Setting<PathBuf>,
    /// The configuration file: `NANO_REASONING_CONFIG`, or `~/.config/nano-reasoning/config.json`.
    pub config_path: Setting<PathBuf>,
    /// Whether causes and internals are shown: `NANO_REASONING_DEBUG`.
    pub is_debug: Setting<bool>,
    /// What is logged: `NANO_REASONING_LOG_LEVEL`, or `info`; `debug` when debugging.
    pub log_level: Setting<LogLevel>,
    /// What of the drafter gradients change, instead of the file's: `NANO_REASONING_STRATEGY`.
    pub strategy: Option<Setting<LearningStrategy>>,
}

/// How much is logged, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    /// [`Error::BadEnvironment`] for a value that a variable cannot take, [`Error::NoHome`] if a default
    /// is wanted and there is no home folder.
    pub fn read() -> Result<Self> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// An environment by a function from names to values. An empty value is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let home = get("HOME").map(PathBuf::from);
        let path = |name: &'static str, default: &str| -> Result<Setting<PathBuf>> {
            let Some(value) = get(name) else {
                let home = home.as_ref().ok_or(Error::NoHome { name })?;
                return Ok(Setting::default_of(home.join(default)));
            };
            // Service files and .env files do not expand a tilde, and people write one.
            let value = PathBuf::from(value);
            let value = match (value.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => value,
            };
            Ok(Setting { value, source: Source::Environment(name) })
        };
        let word =
            |name: &'static str| get(name).map(|value| value.to_string_lossy().trim().to_ascii_lowercase());

        let is_debug = match word(DEBUG).as_deref() {
            None => Setting::default_of(false),
            Some("0" | "false" | "no" | "off") => {
                Setting { value: false, source: Source::Environment(DEBUG) }
            }
            Some("1" | "true" | "yes" | "on") => Setting { value: true, source: Source::Environment(DEBUG) },
            Some(other) => {
                return Err(Error::BadEnvironment {
                    name: DEBUG,
                    found: other.to_owned(),
                    wanted: "0 or 1",
                    suggestion: None,
                });
            }
        };
        let log_level = match word(LOG_LEVEL) {
            Some(level) => Setting { value: level.parse()?, source: Source::Environment(LOG_LEVEL) },
            None if is_debug.value => Setting { value: LogLevel::Debug, source: Source::Environment(DEBUG) },
            None => Setting::default_of(LogLevel::Info),
        };
        let strategy = word(STRATEGY).map(|word| match word.parse() {
            Ok(value) => Ok(Setting { value, source: Source::Environment(STRATEGY) }),
            Err(_) => Err(Error::BadEnvironment {
                name: STRATEGY,
                suggestion: LearningStrategy::suggestion(&word),
                found: word,
                wanted: LearningStrategy::WANTED,
            }),
        });
        Ok(Self {
            strategy: strategy.transpose()?,
            cache_dir: path(CACHE, ".cache/nano-reasoning/models")?,
            checkpoints_dir: path(CHECKPOINTS, ".cache/nano-reasoning/checkpoints")?,
            config_path: path(CONFIG, ".config/nano-reasoning/config.json")?,
            is_debug,
            log_level,
        })
    }
}

impl LogLevel {
    const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name in lower case, as the variable writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let level = Self::ALL.into_iter().find(|level| level.name() == word);
        level.ok_or_else(|| Error::BadEnvironment {
            name: LOG_LEVEL,
            found: word.to_owned(),
            wanted: "off, error, warn, info, debug or trace",
            suggestion: near_miss(word, Self::ALL.map(Self::name)).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn everything_has_a_default_below_home() {
        let defaults = environment(&[("HOME", "/home/ada")]).unwrap();
        let path = |path: &str| Setting::default_of(PathBuf::from(path));
        assert_eq!(defaults.cache_dir, path("/home/ada/.cache/nano-reasoning/models"));
        assert_eq!(defaults.checkpoints_dir, path("/home/ada/.cache/nano-reasoning/checkpoints"));
        assert_eq!(defaults.config_path, path("/home/ada/.config/nano-reasoning/config.json"));
        assert_eq!(defaults.is_debug, Setting::default_of(false));
        assert_eq!(defaults.log_level, Setting::default_of(LogLevel::Info));
    }

    #[test]
    fn variables_win_and_are_named() {
        let set = environment(&[
            ("HOME", "/home/ada"),
            (CACHE, "/models"),
            (CHECKPOINTS, "~/learnt"),
            (DEBUG, "1"),
            (LOG_LEVEL, "Trace"),
            (STRATEGY, "Frozen"),
        ])
        .unwrap();
        assert_eq!(
            set.cache_dir,
            Setting { value: "/models".into(), source: Source::Environment("NANO_REASONING_CACHE") }
        );
        assert_eq!(set.checkpoints_dir.value, PathBuf::from("/home/ada/learnt"));
        assert_eq!((set.is_debug.value, set.log_level.value), (true, LogLevel::Trace));
        let frozen = Setting { value: LearningStrategy::Frozen, source: Source::Environment(STRATEGY) };
        assert_eq!(set.strategy, Some(frozen));
    }

    #[test]
    fn debugging_logs_more() {
        let set = environment(&[("HOME", "/"), (DEBUG, "true")]).unwrap();
        assert_eq!(set.log_level, Setting { value: LogLevel::Debug, source: Source::Environment(DEBUG) });
    }

    #[test]
    fn an_empty_variable_is_none() {
        let set = environment(&[("HOME", "/h"), (CACHE, ""), (LOG_LEVEL, ""), (DEBUG, "")]).unwrap();
        assert_eq!(set, environment(&[("HOME", "/h")]).unwrap());
    }

    #[test]
    fn without_a_home_every_path_must_be_set() {
        let error = environment(&[("HOME", "")]).unwrap_err();
        assert!(matches!(error, Error::NoHome { name: "NANO_REASONING_CACHE" }), "{error}");
        assert!(environment(&[(CACHE, "/a"), (CHECKPOINTS, "/b"), (CONFIG, "/c")]).is_ok());
    }

    #[test]
    fn bad_words_are_named_with_what_is_allowed() {
        let error = environment(&[("HOME", "/"), (LOG_LEVEL, "inof")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "NANO_REASONING_LOG_LEVEL is 'inof'; wanted off, error, warn, info, debug or trace, \
             did you mean 'info'?"
        );
        let error = environment(&[("HOME", "/"), (DEBUG, "maybe")]).unwrap_err();
        assert_eq!(error.to_string(), "NANO_REASONING_DEBUG is 'maybe'; wanted 0 or 1");
        let error = environment(&[("HOME", "/"), (STRATEGY, "lore")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "NANO_REASONING_STRATEGY is 'lore'; wanted frozen, lora or eagle, did you mean 'lora'?"
        );
    }
}
