//! `chat`: a conversation. Answers go to standard output, all else to standard error.

mod command;
mod conversation;
mod lines;

use std::process::ExitCode;

use nano_reasoning::FinishReason;

use crate::arguments::{ChatArgs, GlobalArgs};
use crate::interrupt::Signal;
use crate::output::{WriteError, hint, note};
use crate::session::Session;
use crate::statistics;
use command::Command;
use conversation::Conversation;
use lines::{Line, Lines};

pub(crate) fn run(global: &GlobalArgs, arguments: &ChatArgs) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(global.config(&arguments.answer)?)?;
    let machine = session.orchestrator.machine().expect("it is initialized");
    let max_tokens = machine.settings.max_tokens.value;
    let mut lines = Lines::open(machine.store.root())?;
    let mut conversation = Conversation::new(arguments.answer.system.as_deref());
    greet(&mut session);
    loop {
        let text = match lines.read()? {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => text,
            Line::Interrupted => {
                note("(Ctrl-C again or Ctrl-D leaves)");
                continue;
            }
            Line::End(code) => return Ok(code),
        };
        match Command::parse(&text) {
            Some(Command::Quit) => return Ok(ExitCode::SUCCESS),
            Some(Command::Help) => note(command::HELP),
            Some(Command::Stats) => {
                let mut text = statistics::of_session(session.orchestrator.session_statistics());
                let trainer = session.orchestrator.trainer();
                text +=
                    &trainer.map_or_else(String::new, |trainer| statistics::of_training(&trainer.status()));
                note(&text);
            }
            Some(Command::Clear) => {
                conversation.clear();
                note("(a new conversation)");
            }
            Some(Command::Unknown(name)) => note(&format!("there is no command {name}; /help lists them")),
            None => {
                if let Some(code) =
                    turn(&mut session, &mut conversation, text, max_tokens, arguments, &lines)?
                {
                    return Ok(code);
                }
            }
        }
    }
}

/// Answers one message; an exit code if that ends the chat.
fn turn(
    session: &mut Session,
    conversation: &mut Conversation,
    text: String,
    max_tokens: u32,
    arguments: &ChatArgs,
    lines: &Lines,
) -> anyhow::Result<Option<ExitCode>> {
    conversation.ask(text);
    let engine = session.orchestrator.engine().expect("it is initialized");
    let n_dropped = conversation.make_room(engine, max_tokens as usize)?;
    if n_dropped > 0 {
        let what = if n_dropped == 1 { "turn is" } else { &format!("{n_dropped} turns are") };
        note(&format!("(the context was full: the oldest {what} forgotten; /clear starts anew)"));
    }
    let shown = match session.answer(conversation.messages(), max_tokens) {
        Ok(shown) => shown,
        // A message that is too long is no reason to lose the conversation, if somebody is there to see it.
        Err(error) if lines.is_interactive() && !error.is::<WriteError>() => {
            conversation.take_back();
            note(&format!("error: {error}"));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let reason = shown.answer.finish_reason;
    if shown.answer.text.is_empty() && reason == FinishReason::Cancelled {
        conversation.take_back();
    } else {
        conversation.answer(shown.answer.text.clone());
    }
    match reason {
        FinishReason::Cancelled => hint("(stopped)"),
        FinishReason::MaxTokens => {
            hint(&format!("(stopped at {max_tokens} tokens; --max-tokens sets another limit)"))
        }
        FinishReason::ContextFull => {
            note("(stopped, the context is full; the oldest turns will be forgotten)")
        }
        FinishReason::Stop => (),
    }
    if arguments.answer.shows_stats {
        note(&statistics::of_answer(&shown));
    }
    if lines.is_interactive() {
        note("");
    }
    match shown.signal {
        // In a chat Ctrl-C stops the answer; where nobody can type, the program.
        Some(Signal::Interrupt) if lines.is_interactive() => Ok(None),
        signal => Ok(signal.map(Signal::exit_code)),
    }
}

fn greet(session: &mut Session) {
    let engine = session.orchestrator.engine().expect("it is initialized");
    let (info, context_len) = (&engine.info, engine.target.shape().context_len);
    let threads = if info.n_threads == 1 { "thread" } else { "threads" };
    hint(&format!(
        "{} ({}, {} {threads}, {context_len} tokens of context). /help lists the commands.",
        info.model, info.device, info.n_threads
    ));
}
