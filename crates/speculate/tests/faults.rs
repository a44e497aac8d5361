//! Answers that stop, drafters that fail, engines that fail and callers that panic: what is left is sound.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::*;
use nano_reasoning_engine::{Error, SamplingParams, TargetModel};
use nano_reasoning_speculate::{Draft, Drafter, Result};

const LEN: usize = PROMPT.len();

/// A session that has read the prompt, with drafts six deep.
fn session(drafters: Vec<Box<dyn Drafter>>) -> Session {
    let mut session = Session::new(ToyTarget::new(), drafters, fixed(6, 2), &SamplingParams::greedy());
    session.read(&PROMPT);
    session
}

fn plain_answer(n_tokens: usize) -> Vec<u32> {
    plain(&SamplingParams::greedy(), &PROMPT, n_tokens)
}

#[test]
fn a_stop_inside_a_draft_ends_there() {
    let mut session = session(vec![drafter(1, right as Guess)]);
    let mut n_seen = 0;
    let goes_on = session
        .cycle(100, &mut |_| {
            n_seen += 1;
            n_seen < 3
        })
        .unwrap();
    assert!(!goes_on);
    assert_eq!((n_seen, session.history.len()), (3, LEN + 4));
    assert_eq!(session.target.len() + 1, session.history.len(), "nothing past the stop is cached");
    let statistics = session.decoder.statistics();
    assert_eq!((statistics.n_emitted, statistics.n_accepted, statistics.n_drafted), (3, 3, 3));
    // The cache goes on as a cold one would.
    session.cycle(7, &mut |_| true).unwrap();
    assert_eq!(session.history[LEN..], plain_answer(session.history.len() - LEN));
}

#[test]
fn an_end_token_anywhere_in_a_draft_is_the_last() {
    let answer = plain_answer(30);
    for width in [1, 2] {
        for end in 0..VOCAB_SIZE as u32 {
            let Some(at) = answer[1..].iter().position(|&token| token == end) else { continue };
            let mut session = session(vec![drafter(width, right as Guess)]);
            let mut shown = Vec::new();
            let mut is_end = |token| {
                shown.push(token);
                token != end
            };
            while session.cycle(100, &mut is_end).unwrap() {}
            assert_eq!(shown, answer[1..at + 2], "{end} is the last");
            assert_eq!(session.history[LEN..], answer[..at + 2]);
            assert_eq!(session.target.len(), LEN + at + 1, "all but the end is cached");
            assert_eq!(session.decoder.statistics().n_emitted as usize, shown.len());
            assert_eq!(session.answer(&PROMPT, 30), answer, "the same prompt again");
        }
    }
}

#[test]
fn a_drafter_that_proposes_nothing_leaves_plain_decoding() {
    struct Silent;
    impl Drafter for Silent {
        fn name(&self) -> &str {
            "silent"
        }
        fn commit(&mut self, _: &[u32], _: &[f32]) -> Result<()> {
            Ok(())
        }
        fn truncate(&mut self, _: usize) -> Result<()> {
            Ok(())
        }
        fn draft(&mut self, _: &[u32], _: &mut Draft<'_>) -> Result<()> {
            Ok(())
        }
    }
    let (tokens, decoder) =
        generate(vec![Box::new(Silent)], fixed(4, 2), &SamplingParams::greedy(), &PROMPT, 60);
    assert_eq!(tokens, plain_answer(60));
    let statistics = decoder.statistics();
    assert_eq!((statistics.n_verifies, statistics.n_drafted), (59, 0));
    assert_eq!(statistics.acceptance_rate(), None);
    assert!(!decoder.actors()[0].is_dropped(), "to say nothing is no fault");
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Commit,
    Truncate,
    EndAnswer,
    Draft,
}

/// Right, and fails in one kind of call once it knows 20 tokens.
struct Faulty {
    call: Call,
    panics: bool,
    n_committed: usize,
}

impl Faulty {
    fn fail_in(&self, call: Call) -> Result<()> {
        if call != self.call || self.n_committed < 20 {
            return Ok(());
        }
        assert!(!self.panics, "a drafter's bug");
        Err(Error::Device("gone".into()).into())
    }
}

impl Drafter for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn is_free(&self) -> bool {
        true
    }

    fn commit(&mut self, tokens: &[u32], _: &[f32]) -> Result<()> {
        self.n_committed += tokens.len();
        self.fail_in(Call::Commit)
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.fail_in(Call::Truncate)?;
        self.n_committed = len;
        Ok(())
    }

    fn end_answer(&mut self, _: &[u32]) -> Result<()> {
        self.fail_in(Call::EndAnswer)
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        draft.propose(None, right(context, 0), 0.9);
        self.fail_in(Call::Draft)
    }
}

#[test]
fn a_drafter_that_fails_in_any_call_is_dropped_and_answers_go_on() {
    let answer = plain_answer(60);
    for call in [Call::Commit, Call::Truncate, Call::EndAnswer, Call::Draft] {
        for panics in [false, true] {
            let faulty = Box::new(Faulty { call, panics, n_committed: 0 });
            let mut session = session(vec![faulty, drafter(1, right as Guess)]);
            assert_eq!(session.answer(&PROMPT, 60), answer, "{call:?}");
            let fails_in_answer = [Call::Commit, Call::Draft].contains(&call);
            assert_eq!(session.decoder.actors()[0].is_dropped(), fails_in_answer, "{call:?}");
            session.decoder.end_answer(&answer);
            assert_eq!(session.answer(&PROMPT, 60), answer, "{call:?}");
            let is_dropped = session.decoder.actors().iter().map(|actor| actor.is_dropped());
            assert!(is_dropped.eq([true, false]), "{call:?}");
            let before = session.decoder.statistics().clone();
            assert_eq!(session.answer(&PROMPT, 60), answer, "{call:?}");
            let after = session.decoder.statistics().since(&before);
            assert_eq!(after.drafters[0].n_drafts, 0, "{call:?}: it is asked no more");
            assert!(after.drafters[1].n_accepted > 0, "{call:?}: the other drafts on");
        }
    }
}

#[test]
fn after_a_pass_that_failed_the_same_prompt_equals_a_cold_run() {
    let answer = plain_answer(30);
    for (name, guess) in GUESSES {
        for failing_pass in 2..8 {
            let mut session = session(vec![drafter(2, guess), free_drafter(1, mixed as Guess)]);
            session.target.failing_pass = Some(failing_pass);
            let error = loop {
                let written = session.history.clone();
                if let Err(error) = session.cycle(100, &mut |_| true) {
                    assert_eq!(session.history, written, "nothing was written");
                    break error;
                }
            };
            assert!(error.to_string().contains("gone"), "{error}");
            assert_eq!(session.answer(&PROMPT, 30), answer, "{name}, pass {failing_pass}");
        }
    }
}

#[test]
fn after_a_callback_that_panicked_the_same_prompt_equals_a_cold_run() {
    let answer = plain_answer(30);
    for (name, guess) in GUESSES {
        for n_shown in 0..8 {
            let mut session = session(vec![drafter(2, guess), free_drafter(1, mixed as Guess)]);
            let mut n_left = n_shown;
            let mut on_token = |_| {
                assert!(n_left > 0, "a caller's bug");
                n_left -= 1;
                true
            };
            let work = || while session.cycle(100, &mut on_token).unwrap() {};
            assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
            assert_eq!(session.answer(&PROMPT, 30), answer, "{name}, after {n_shown} tokens");
        }
    }
}

#[test]
fn a_warm_cache_equals_a_cold_one_though_most_drafts_were_wrong() {
    let mostly_wrong = |path: &[u32], choice| {
        if path.len().is_multiple_of(7) { right(path, choice) } else { wrong(path, choice) }
    };
    for params in settings() {
        for width in [1, 2] {
            let mut warm =
                Session::new(ToyTarget::new(), vec![drafter(width, mostly_wrong)], fixed(6, width), &params);
            let mut prompt = PROMPT.to_vec();
            for n_tokens in [1, 7, 20, 3, 40] {
                let n_before = warm.target.len();
                let found = warm.answer(&prompt, n_tokens);
                assert_eq!(found, plain(&params, &prompt, n_tokens), "{width} wide, {params:?}");
                assert!(n_before <= prompt.len(), "the next prompt goes on from what is cached");
                prompt.extend(found);
                prompt.extend([2, 5]);
            }
            let statistics = warm.decoder.statistics();
            let (n_drafted, n_accepted) = (statistics.n_drafted, statistics.n_accepted);
            assert!(n_accepted > 0 && 3 * n_accepted < n_drafted, "{n_accepted} of {n_drafted}");
        }
    }
}
