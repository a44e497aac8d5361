//! A real model, small enough for tests, which never download it.

#[path = "../../../text/tests/stored/mod.rs"]
mod stored;

use std::fs;
use std::path::Path;

use nano_reasoning::GenerationConfig;
use nano_reasoning::config::Overrides;

pub(crate) const MODEL: &str = "smollm2-135m";
const FILE: &str = "smollm2-135m-instruct-q4_1.gguf";

/// A configuration for it with an empty file of settings in `folder`; `None` where the model is not there.
pub(crate) fn config(folder: &Path) -> Option<GenerationConfig> {
    stored::stored(FILE)?;
    let config_path = folder.join("config.json");
    fs::write(&config_path, "{}").unwrap();
    Some(GenerationConfig {
        overrides: Overrides { target_model_id: Some(MODEL.into()), ..Overrides::default() },
        context_len: Some(512),
        n_threads: Some(2),
        config_path: Some(config_path),
        ..GenerationConfig::default()
    })
}
