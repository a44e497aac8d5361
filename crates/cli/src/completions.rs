//! `completions`: a script that makes a shell complete this command.

use clap::CommandFactory;

use crate::arguments::{Cli, CompletionsArgs};
use crate::output;

pub(crate) fn run(arguments: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "nano-reasoning", &mut script);
    Ok(output::print(&String::from_utf8_lossy(&script))?)
}
