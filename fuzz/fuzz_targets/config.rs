//! Any text is either refused on one short line that names a place in the file, or a configuration whose
//! values are within what is allowed.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nano_reasoning::config::{ConfigFile, Overrides};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ConfigFile::parse(text, Path::new("config.json")) {
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("config.json:"), "{message:?}");
            assert!(!message.contains(char::is_control) && message.len() < 500, "{message:?}");
        }
        Ok(config) => {
            // The same limits hold for flags.
            let overrides = Overrides {
                gpu_utilization_target: config.gpu_utilization_target.map(|setting| setting.value),
                max_tokens: config.max_tokens.map(|setting| setting.value),
                temperature: config.temperature.map(|setting| setting.value),
                draft_count: config.draft_count.map(|setting| setting.value),
                learning_rate: config.learning_rate.map(|setting| setting.value),
                batch_size: config.batch_size.map(|setting| setting.value),
                buffer_capacity: config.buffer_capacity.map(|setting| setting.value),
                ..Overrides::default()
            };
            overrides.check().expect("what the file may hold, a flag may");
        }
    }
});
