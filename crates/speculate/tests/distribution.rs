//! Sampled tokens follow the target's exact distribution, and wrong ways to verify a draft do not.

mod common;

use std::collections::HashMap;

use common::*;
use nano_reasoning_engine::{Sampler, SamplingParams, distribution};
use nano_reasoning_speculate::{Drafter, SpeculationOptions};

const SEEDS: u64 = 10_000;
/// Tokens of an answer …
const N_TOKENS: usize = 8;
/// … and those of them that are counted. The prompt's pass gives the first; these hang on the middle of the first draft, and
/// on the drafts that follow a rejection.
const COUNTED: std::ops::Range<usize> = 3..6;
/// Tokens that the toy target and the penalty of [`settings`] look back at.
const LOOK_BACK: usize = 4;

/// Makes drafters.
type Draft<'a> = &'a dyn Fn() -> Vec<Box<dyn Drafter>>;
type Triples = HashMap<Vec<u32>, f64>;

/// Counts of the three tokens over seeds, and cycles by accepted length.
fn triples(
    draft: Draft<'_>,
    options: SpeculationOptions,
    params: &SamplingParams,
    fault: Option<Fault>,
) -> (Triples, Vec<u64>) {
    let (mut counts, mut accepted_lengths) = (HashMap::new(), vec![0; N_TOKENS]);
    for seed in 0..SEEDS {
        let params = SamplingParams { seed: Some(seed), ..params.clone() };
        let mut target = ToyTarget::new();
        target.fault = fault;
        let mut session = Session::new(target, draft(), options, &params);
        let tokens = session.answer(&PROMPT, N_TOKENS);
        *counts.entry(tokens[COUNTED].to_vec()).or_insert(0.0) += 1.0;
        let lengths = &session.decoder.statistics().accepted_lengths;
        accepted_lengths.iter_mut().zip(lengths).for_each(|(sum, n)| *sum += n);
    }
    (counts, accepted_lengths)
}

/// Chances of the three tokens, over all that may come before them.
fn exact(params: &SamplingParams) -> Triples {
    let mut chances = HashMap::from([(PROMPT[PROMPT.len() - LOOK_BACK..].to_vec(), 1.0)]);
    for _ in 0..COUNTED.end {
        let mut next = HashMap::new();
        for (history, chance) in &chances {
            for (token, p) in distribution(&ToyTarget::logits_after(history), history, params).iter() {
                let history = [&history[1..], &[token]].concat();
                *next.entry(history).or_insert(0.0) += chance * p;
            }
        }
        chances = next;
    }
    let mut triples = HashMap::new();
    for (history, chance) in chances {
        *triples.entry(history[LOOK_BACK - COUNTED.len()..].to_vec()).or_insert(0.0) += chance;
    }
    triples
}

/// χ² of counts against chances, and its upper 1e-6 quantile.
fn chi_square(counts: &Triples, chances: &Triples) -> (f64, f64) {
    let (mut statistic, mut n_cells, mut rest_want, mut rest_got) = (0.0, 0.0, 0.0, SEEDS as f64);
    for (triple, chance) in chances {
        let want = chance * SEEDS as f64;
        if want < 8.0 {
            rest_want += want; // Rare triples are one cell.
            continue;
        }
        let got = counts.get(triple).copied().unwrap_or(0.0);
        rest_got -= got;
        statistic += (got - want).powi(2) / want;
        n_cells += 1.0;
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
        let chances = exact(&params);
        let chain = || vec![drafter(1, right as Guess)];
        let wide = || vec![drafter(2, mixed as Guess)];
        let deep = || vec![spine_drafter(3, random as Guess)];
        let both = || vec![free_drafter(1, mixed as Guess), drafter(1, random as Guess)];
        let ways: [(&str, Draft<'_>, usize); 4] =
            [("a chain", &chain, 1), ("a wide tree", &wide, 2), ("a deep tree", &deep, 3), ("two", &both, 2)];
        for (name, draft, width) in ways {
            let (counts, accepted_lengths) = triples(draft, fixed(5, width), &params, None);
            let (statistic, limit) = chi_square(&counts, &chances);
            assert!(statistic < limit, "χ² {statistic} above {limit}, {name}, {params:?}");
            let n_long: u64 = accepted_lengths[2..].iter().sum();
            assert!(n_long > SEEDS / 50, "{name}: {accepted_lengths:?}");
        }
    }
}

#[test]
fn broken_verification_is_caught() {
    let params = &settings()[5];
    let chances = exact(params);
    for (fault, width) in [(Fault::SeesOtherPaths, 2), (Fault::FavoursDrafts, 1), (Fault::KeepsRejected, 1)] {
        let draft = || vec![drafter(width, mixed as Guess)];
        let (counts, _) = triples(&draft, fixed(4, width), params, Some(fault));
        let (statistic, limit) = chi_square(&counts, &chances);
        assert!(statistic > limit, "not caught: {fault:?} (χ² {statistic}, limit {limit})");
    }
}

/// Rules of acceptance that are wrong in ways others got wrong; each must fail as well.
#[test]
fn broken_rules_are_caught() {
    let params = &settings()[5];
    let chances = exact(params);
    let draw = |history: &[u32], seed: u64, position: usize| {
        let params = SamplingParams { seed: Some(seed), ..params.clone() };
        let noise = Sampler::new(params.clone()).unwrap().noise_at(position).unwrap();
        distribution(&ToyTarget::logits_after(history), history, &params).draw(noise)
    };
    type Rule<'a> = Box<dyn Fn(u64) -> Vec<u32> + 'a>;
    let walk = |next: &dyn Fn(&[u32], usize) -> u32| {
        let mut history = PROMPT.to_vec();
        for i in 0..COUNTED.end {
            let token = next(&history, i);
            history.push(token);
        }
        history.split_off(PROMPT.len() + COUNTED.start)
    };
    let rules: [(&str, Rule); 4] = [
        ("one random number for all positions", Box::new(|seed| walk(&|h, _| draw(h, seed, 0)))),
        ("a draft token is taken if it is possible at all", {
            Box::new(|seed| {
                walk(&|h, i| {
                    let drafted = right(h, 1);
                    let possible = distribution(&ToyTarget::logits_after(h), h, params).prob(drafted) > 0.0;
                    if possible && i.is_multiple_of(3) { drafted } else { draw(h, seed, h.len()) }
                })
            })
        }),
        ("after a rejection the target draws anew, without taking the rejected token out", {
            Box::new(|seed| {
                walk(&|h, _| {
                    let drafted = right(h, 0);
                    let chance = distribution(&ToyTarget::logits_after(h), h, params).prob(drafted);
                    let is_accepted = draw(h, seed + SEEDS, h.len()) % 12 < (12.0 * chance) as u32;
                    if is_accepted { drafted } else { draw(h, seed, h.len()) }
                })
            })
        }),
        ("the penalty sees the history of the draft's start only", {
            Box::new(|seed| {
                walk(&|h, _| {
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
        let (statistic, limit) = chi_square(&counts, &chances);
        assert!(statistic > limit, "not caught: {name} (χ² {statistic}, limit {limit})");
    }
}
