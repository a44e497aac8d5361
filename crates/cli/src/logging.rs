//! Log messages of the libraries, to standard error.

use nano_reasoning::config::{Environment, LogLevel, Source};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging as `NANO_REASONING_LOG_LEVEL` says, or everything but traces for `-v`.
///
/// # Errors
/// If an environment variable has a value that it cannot take.
pub(crate) fn start(is_verbose: bool) -> nano_reasoning::Result<()> {
    let level = Environment::read()?.log_level;
    let filter = match level.value {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = if is_verbose { filter.max(LevelFilter::DEBUG) } else { filter };
    let mut targets =
        Targets::new().with_default(filter.min(LevelFilter::WARN)).with_target("nano_reasoning", filter);
    if level.source == Source::Default && !is_verbose {
        // That a model was loaded is seen by the answer; who asks for this level shall read it, too.
        targets = targets.with_target("nano_reasoning_model", LevelFilter::WARN);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}
