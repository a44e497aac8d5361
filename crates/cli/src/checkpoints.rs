//! `checkpoints`: what drafters learnt.

use anyhow::{Context, anyhow};
use indicatif::DecimalBytes;
use nano_reasoning::{CheckpointStore, DEFAULT_PROFILE, GenerationConfig, Machine, atomic_file};
use serde_json::json;

use crate::arguments::{AnswerArgs, CheckpointsArgs, CheckpointsCommand, GlobalArgs};
use crate::output;

pub(crate) fn run(global: &GlobalArgs, arguments: &CheckpointsArgs) -> anyhow::Result<()> {
    let config = global.config(&AnswerArgs::measured(None))?;
    let machine = Machine::look(&config)?;
    let text = match &arguments.command {
        None => list(&machine, false)?,
        Some(CheckpointsCommand::List { is_json }) => list(&machine, *is_json)?,
        Some(CheckpointsCommand::Show) => {
            let path = latest(&store(&machine, &config)?)?;
            let info = CheckpointStore::read(&path)?.info;
            let show = json!({ "path": path, "checkpoint": info });
            serde_json::to_string_pretty(&show)? + "\n"
        }
        Some(CheckpointsCommand::Export { to }) => {
            let path = latest(&store(&machine, &config)?)?;
            // What is broken here is no use there.
            let bytes = CheckpointStore::read(&path)?.to_bytes();
            atomic_file::write(to, &bytes).with_context(|| format!("writing {}", to.display()))?;
            format!("{} is written\n", to.display())
        }
        Some(CheckpointsCommand::Import { from }) => {
            let path = store(&machine, &config)?.add(&CheckpointStore::read(from)?)?;
            format!("{} is written\n", path.display())
        }
        Some(CheckpointsCommand::Rm) => {
            let n_removed = store(&machine, &config)?.remove()?;
            format!("{n_removed} checkpoints removed\n")
        }
    };
    Ok(output::print(&text)?)
}

/// The checkpoints that --profile and --model name.
fn store(machine: &Machine, config: &GenerationConfig) -> anyhow::Result<CheckpointStore> {
    let profile = config.speculation.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let resolved = machine.store.resolve(&machine.settings.target_model_id.value);
    let model =
        resolved.map_or_else(|_| machine.settings.target_model_id.value.clone(), |resolved| resolved.name);
    Ok(CheckpointStore::new(&machine.environment.checkpoints_dir.value, profile, &model)?)
}

fn latest(store: &CheckpointStore) -> anyhow::Result<std::path::PathBuf> {
    let none = || {
        anyhow!(
            "profile '{}' has learnt nothing for {}; `checkpoints list` shows all",
            store.profile,
            store.model
        )
    };
    store.paths().pop().ok_or_else(none)
}

fn list(machine: &Machine, is_json: bool) -> anyhow::Result<String> {
    let folder = &machine.environment.checkpoints_dir.value;
    let stores = CheckpointStore::all(folder);
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for store in &stores {
        for path in store.paths() {
            let n_bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let checkpoint = CheckpointStore::read(&path);
            let what = match &checkpoint {
                Ok(checkpoint) => {
                    let info = &checkpoint.info;
                    format!(
                        "{} answers, {} steps, mean accepted length {:.2}",
                        info.n_answers, info.n_steps, info.mean_accepted_length
                    )
                }
                Err(error) => error.to_string(),
            };
            lines += &format!(
                "{}  {}  {}  {}  {what}\n",
                store.profile,
                store.model,
                path.file_stem().unwrap_or_default().to_string_lossy(),
                DecimalBytes(n_bytes),
            );
            rows.push(json!({
                "profile": store.profile,
                "model": store.model,
                "path": path,
                "n_bytes": n_bytes,
                "checkpoint": checkpoint.as_ref().ok().map(|checkpoint| &checkpoint.info),
                "error": checkpoint.as_ref().err().map(ToString::to_string),
            }));
        }
    }
    if is_json {
        return Ok(serde_json::to_string_pretty(&rows)? + "\n");
    }
    Ok(if lines.is_empty() { format!("nothing was learnt yet in {}\n", folder.display()) } else { lines })
}
