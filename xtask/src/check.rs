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
    Test,
    Doc,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    steps::run_all(&options.skip, |step| {
        let mut cargo = workspace::cargo();
        match step {
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
