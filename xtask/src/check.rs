//! `cargo xtask check`: all of CI.

use crate::{licences, steps, tidy, workspace};
use clap::ValueEnum;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Steps to leave out
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Step {
    /// Layout, `forbid` lines, file lengths
    Tidy,
    /// Licences of all dependencies
    Licences,
    Fmt,
    Clippy,
    /// A small model from wherever it can be had, for the tests that need one
    Model,
    Test,
    Doc,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    steps::run_all(&options.skip, |step| {
        let mut cargo = workspace::cargo();
        match step {
            Step::Model => {
                fetch_model();
                return Ok(());
            }
            Step::Tidy => return tidy::run(),
            Step::Licences => return licences::run(),
            Step::Fmt => cargo.args(["fmt", "--all", "--check"]),
            Step::Clippy => cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            Step::Test => cargo.args(["test", "--workspace"]),
            Step::Doc => cargo.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
        };
        steps::run(&mut cargo)
    })
}

/// Fetches the smallest model of the catalogue as a user would. Without a network the tests that need it say that
/// they are skipped, and that is no failure.
fn fetch_model() {
    const MODEL: &str = "smollm2-135m";
    let mut cargo = workspace::cargo();
    match steps::output(cargo.args([
        "run",
        "--quiet",
        "--package",
        "nano-reasoning-cli",
        "--",
        "pull",
        MODEL,
    ])) {
        Ok(line) => print!("{line}"),
        Err(error) => println!("without {MODEL}, going on: {error:#}"),
    }
}
