//! The tokens are those of the target alone, whatever is drafted.

mod common;

use std::collections::HashMap;

use common::*;
use nano_reasoning_engine::{LogitRows, Sampler, SamplingParams, TargetModel, distribution};
use nano_reasoning_speculate::{Drafter, SpeculationOptions, SpeculativeDecoder};

const PROMPT: [u32; 5] = [1, 7, 3, 3, 9];

type Guess = fn(&[u32], usize) -> u32;
const GUESSES: [(&str, Guess); 4] =
    [("right", right), ("wrong", wrong), ("random", random), ("mixed", mixed)];

fn settings() -> Vec<SamplingParams> {
    let warm =
        SamplingParams { temperature: 0.8, top_k: 0, top_p: 1.0, seed: Some(3), ..SamplingParams::default() };
    vec![
        SamplingParams::greedy(),
        SamplingParams { repetition_penalty: 1.3, ..SamplingParams::greedy() },
        warm.clone(),
        SamplingParams { top_k: 4, ..warm.clone() },
        SamplingParams { top_p: 0.7, min_p: 0.1, ..warm.clone() },
        SamplingParams { repetition_penalty: 1.5, repetition_window: 4, ..warm },
    ]
}

#[test]
fn every_draft_gives_the_tokens_of_none() {
    for params in settings() {
        let (plain, _) = generate(vec![], fixed(0, 1), &params, &PROMPT, 60);
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

#[test]
fn two_drafters_in_one_tree_give_the_same_tokens() {
    for params in settings() {
        let (plain, _) = generate(vec![], fixed(0, 1), &params, &PROMPT, 60);
        let drafters = vec![drafter(1, mixed as Guess), drafter(2, random as Guess)];
        let (tokens, _) = generate(drafters, fixed(5, 2), &params, &PROMPT, 60);
        assert_eq!(tokens, plain);
    }
}

#[test]
fn the_controller_changes_speed_and_nothing_else() {
    for params in settings() {
        let (plain, _) = generate(vec![], fixed(0, 1), &params, &PROMPT, 200);
        for (name, guess) in GUESSES {
            let drafters = vec![drafter(2, guess)];
            let (tokens, _) = generate(drafters, SpeculationOptions::default(), &params, &PROMPT, 200);
            assert_eq!(tokens, plain, "{name}");
        }
    }
}

/// Counts of the three tokens after the prompt, over seeds.
fn triples(
    draft: impl Fn() -> Vec<Box<dyn Drafter>>,
    options: SpeculationOptions,
    params: &SamplingParams,
) -> HashMap<Vec<u32>, f64> {
    let mut counts = HashMap::new();
    for seed in 0..SEEDS {
        let params = SamplingParams { seed: Some(seed), ..params.clone() };
        let (tokens, _) = generate(draft(), options, &params, &PROMPT, 3);
        *counts.entry(tokens).or_insert(0.0) += 1.0;
    }
    counts
}

const SEEDS: u64 = 20_000;

/// χ² of counts of token triples against the exact distribution, and its upper 1e-6 quantile.
fn chi_square(counts: &HashMap<Vec<u32>, f64>, params: &SamplingParams) -> (f64, f64) {
    let next = |history: &[u32]| distribution(&ToyTarget::logits_after(history), history, params);
    let (mut statistic, mut n_cells, mut rest_want, mut rest_got) = (0.0, 0.0, 0.0, SEEDS as f64);
    let mut history = PROMPT.to_vec();
    for (a, p_a) in next(&PROMPT).iter() {
        history.push(a);
        for (b, p_b) in next(&history).iter() {
            history.push(b);
            for (c, p_c) in next(&history).iter() {
                let want = p_a * p_b * p_c * SEEDS as f64;
                let got = counts.get(&vec![a, b, c]).copied().unwrap_or(0.0);
                if want < 8.0 {
                    rest_want += want; // Rare triples are one cell.
                    continue;
                }
                rest_got -= got;
                statistic += (got - want).powi(2) / want;
                n_cells += 1.0;
            }
            history.pop();
        }
        history.pop();
    }
    if rest_want > 8.0 {
        statistic += (rest_got - rest_want).powi(2) / rest_want;
        n_cells += 1.0;
    }
    let degrees: f64 = n_cells - 1.0;
    let a = 2.0 / (9.0 * degrees);
    (statistic, degrees * (1.0 - a + 4.753 * a.sqrt()).powi(3))
}

#[test]
fn sampled_tokens_follow_the_exact_distribution() {
    for params in settings().into_iter().filter(|params| !params.is_greedy()) {
        for (width, guess) in [(1, right as Guess), (2, mixed), (3, random)] {
            let counts = triples(|| vec![drafter(width, guess)], fixed(4, width), &params);
            let (statistic, limit) = chi_square(&counts, &params);
            assert!(statistic < limit, "χ² {statistic} above {limit}, {width} wide, {params:?}");
        }
    }
}

/// Rules that are wrong in ways others got wrong; each must fail the test above.
#[test]
fn broken_rules_are_caught() {
    let params = &settings()[5];
    let draw = |history: &[u32], seed: u64, position: usize| {
        let params = SamplingParams { seed: Some(seed), ..params.clone() };
        let noise = Sampler::new(params.clone()).unwrap().noise_at(position).unwrap();
        distribution(&ToyTarget::logits_after(history), history, &params).draw(noise)
    };
    type Rule<'a> = Box<dyn Fn(u64) -> Vec<u32> + 'a>;
    let walk = |seed: u64, next: &dyn Fn(&[u32], usize) -> u32| {
        let mut history = PROMPT.to_vec();
        for i in 0..3 {
            let token = next(&history, i);
            history.push(token);
        }
        let _ = seed;
        history.split_off(PROMPT.len())
    };
    let rules: [(&str, Rule); 4] = [
        ("one random number for all positions", Box::new(|seed| walk(seed, &|h, _| draw(h, seed, 0)))),
        ("a draft token is taken if it is possible at all", {
            Box::new(|seed| {
                walk(seed, &|h, i| {
                    let drafted = right(h, 1);
                    let possible = distribution(&ToyTarget::logits_after(h), h, params).prob(drafted) > 0.0;
                    if possible && i == 0 { drafted } else { draw(h, seed, h.len()) }
                })
            })
        }),
        ("after a rejection the target draws anew, without taking the rejected token out", {
            Box::new(|seed| {
                walk(seed, &|h, _| {
                    let drafted = right(h, 0);
                    let chance = distribution(&ToyTarget::logits_after(h), h, params).prob(drafted);
                    let is_accepted = draw(h, seed + SEEDS, h.len()) % 12 < (12.0 * chance) as u32;
                    if is_accepted { drafted } else { draw(h, seed, h.len()) }
                })
            })
        }),
        ("the penalty sees the history of the draft's start only", {
            Box::new(|seed| {
                walk(seed, &|h, _| {
                    let logits = ToyTarget::logits_after(h);
                    let params = SamplingParams { seed: Some(seed), ..params.clone() };
                    let noise = Sampler::new(params.clone()).unwrap().noise_at(h.len()).unwrap();
                    distribution(&logits, &PROMPT, &params).draw(noise)
                })
            })
        }),
    ];
    for (name, rule) in rules {
        let mut counts = HashMap::new();
        for seed in 0..SEEDS {
            *counts.entry(rule(seed)).or_insert(0.0) += 1.0;
        }
        let (statistic, limit) = chi_square(&counts, params);
        assert!(statistic > limit, "not caught: {name} (χ² {statistic}, limit {limit})");
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
fn a_stop_inside_a_draft_ends_there() {
    let mut target = ToyTarget::new();
    let options = fixed(6, 1);
    let mut decoder =
        SpeculativeDecoder::new(&mut target, vec![drafter(1, right as Guess)], options).unwrap();
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    let first = decoder.prefill(&mut target, &PROMPT, LogitRows::Last).unwrap();
    let mut history = PROMPT.to_vec();
    history.push(sampler.sample(first.logits, &PROMPT));
    let mut n_seen = 0;
    let goes_on = decoder
        .cycle(&mut target, &mut sampler, &mut history, 100, &mut |_| {
            n_seen += 1;
            n_seen < 3
        })
        .unwrap();
    assert!(!goes_on);
    assert_eq!((n_seen, history.len()), (3, PROMPT.len() + 4));
    assert_eq!(target.len() + 1, history.len(), "nothing past the stop is cached");
    let statistics = decoder.statistics();
    assert_eq!((statistics.n_emitted, statistics.n_accepted, statistics.n_drafted), (3, 3, 3));
    // The cache goes on as a cold one would.
    decoder.cycle(&mut target, &mut sampler, &mut history, 7, &mut |_| true).unwrap();
    let n_tokens = history.len() - PROMPT.len();
    let (cold, _) = generate(vec![], fixed(0, 1), &SamplingParams::greedy(), &PROMPT, n_tokens);
    assert_eq!(history[PROMPT.len()..], cold);
}

#[test]
fn the_end_of_the_context_cuts_drafts() {
    let mut target = ToyTarget::new();
    target.context_len = 12;
    let options = fixed(8, 2);
    let mut decoder =
        SpeculativeDecoder::new(&mut target, vec![drafter(2, right as Guess)], options).unwrap();
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    let first = decoder.prefill(&mut target, &PROMPT, LogitRows::Last).unwrap();
    let mut history = PROMPT.to_vec();
    history.push(sampler.sample(first.logits, &PROMPT));
    while target.len() < 12 {
        decoder.cycle(&mut target, &mut sampler, &mut history, 100, &mut |_| true).unwrap();
    }
    let (plain, _) =
        generate(vec![], fixed(0, 1), &SamplingParams::greedy(), &PROMPT, history.len() - PROMPT.len());
    assert_eq!(history[PROMPT.len()..], plain);
}

struct Faulty {
    panics: bool,
}

impl Drafter for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn commit(&mut self, _: &[u32], _: &[f32]) -> nano_reasoning_speculate::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: usize) -> nano_reasoning_speculate::Result<()> {
        Ok(())
    }

    fn draft(
        &mut self,
        context: &[u32],
        draft: &mut nano_reasoning_speculate::Draft<'_>,
    ) -> nano_reasoning_speculate::Result<()> {
        draft.propose(None, right(context, 0), 0.9);
        assert!(!self.panics || context.len() < 20, "a drafter's bug");
        if context.len() < 20 {
            return Ok(());
        }
        Err(nano_reasoning_engine::Error::Device("gone".into()).into())
    }
}

#[test]
fn a_drafter_that_fails_is_dropped_and_the_answer_goes_on() {
    for panics in [false, true] {
        let (plain, _) = generate(vec![], fixed(0, 1), &SamplingParams::greedy(), &PROMPT, 60);
        let (tokens, decoder) =
            generate(vec![Box::new(Faulty { panics })], fixed(4, 1), &SamplingParams::greedy(), &PROMPT, 60);
        assert_eq!(tokens, plain);
        assert!(decoder.actors()[0].is_dropped());
    }
}
