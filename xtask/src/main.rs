//! Repository chores, one file each: `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod check;
mod cross;
mod domains;
mod identity;
mod licences;
mod oracle;
mod ours;
mod peers;
mod steps;
mod tidy;
mod trials;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Repository chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a commit: format, lints, tests, documentation, layout, licences
    Check(check::Options),
    /// What other machines need, on x86-64 Linux: types for Apple and Arm, NEON tests in an emulator
    Cross(cross::Options),
    /// Logits of tiny models and of SmolLM2 beside candle's
    Oracle,
    /// llama.cpp and this project beside each other: speed, memory, and with --correctness what they say
    Peers(Box<peers::Options>),
    /// Greedy answers with speculation beside those without: every drafter, width and length
    Identity(identity::Options),
    /// Make prompts of three domains, to measure what is learnt
    Domains(domains::Options),
    /// Make prompts that are hard or easy for speculation: editing, noise, foreign languages, long contexts
    Trials(trials::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(options) => check::run(&options),
        Command::Cross(options) => cross::run(&options),
        Command::Oracle => oracle::run(),
        Command::Peers(options) => peers::run(&options),
        Command::Identity(options) => identity::run(&options),
        Command::Domains(options) => domains::run(&options),
        Command::Trials(options) => trials::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
