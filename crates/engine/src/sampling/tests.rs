//! Properties of the whole chain, against a plain restatement of it that sorts everything in `f64`.

use proptest::prelude::*;

use super::*;

/// The definition: the same filters, over a full sort, in `f64`.
fn naive(logits: &[f32], history: &[u32], params: &SamplingParams) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> =
        logits.iter().enumerate().map(|(i, &l)| (i as u32, f64::from(l))).collect();
    let recent = &history[history.len().saturating_sub(params.repetition_window)..];
    for (token, logit) in &mut all {
        if recent.contains(token) {
            let penalty = f64::from(params.repetition_penalty);
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if params.temperature == 0.0 {
        return vec![(all[0].0, 1.0)];
    }
    if params.top_k > 0 {
        all.truncate(params.top_k);
    }
    let max = all[0].1;
    if params.top_p < 1.0 {
        let total: f64 = all.iter().map(|c| (c.1 - max).exp()).sum();
        let mut sum = 0.0;
        let len = all.iter().take_while(|c| {
            let is_needed = sum < f64::from(params.top_p) * total;
            sum += (c.1 - max).exp();
            is_needed
        });
        let len = len.count().max(1);
        all.truncate(len);
    }
    if params.min_p > 0.0 {
        all.retain(|c| (c.1 - max).exp() >= f64::from(params.min_p));
    }
    let total: f64 = all.iter().map(|c| ((c.1 - max) / f64::from(params.temperature)).exp()).sum();
    all.iter().map(|c| (c.0, ((c.1 - max) / f64::from(params.temperature)).exp() / total)).collect()
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let temperature = prop_oneof![Just(0.0f32), 0.1f32..3.0];
    let top_k = prop_oneof![Just(0usize), 1usize..60];
    let top_p = prop_oneof![Just(1.0f32), 0.0f32..1.0];
    let min_p = prop_oneof![Just(0.0f32), 0.0f32..0.5];
    let penalty = prop_oneof![Just(1.0f32), 0.5f32..2.0];
    (temperature, top_k, top_p, min_p, penalty, 0usize..20).prop_map(
        |(temperature, top_k, top_p, min_p, repetition_penalty, repetition_window)| SamplingParams {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            repetition_window,
            seed: Some(1),
        },
    )
}

/// Logits with ties now and then, longer than several blocks of the selection.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop_oneof![4 => -12.0f32..12.0, 1 => Just(5.0f32), 1 => Just(-0.0f32)], 1..700)
}

fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(
        prop_oneof![
            any::<f32>(),
            Just(f32::NAN),
            Just(f32::INFINITY),
            Just(f32::NEG_INFINITY),
            Just(f32::MAX),
            Just(f32::MIN),
            -5.0f32..5.0
        ],
        1..300,
    )
}

fn probs(dist: &TokenDistribution) -> Vec<(u32, f64)> {
    dist.iter().filter(|entry| entry.1 > 0.0).collect()
}

proptest! {
    #[test]
    fn agrees_with_its_definition(
        logits in logits(),
        history in prop::collection::vec(0u32..700, 0..30),
        params in params(),
    ) {
        let want = naive(&logits, &history, &params);
        let got = distribution(&logits, &history, &params);
        // A filter's edge can fall the other way by rounding: allow one token's difference at the edge.
        let missing: f64 = want.iter().filter(|w| got.prob(w.0) == 0.0).map(|w| w.1).sum();
        let edge = want.last().map_or(0.0, |w| w.1);
        prop_assert!(missing <= edge * 1.01 + 1e-30, "missing {missing}, edge {edge}");
        prop_assert!(probs(&got).len() <= want.len() + 1);
        if missing == 0.0 && probs(&got).len() == want.len() {
            for (token, prob) in want {
                prop_assert!((got.prob(token) - prob).abs() <= 1e-5 * prob + 1e-12);
            }
        }
    }

    #[test]
    fn probabilities_sum_to_one(logits in logits(), params in params()) {
        let dist = distribution(&logits, &[], &params);
        prop_assert!((dist.iter().map(|entry| entry.1).sum::<f64>() - 1.0).abs() < 1e-9);
        let listed: f64 = (0..logits.len() as u32).map(|token| dist.prob(token)).sum();
        prop_assert!((listed - 1.0).abs() < 1e-9);
    }

    #[test]
    fn stricter_filters_keep_a_subset(logits in logits(), params in params(), shrink in 0.0f32..1.0) {
        let loose = SamplingParams { repetition_penalty: 1.0, temperature: 1.0, ..params };
        let stricter = [
            SamplingParams { top_k: ((loose.top_k as f32 * shrink) as usize).max(1), ..loose.clone() },
            SamplingParams { top_p: loose.top_p * shrink, ..loose.clone() },
            SamplingParams { min_p: loose.min_p + (1.0 - loose.min_p) * shrink, ..loose.clone() },
        ];
        let kept = distribution(&logits, &[], &loose);
        for strict in stricter {
            // A smaller top-k changes the whole that top-p is a share of: compare it without top-p.
            let (kept, strict) = if strict.top_k != loose.top_k && loose.top_k != 0 {
                let no_top_p = |p: &SamplingParams| SamplingParams { top_p: 1.0, ..p.clone() };
                (distribution(&logits, &[], &no_top_p(&loose)), no_top_p(&strict))
            } else if strict.top_k != loose.top_k {
                continue;
            } else {
                (kept.clone(), strict)
            };
            for (token, prob) in probs(&distribution(&logits, &[], &strict)) {
                prop_assert!(prob == 0.0 || kept.prob(token) > 0.0, "{token} came in by {strict:?}");
            }
        }
    }

    #[test]
    fn greedy_is_the_lowest_argmax(logits in logits()) {
        let want = (0..logits.len()).rev().max_by(|&a, &b| logits[a].partial_cmp(&logits[b]).unwrap()).unwrap();
        prop_assert_eq!(argmax(&logits) as usize, want);
        let dist = distribution(&logits, &[], &SamplingParams::greedy());
        prop_assert_eq!(probs(&dist), [(want as u32, 1.0)]);
        prop_assert_eq!(Sampler::new(SamplingParams::greedy()).unwrap().sample(&logits, &[]) as usize, want);
    }

    #[test]
    fn any_logits_give_a_token(logits in any_logits(), history in prop::collection::vec(any::<u32>(), 0..9), params in params()) {
        let dist = distribution(&logits, &history, &params);
        prop_assert!((dist.iter().map(|entry| entry.1).sum::<f64>() - 1.0).abs() < 1e-9);
        for position in 0..5 {
            let token = dist.draw(Noise::seeded(1).at(position));
            prop_assert!(dist.prob(token) > 0.0);
            prop_assert!((token as usize) < logits.len());
        }
    }

    #[test]
    fn a_reused_sampler_equals_the_function(
        rows in prop::collection::vec((logits(), params()), 1..6),
        history in prop::collection::vec(0u32..700, 0..30),
    ) {
        for (logits, params) in rows {
            let mut sampler = Sampler::new(params.clone()).unwrap();
            sampler.distribution(&[1.0, 2.0], &[]);
            prop_assert_eq!(sampler.distribution(&logits, &history), &distribution(&logits, &history, &params));
        }
    }
}

/// Upper 1e-6 quantile of χ² (Wilson–Hilferty).
fn chi_square_limit(degrees: f64) -> f64 {
    let a = 2.0 / (9.0 * degrees);
    degrees * (1.0 - a + 4.753 * a.sqrt()).powi(3)
}

fn chi_square(dist: &TokenDistribution, draw: impl Fn(u64) -> u32) -> (f64, f64) {
    const DRAWS: u64 = 200_000;
    let mut counts = std::collections::HashMap::<u32, f64>::new();
    for seed in 0..DRAWS {
        *counts.entry(draw(seed)).or_default() += 1.0;
    }
    let cells: Vec<(u32, f64)> = probs(dist);
    assert!(counts.keys().all(|&token| dist.prob(token) > 0.0));
    let statistic = cells.iter().map(|&(token, prob)| {
        let want = prob * DRAWS as f64;
        (counts.get(&token).unwrap_or(&0.0) - want).powi(2) / want
    });
    (statistic.sum(), chi_square_limit((cells.len() - 1) as f64))
}

fn wavy_logits(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 1.7).sin() * 2.0).collect()
}

#[test]
fn samples_follow_the_distribution() {
    let logits = wavy_logits(50);
    let base = SamplingParams { top_k: 0, top_p: 1.0, seed: Some(3), ..SamplingParams::default() };
    for params in [
        base.clone(),
        SamplingParams { top_k: 12, ..base.clone() },
        SamplingParams { top_p: 0.8, temperature: 1.3, ..base.clone() },
        SamplingParams { min_p: 0.1, repetition_penalty: 1.5, ..base.clone() },
    ] {
        let history = [1, 8, 1, 20];
        let dist = distribution(&logits, &history, &params);
        let draw = |seed| {
            let params = SamplingParams { seed: Some(seed), ..params.clone() };
            Sampler::new(params).unwrap().sample(&logits, &history)
        };
        let (statistic, limit) = chi_square(&dist, draw);
        assert!(statistic < limit, "χ² {statistic} above {limit} for {params:?}");
        // The test has teeth: another temperature fails it.
        let other = distribution(&logits, &history, &SamplingParams { temperature: 0.9, ..params.clone() });
        let (statistic, limit) = chi_square(&other, draw);
        assert!(statistic > limit || other == dist);
    }
}

#[test]
fn one_seed_follows_the_distribution_over_positions() {
    let dist = distribution(&wavy_logits(30), &[], &SamplingParams::default());
    let noise = Noise::seeded(9);
    let (statistic, limit) = chi_square(&dist, |position| dist.draw(noise.at(position as usize)));
    assert!(statistic < limit, "χ² {statistic} above {limit}");
}

#[test]
fn penalty_divides_positive_and_multiplies_negative_logits_once() {
    let params = SamplingParams {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 2.0,
        repetition_window: 3,
        ..SamplingParams::default()
    };
    let penalized = distribution(&[2.0, -1.0, 1.0], &[2, 0, 1, 0], &params);
    let want = distribution(&[1.0, -2.0, 1.0], &[], &params);
    assert_eq!(penalized, want, "token 2 is outside the window of 3, token 0 counts once");
}

#[test]
fn penalty_changes_the_greedy_choice() {
    let params = SamplingParams { repetition_penalty: 1.3, ..SamplingParams::greedy() };
    let mut sampler = Sampler::new(params).unwrap();
    assert_eq!(sampler.sample(&[1.0, 1.2, 0.0], &[]), 1);
    assert_eq!(sampler.sample(&[1.0, 1.2, 0.0], &[1]), 0);
}

#[test]
fn top_p_sees_probabilities_at_temperature_one() {
    // Shares at temperature 1 are 0.88, 0.12; at temperature 100 nearly equal: still one token stays.
    let params = SamplingParams { temperature: 100.0, top_p: 0.85, ..SamplingParams::default() };
    assert_eq!(distribution(&[2.0, 0.0], &[], &params).len(), 1);
}

#[test]
fn equal_logits_rank_by_id() {
    let params = SamplingParams { top_k: 3, top_p: 1.0, ..SamplingParams::default() };
    let tokens: Vec<u32> = distribution(&[1.0; 500], &[], &params).iter().map(|entry| entry.0).collect();
    assert_eq!(tokens, [0, 1, 2]);
}

#[test]
fn a_seed_gives_the_same_tokens_in_every_version() {
    let mut sampler = Sampler::new(SamplingParams { seed: Some(42), ..SamplingParams::default() }).unwrap();
    let tokens: Vec<u32> = (0..12).map(|len| sampler.sample(&wavy_logits(50), &vec![0; len])).collect();
    assert_eq!(tokens, [19, 12, 31, 49, 42, 45, 49, 8, 38, 45, 31, 16]);
}
