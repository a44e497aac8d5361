//! The report: a heading that says on what it was measured, and one table.

use super::rows::{HEAD, Row};
use super::{Bench, llama_cpp};
use crate::{steps, workspace};
use serde_json::{Value, json};
use std::process::Command;

/// What was measured on.
pub(super) struct Machine {
    chip: String,
    n_cores: u64,
    simd: Vec<String>,
    isa: String,
    /// Processes that want a core, when the measuring began.
    pub(super) load_average: Option<f64>,
    date: String,
    commit: String,
}

impl Machine {
    /// Looks at this one.
    ///
    /// # Errors
    /// If our command fails.
    pub(super) fn look(bench: &Bench) -> anyhow::Result<Self> {
        let info = bench.ours.json(bench.ours.command("info").arg("--json"))?;
        let text = |pointer: &str| {
            info.pointer(pointer).and_then(Value::as_str).unwrap_or("not known").trim().to_owned()
        };
        let simd = info.pointer("/hardware/simd").and_then(Value::as_array);
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        let mut git = Command::new("git");
        git.current_dir(workspace::root()).args(["describe", "--always", "--dirty"]);
        Ok(Self {
            chip: text("/hardware/chip/name"),
            n_cores: info.pointer("/hardware/n_cores").and_then(Value::as_u64).unwrap_or(0),
            simd: simd.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            isa: text("/isa"),
            load_average: load.and_then(|load| load.split(' ').next()?.parse().ok()),
            date: steps::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?.trim().to_owned(),
            commit: steps::output(&mut git).unwrap_or_default().trim().to_owned(),
        })
    }
}

/// Heading and table.
pub(super) fn markdown(machine: &Machine, bench: &Bench, rows: &[Row]) -> String {
    let load = machine.load_average.map(|load| format!(", load {load}")).unwrap_or_default();
    let rounds = match bench.n_rounds {
        0 => String::new(),
        n => format!(", best of {n} rounds in turns (spread in brackets)"),
    };
    let mut text = format!(
        "{}, {} cores ({}); kernels {}; {} threads{rounds}\n\
         {}, commit {}, beside {}{load}\n\n",
        machine.chip,
        machine.n_cores,
        machine.simd.join(", "),
        machine.isa,
        bench.n_threads,
        machine.date,
        machine.commit,
        llama_cpp::version(),
    );
    text += &table(rows.iter().map(Row::cells));
    text
}

/// Everything.
pub(super) fn json(machine: &Machine, bench: &Bench, rows: &[Row], models: Vec<Value>) -> Value {
    json!({
        "chip": machine.chip,
        "n_cores": machine.n_cores,
        "simd": machine.simd,
        "isa": machine.isa,
        "load_average": machine.load_average,
        "date": machine.date,
        "commit": machine.commit,
        "peer": llama_cpp::version(),
        "n_threads": bench.n_threads,
        "n_rounds": bench.n_rounds,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "models": models,
        "commands": bench.commands.list(),
    })
}

/// A Markdown table whose columns also line up as text.
fn table(rows: impl Iterator<Item = [String; HEAD.len()]>) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let line = |cells: &[String; HEAD.len()]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut text = line(&rows[0]) + &line(&rule);
    rows[1..].iter().for_each(|row| text += &line(row));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = ["a ÷ b", "m", "1", "2", "0.50", "", "", "yes"].map(str::to_owned);
        let table = table([row].into_iter());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| what  | model | ours | llama.cpp | ratio | at least | aim | met? |");
        assert_eq!(lines[1], "| ----- | ----- | ---- | --------- | ----- | -------- | --- | ---- |");
        assert_eq!(lines[2], "| a ÷ b | m     | 1    | 2         | 0.50  |          |     | yes  |");
    }
}
