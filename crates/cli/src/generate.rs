//! `generate`: one prompt, one answer on standard output.

use nano_reasoning::config::Source;
use nano_reasoning::{FinishReason, Message};

use crate::arguments::{GenerateArgs, GlobalArgs};
use crate::failure::Stopped;
use crate::output::{hint, note};
use crate::session::Session;
use crate::{prompt_text, statistics};

/// Longest answer, if neither a flag nor the configuration file says.
const MAX_TOKENS: u32 = 512;

pub(crate) fn run(global: &GlobalArgs, arguments: &GenerateArgs) -> anyhow::Result<()> {
    // Wrong flags and prompts shall not cost a download.
    let config = global.config(&arguments.answer)?;
    let prompt = prompt_text::read(&arguments.prompt, arguments.file.as_deref())?;
    let mut session = Session::open(config)?;
    let settings = &session.orchestrator.machine().expect("it is initialized").settings;
    let max_tokens = match &settings.max_tokens {
        setting if setting.source == Source::Default => MAX_TOKENS,
        setting => setting.value,
    };
    let mut messages: Vec<Message> = arguments.answer.system.iter().map(Message::system).collect();
    messages.push(Message::user(prompt));
    let shown = session.answer(&messages, max_tokens)?;
    if arguments.answer.shows_stats {
        note(&statistics::of_answer(&shown));
        note(&format!("loaded in {:.2} s", session.load_time.as_secs_f64()));
    }
    if let Some(signal) = shown.signal {
        return Err(Stopped(signal).into());
    }
    match shown.answer.finish_reason {
        FinishReason::MaxTokens if !arguments.answer.shows_stats => {
            hint(&format!("(stopped at {max_tokens} tokens; -m sets another limit)"));
        }
        FinishReason::ContextFull => note("(stopped, the context is full; --context sets its size)"),
        _ => (),
    }
    Ok(())
}
