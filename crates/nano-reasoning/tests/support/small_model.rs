//! A real model, small enough for tests, which never download it.

use std::fs;
use std::path::Path;

use nano_reasoning::config::Overrides;
use nano_reasoning::{GenerationConfig, Machine};

pub(crate) const MODEL: &str = "smollm2-135m";

/// A configuration for it with an empty file of settings in `folder`; `None` where the model is not there.
pub(crate) fn config(folder: &Path) -> Option<GenerationConfig> {
    let config_path = folder.join("config.json");
    fs::write(&config_path, "{}").unwrap();
    let config = GenerationConfig {
        overrides: Overrides { target_model_id: Some(MODEL.into()), ..Overrides::default() },
        context_len: Some(512),
        n_threads: Some(2),
        config_path: Some(config_path),
        ..GenerationConfig::default()
    };
    // Looking is enough to know the store.
    if Machine::look(&config).unwrap().store.resolve(MODEL).is_err() {
        eprintln!("skipped: {MODEL} is not here; `nano-reasoning pull {MODEL}` fetches it");
        return None;
    }
    Some(config)
}
