//! `history`: the answers that drafts are made from.

use std::path::Path;

use anyhow::Context;
use indicatif::DecimalBytes;
use nano_reasoning::config::Environment;
use nano_reasoning::{HistoryStore, history_folder};

use crate::arguments::{HistoryArgs, HistoryCommand};
use crate::output;

pub(crate) fn run(arguments: &HistoryArgs) -> anyhow::Result<()> {
    let folder = history_folder(&Environment::read()?.checkpoints_dir.value);
    let mut stores = open_all(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let summaries: Vec<_> = stores.iter().map(HistoryStore::summary).collect();
    let text = match &arguments.command {
        Some(HistoryCommand::Show { is_json: true }) => serde_json::to_string_pretty(&summaries)? + "\n",
        None | Some(HistoryCommand::Show { is_json: false }) => {
            let line = |summary: &nano_reasoning::HistorySummary| {
                let (answers, tokens, bytes) =
                    (summary.n_answers, summary.n_tokens, DecimalBytes(summary.n_bytes));
                format!("{answers} answers, {tokens} tokens, {bytes} in {}\n", summary.path.display())
            };
            match summaries.as_slice() {
                [] => format!("no answers are kept in {}\n", folder.display()),
                summaries => summaries.iter().map(line).collect(),
            }
        }
        Some(HistoryCommand::Clear) => {
            for store in &mut stores {
                store.clear().with_context(|| format!("removing {}", store.summary().path.display()))?;
            }
            let n_answers: usize = summaries.iter().map(|summary| summary.n_answers).sum();
            format!("{n_answers} answers forgotten\n")
        }
    };
    Ok(output::print(&text)?)
}

/// The stores of all vocabularies.
fn open_all(folder: &Path) -> std::io::Result<Vec<HistoryStore>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "history") {
            keys.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    keys.sort();
    keys.iter().map(|key| HistoryStore::open(folder, key, usize::MAX)).collect()
}
