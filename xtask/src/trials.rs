//! `cargo xtask trials`: prompts on which speculation can shine or fail, beside those of everyday tasks.
//!
//! `editing`: this project's source files, to be returned with one name changed. `noise`: answers that no drafter can
//! guess, best at a temperature: greedily a small model soon repeats itself. `languages`: those that a head hardly knows. `long-N`: N thousand tokens of this project's own sources
//! before a question.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use crate::domains::{Random, write};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder for editing.jsonl, noise.jsonl, languages.jsonl and long-1k.jsonl, long-8k.jsonl, long-16k.jsonl
    #[arg(long, value_name = "FOLDER", default_value = "target/trials")]
    out: PathBuf,
}

/// A file of 50 to 150 lines, a name in it, and the name it shall get.
const EDITS: [(&str, &str, &str); 5] = [
    ("crates/speculate/src/rate.rs", "Rate", "Frequency"),
    ("crates/speculate/src/control/worth.rs", "Worth", "Prices"),
    ("crates/engine/src/sampling/filters.rs", "logits", "scores"),
    ("crates/kernels/src/memory.rs", "bytes", "octets"),
    ("crates/text/src/token_stream.rs", "TokenStream", "PieceReader"),
];

const LANGUAGES: [&str; 6] = [
    "Kirjoita kolme virkettä Helsingin talvesta suomeksi.",
    "Írj három mondatot a Dunáról magyarul.",
    "Напиши три предложения о зиме в Москве.",
    "اكتب ثلاث جمل عن البحر باللغة العربية.",
    "用中文写三句话描述春天的早晨。",
    "हिंदी में वर्षा ऋतु पर तीन वाक्य लिखिए।",
];

/// Sources from which long contexts are filled, until they are long enough.
const SOURCES: [&str; 6] = [
    "crates/nano-reasoning/src",
    "crates/speculate/src",
    "crates/text/src",
    "crates/model/src",
    "crates/gguf/src",
    "crates/train/src",
];

/// Characters of source code in a token, about.
const CHARS_PER_TOKEN: usize = 4;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::workspace::root();
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let save = |name: &str, prompts: Vec<String>| {
        let lines = prompts.iter().enumerate().map(|(i, prompt)| {
            json!({ "id": format!("{name}-{i}"), "task": name, "turns": [prompt] }).to_string() + "\n"
        });
        write(&options.out.join(format!("{name}.jsonl")), &lines.collect::<String>())
    };
    save("editing", EDITS.iter().map(|edit| editing(root, edit)).collect::<anyhow::Result<_>>()?)?;
    save("noise", noise())?;
    save("languages", LANGUAGES.map(str::to_owned).to_vec())?;
    let sources = sources(root)?;
    for (name, n_tokens) in [("long-1k", 1_000), ("long-8k", 8_000), ("long-16k", 16_000)] {
        let text: String = sources.chars().take(n_tokens * CHARS_PER_TOKEN).collect();
        let questions =
            ["What do these files do? Answer in five sentences.", "Write a test for one of these functions."];
        save(name, questions.iter().map(|question| format!("{text}\n\n{question}")).collect())?;
    }
    Ok(())
}

fn editing(root: &Path, &(file, from, to): &(&str, &str, &str)) -> anyhow::Result<String> {
    let path = root.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let body = text.split("#[cfg(test)]").next().unwrap_or_default().trim_end();
    Ok(format!(
        "Return this file with `{from}` renamed to `{to}` everywhere. Code only.\n\n```rust\n{body}\n```"
    ))
}

fn noise() -> Vec<String> {
    let mut random = Random(271_828);
    let mut noise =
        |n: usize| -> String { (0..n).map(|_| char::from(b'!' + random.below(94) as u8)).collect() };
    let mut prompts: Vec<String> = (0..3)
        .map(|_| {
            format!(
                "Write 40 more lines of random characters like these, no two alike:\n{}\n{}",
                noise(40),
                noise(40)
            )
        })
        .collect();
    prompts.push("Write 80 random integers between 10000 and 99999, separated by spaces.".to_owned());
    prompts
}

fn sources(root: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for folder in SOURCES {
        let folder = root.join(folder);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            text += &std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            text.push('\n');
        }
    }
    Ok(text)
}
