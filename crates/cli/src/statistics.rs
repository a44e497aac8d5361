//! What an answer or a session took, for people to read.

use nano_reasoning::{FinishReason, SessionStatistics};

use crate::session::Shown;

/// Lines on one answer.
pub(crate) fn of_answer(shown: &Shown) -> String {
    let answer = &shown.answer;
    let n_new = answer.n_prompt_tokens - answer.n_cached_tokens;
    let mut text = line("prompt", n_new, answer.prefill_s, answer.prefill_tokens_per_second());
    if answer.n_cached_tokens > 0 {
        text += &format!(", {} more were cached", answer.n_cached_tokens);
    }
    text += &line("\nanswer", answer.tokens.len(), answer.decode_s, answer.tokens_per_second());
    text += &format!(", {}", reason(answer.finish_reason));
    if let Some(first_token) = shown.first_token {
        text += &format!("\nfirst token after {:.2} s", first_token.as_secs_f64());
    }
    text
}

/// Lines on all answers so far.
pub(crate) fn of_session(session: &SessionStatistics) -> String {
    let n_new = session.n_prompt_tokens - session.n_cached_tokens;
    let mut text = format!("{} answers\n", session.n_answers);
    text += &line("prompts", n_new, session.prefill_s, session.prefill_tokens_per_second());
    text += &format!(", {} more were cached", session.n_cached_tokens);
    text += &line("\nanswers", session.n_tokens, session.decode_s, session.tokens_per_second);
    if let Some(rate) = session.average_acceptance_rate {
        text += &format!("\naccepted drafts: {:.0} %", rate * 100.0);
    }
    text
}

fn line(what: &str, n_tokens: usize, seconds: f64, tokens_per_second: f64) -> String {
    format!("{what:7} {n_tokens:5} tokens in {seconds:6.2} s, {tokens_per_second:6.1} tokens/s")
}

/// Why an answer ended.
fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "ended by the model or a stop text",
        FinishReason::MaxTokens => "as long as it may be",
        FinishReason::ContextFull => "the context is full",
        FinishReason::Cancelled => "stopped",
    }
}
