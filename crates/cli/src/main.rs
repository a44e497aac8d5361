//! The `nano-reasoning` command: arguments in, text out. What it does is in the library.
#![forbid(unsafe_code)]

mod arguments;
mod benchmark;
mod chat;
mod checkpoints;
mod completions;
mod distill;
mod failure;
mod generate;
mod head;
mod history;
mod info;
mod interrupt;
mod logging;
mod models;
mod output;
mod progress;
mod prompt_text;
mod pull;
mod session;
mod statistics;
mod trace;

use std::process::ExitCode;

use arguments::{Cli, Command};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| failure::report(&error))
}

fn run() -> anyhow::Result<ExitCode> {
    let Cli { global, command } = Cli::read()?;
    interrupt::install()?;
    logging::start(global.is_verbose)?;
    match command.unwrap_or_default() {
        Command::Chat(arguments) => return chat::run(&global, &arguments),
        Command::Generate(arguments) => generate::run(&global, &arguments)?,
        Command::Info(arguments) => info::run(&global, &arguments)?,
        Command::Benchmark(arguments) => benchmark::run(&global, &arguments)?,
        Command::Pull(arguments) => pull::run(&arguments)?,
        Command::Models(arguments) => models::run(&arguments)?,
        Command::History(arguments) => history::run(&arguments)?,
        Command::Checkpoints(arguments) => checkpoints::run(&global, &arguments)?,
        Command::Head(arguments) => head::run(&global, &arguments)?,
        Command::Distill(arguments) => distill::run(&global, &arguments)?,
        Command::Completions(arguments) => completions::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
