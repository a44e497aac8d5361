//! Errors as the user sees them: one line and an exit code.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use clap::error::ErrorKind;
use nano_reasoning::config::Environment;

use crate::interrupt::Signal;
use crate::output::{self, note};

/// The command was used wrongly: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A signal ended the command: exit code 128 and its number.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {0}")]
pub(crate) struct Stopped(pub(crate) Signal);

/// Tells the user, and says how the process shall end.
pub(crate) fn report(error: &Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        return report_arguments(error);
    }
    if let Some(Stopped(signal)) = error.downcast_ref() {
        return signal.exit_code();
    }
    // Whoever reads the output has enough of it: no failure.
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    note(&format!("error: {}", one_line(&error.to_string())));
    if Environment::read().is_ok_and(|environment| environment.is_debug.value) {
        for cause in error.chain().skip(1) {
            note(&format!("  caused by: {}", one_line(&cause.to_string())));
        }
    }
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Help is printed as it is; of what is wrong, clap's many lines become one.
fn report_arguments(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print().map_err(output::WriteError) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error.into()),
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        note(&error.to_string());
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let is_wanted = |line: &&str| !line.is_empty() && !line.starts_with("Usage:");
    let lines = text.split('\n').map(str::trim).filter(is_wanted);
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("For more information")).collect();
    note(&format!("{}; see --help", lines.join(" ").replace(" tip:", "; tip:").replace("  ", " ")));
    ExitCode::from(2)
}

fn is_closed_pipe(error: &Error) -> bool {
    let is_it = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<output::WriteError>().is_some_and(|error| is_it(&error.0))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
