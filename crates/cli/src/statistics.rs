//! What an answer or a session took, for people to read.

use nano_reasoning::{FinishReason, SessionStatistics, SpeculationStatistics, TrainerStatus};

use crate::session::Shown;

/// Lines on one answer.
pub(crate) fn of_answer(shown: &Shown) -> String {
    let answer = &shown.answer;
    let n_new = answer.n_prompt_tokens - answer.n_cached_tokens;
    let mut text = line("prompt", n_new, answer.prefill_s, answer.prefill_tokens_per_second());
    if answer.n_cached_tokens > 0 {
        text += &format!(", {} more were cached", answer.n_cached_tokens);
    }
    text += "\n";
    text += &line("answer", answer.tokens.len(), answer.decode_s, answer.tokens_per_second());
    text += &format!(", {}", reason(answer.finish_reason));
    text += &speculation(&answer.speculation);
    if let Some(first_token) = shown.first_token {
        text += &format!("\nfirst token after {:.2} s", first_token.as_secs_f64());
    }
    text
}

/// Lines on all answers so far.
pub(crate) fn of_session(session: &SessionStatistics) -> String {
    let n_new = session.n_prompt_tokens - session.n_cached_tokens;
    let mut text = format!("{} answer{}\n", session.n_answers, if session.n_answers == 1 { "" } else { "s" });
    text += &line("prompts", n_new, session.prefill_s, session.prefill_tokens_per_second());
    if session.n_cached_tokens > 0 {
        text += &format!(", {} more were cached", session.n_cached_tokens);
    }
    text += "\n";
    text += &line("answers", session.n_tokens, session.decode_s, session.tokens_per_second);
    text += &speculation(&session.speculation);
    text
}

/// A line on what the trainer did so far; nothing if it had nothing to do.
pub(crate) fn of_training(status: &TrainerStatus) -> String {
    if status.n_answers == 0 {
        return String::new();
    }
    let mut text = format!(
        "\nlearnt  from {} answers, {} steps, {:.0} s in the background, profile {}",
        status.n_answers, status.n_steps, status.train_s, status.profile
    );
    let accepted = status.decisions.iter().filter(|decision| decision.is_accepted);
    if let (Some(first), Some(last)) = (status.decisions.first(), accepted.clone().next_back()) {
        text += &format!(
            "; {} of {} snapshots in use, {:.2} instead of {:.2} tokens a pass on answers held out",
            accepted.count(),
            status.decisions.len(),
            last.candidate_length,
            first.published_length,
        );
    }
    if let Some(reason) = status.held_by {
        text += &format!("\n        waits: {reason}");
    }
    if let Some(error) = &status.error {
        text += &format!("\n        stopped: {error}");
    }
    text
}

/// Lines on what speculation did; nothing if it did nothing.
fn speculation(statistics: &SpeculationStatistics) -> String {
    let (Some(rate), Some(tau)) = (statistics.acceptance_rate(), statistics.mean_accepted_length()) else {
        return String::new();
    };
    let speedup = statistics.speedup().unwrap_or(1.0);
    let n_drafts = statistics.positions.first().map_or(0, |first| first.n_drafted);
    let draft_len = statistics.n_drafted as f64 / (n_drafts as f64).max(1.0);
    let mut text = format!(
        "\ndrafts  {:.0} % of {} tokens accepted, {tau:.2} tokens a pass (τ), {speedup:.2} × the plain speed\n\
         \x20       {n_drafts} of {} passes had a draft, {draft_len:.1} tokens long on average; accepted by position:",
        100.0 * rate,
        statistics.n_drafted,
        statistics.n_verifies,
    );
    for position in statistics.positions.iter().take(8) {
        text += &format!(" {:.0}", 100.0 * position.n_accepted as f64 / (position.n_drafted as f64).max(1.0));
    }
    text += " %";
    for drafter in statistics.drafters.iter().filter(|drafter| drafter.n_drafts > 0) {
        text += &format!(
            "\n        {}: asked {} times, {} of {} proposed tokens accepted, {:.2} ms a draft",
            drafter.name,
            drafter.n_drafts,
            drafter.n_accepted,
            drafter.n_proposed,
            1e3 * drafter.draft_s / drafter.n_drafts as f64,
        );
    }
    let total_s = statistics.total_s();
    let share = |seconds: f64| 100.0 * seconds / total_s;
    text += &format!(
        "\n        time: draft {:.1} %, verify {:.1} %, sample {:.1} %, other {:.1} %",
        share(statistics.draft_s),
        share(statistics.verify_s),
        share(statistics.sample_s),
        share(statistics.other_s),
    );
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
