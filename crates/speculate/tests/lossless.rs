//! The tokens are those of the target alone, whatever is drafted.

mod common;

use common::*;
use nano_reasoning_engine::{SamplingParams, TargetModel};
use nano_reasoning_speculate::SpeculationOptions;

#[test]
fn every_draft_gives_the_tokens_of_none() {
    for params in settings() {
        let plain = plain(&params, &PROMPT, 60);
        for (name, guess) in GUESSES {
            for draft_count in 0..=8 {
                for width in [1, 2, 3] {
                    let drafters = vec![drafter(width, guess)];
                    let (tokens, _) = generate(drafters, fixed(draft_count, width), &params, &PROMPT, 60);
                    assert_eq!(tokens, plain, "{name}, {draft_count} deep, {width} wide, {params:?}");
                }
            }
        }
    }
}

/// What the target says, as the alternative that the tree goes on after; the others are wrong.
fn foreseen(answer: Vec<u32>, width: usize) -> impl FnMut(&[u32], usize) -> u32 + Send + 'static {
    move |path, choice| {
        let right = answer.get(path.len() - PROMPT.len()).copied().unwrap_or(0);
        let n_off = if choice == spine(path.len(), width) { 0 } else { choice as u32 + 1 };
        (right + n_off) % VOCAB_SIZE as u32
    }
}

#[test]
fn drafts_eight_deep_are_accepted_whole_as_chains_and_in_trees() {
    for params in settings() {
        let plain = plain(&params, &PROMPT, 60);
        for width in [1, 2, 3] {
            let drafters = vec![spine_drafter(width, foreseen(plain.clone(), width))];
            let (tokens, decoder) = generate(drafters, fixed(8, width), &params, &PROMPT, 60);
            assert_eq!(tokens, plain, "{width} wide, {params:?}");
            let statistics = decoder.statistics();
            // 59 tokens after the prompt's: six cycles of nine and one of five.
            assert_eq!(statistics.accepted_lengths, [0, 0, 0, 0, 1, 0, 0, 0, 6], "{width} wide");
            let n_rows = statistics.drafters[0].n_proposed;
            assert_eq!(n_rows, (6 * 8 + 4) * width as u64, "all alternatives were verified");
        }
    }
}

#[test]
fn a_free_and_a_costly_drafter_in_one_tree_give_the_same_tokens() {
    for params in settings() {
        let plain = plain(&params, &PROMPT, 60);
        for (free_name, free) in GUESSES {
            for (costly_name, costly) in GUESSES {
                for (free_width, costly_width) in [(1, 1), (2, 1), (1, 2)] {
                    let mut drafters = vec![free_drafter(free_width, free), drafter(costly_width, costly)];
                    if free_width == costly_width {
                        drafters.reverse();
                    }
                    let (tokens, decoder) = generate(drafters, fixed(5, 2), &params, &PROMPT, 60);
                    let what = format!("{free_name} {free_width}, {costly_name} {costly_width}, {params:?}");
                    assert_eq!(tokens, plain, "{what}");
                    let statistics = &decoder.statistics().drafters;
                    // A wide tree may leave no room for the tokens of another.
                    let is_shared = statistics.iter().all(|drafter| drafter.n_proposed > 0);
                    assert!(is_shared || costly_width > 1, "{what}: {statistics:?}");
                }
            }
        }
    }
}

#[test]
fn the_controller_changes_speed_and_nothing_else() {
    for params in settings() {
        let plain = plain(&params, &PROMPT, 200);
        for (name, guess) in GUESSES {
            for is_joined in [false, true] {
                let mut drafters = vec![drafter(2, guess)];
                drafters.extend(is_joined.then(|| free_drafter(1, mixed)));
                let (tokens, _) = generate(drafters, SpeculationOptions::default(), &params, &PROMPT, 200);
                assert_eq!(tokens, plain, "{name}");
            }
        }
    }
}

#[test]
fn statistics_count_what_was_emitted() {
    for (name, guess) in GUESSES {
        for width in [1, 2] {
            let options = fixed(4, width);
            let (tokens, decoder) =
                generate(vec![drafter(width, guess)], options, &SamplingParams::greedy(), &PROMPT, 100);
            let statistics = decoder.statistics();
            assert_eq!(statistics.n_emitted as usize, tokens.len() - 1, "{name}: the prompt's pass gave one");
            assert_eq!(statistics.accepted_lengths.iter().sum::<u64>(), statistics.n_verifies);
            let accepted = statistics.accepted_lengths.iter().enumerate().map(|(i, n)| i as u64 * n);
            assert_eq!(accepted.sum::<u64>(), statistics.n_accepted);
            assert_eq!(statistics.n_emitted, statistics.n_accepted + statistics.n_verifies);
            assert_eq!(statistics.drafters[0].n_accepted, statistics.n_accepted);
        }
    }
    let (_, decoder) =
        generate(vec![drafter(1, right as Guess)], fixed(4, 1), &SamplingParams::greedy(), &PROMPT, 101);
    assert_eq!(decoder.statistics().acceptance_rate(), Some(1.0));
    assert_eq!(decoder.statistics().mean_accepted_length(), Some(5.0));
    let (_, decoder) =
        generate(vec![drafter(1, wrong as Guess)], fixed(4, 1), &SamplingParams::greedy(), &PROMPT, 101);
    assert_eq!(decoder.statistics().acceptance_rate(), Some(0.0));
}

#[test]
fn the_end_of_the_context_cuts_drafts() {
    for (name, guess) in GUESSES {
        for context_len in 8..=14 {
            let mut target = ToyTarget::new();
            target.context_len = context_len;
            let drafters = vec![drafter(2, guess)];
            let mut session = Session::new(target, drafters, fixed(8, 2), &SamplingParams::greedy());
            session.read(&PROMPT);
            while session.target.len() < context_len {
                session.cycle(100, &mut |_| true).unwrap();
            }
            let answer = &session.history[PROMPT.len()..];
            let wanted = plain(&SamplingParams::greedy(), &PROMPT, context_len + 1 - PROMPT.len());
            assert_eq!(answer, wanted, "{name}, {context_len}");
        }
    }
}
