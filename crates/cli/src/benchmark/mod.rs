//! `benchmark`: how fast this machine runs the model, as a table and as JSON.

mod adapt;
mod curves;
pub(crate) mod plot;
pub(crate) mod prompts;
mod speed;
mod spread;
mod verify_cost;

use std::path::Path;

use anyhow::anyhow;
use nano_reasoning::GenerationConfig;
use serde_json::Value;

use crate::arguments::{AnswerArgs, BenchmarkArgs, GlobalArgs};
use crate::output;

/// What was measured.
struct Report {
    table: String,
    json: Value,
}

pub(crate) fn run(global: &GlobalArgs, arguments: &BenchmarkArgs) -> anyhow::Result<()> {
    let mut config: GenerationConfig = global.config(&AnswerArgs::measured(arguments.temperature))?;
    adapt::check(&config, arguments)?;
    // What was measured once would be copied the next time.
    config.speculation.is_history_off |= !arguments.uses_history;
    let report = match &arguments.prompts {
        Some(path) if arguments.adapts => {
            let held_out = arguments.held_out.as_ref().expect("clap requires it");
            adapt::run(config, arguments, &prompts::read(path)?, &prompts::read(held_out)?)?
        }
        Some(path) => prompts::run(config, arguments, prompts::read(path)?)?,
        None if arguments.compares => prompts::run(config, arguments, prompts::own())?,
        None if arguments.is_verify_cost => verify_cost::run(config, arguments)?,
        None => speed::run(config, arguments)?,
    };
    let json = || serde_json::to_string_pretty(&report.json).map(|text| text + "\n");
    match &arguments.json {
        Some(path) if path == Path::new("-") => output::print(&json()?)?,
        Some(path) => {
            let written = output::write_file(path, &json()?);
            written.map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
            output::print(&report.table)?;
        }
        None => output::print(&report.table)?,
    }
    Ok(())
}
