//! The chain of filters; its order and reasons are in [the module](crate::sampling).

use super::distribution::TokenDistribution;
use super::exp::{exp, sum_exp};
use super::params::SamplingParams;
use super::select::{self, Candidate, Select};

/// Buffers of the filters, reused from token to token.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters {
    penalized: Vec<f32>,
    recent: Vec<u32>,
    candidates: Vec<Candidate>,
    select: Select,
}

impl Filters {
    /// Puts the distribution that follows `history` into `out`.
    pub(super) fn apply(
        &mut self,
        logits: &[f32],
        history: &[u32],
        params: &SamplingParams,
        out: &mut TokenDistribution,
    ) {
        assert!(!logits.is_empty(), "sampling needs at least one logit");
        if !params.has_penalty() {
            return filter(logits, params, &mut self.select, &mut self.candidates, out);
        }
        self.penalized.clear();
        self.penalized.extend_from_slice(logits);
        let start = history.len().saturating_sub(params.repetition_window);
        penalize(&mut self.penalized, &history[start..], params.repetition_penalty, &mut self.recent);
        filter(&self.penalized, params, &mut self.select, &mut self.candidates, out);
    }
}

/// Applies the repetition penalty once for each distinct token of `recent_tokens`.
fn penalize(logits: &mut [f32], recent_tokens: &[u32], penalty: f32, scratch: &mut Vec<u32>) {
    scratch.clear();
    scratch.extend_from_slice(recent_tokens);
    scratch.sort_unstable();
    scratch.dedup();
    for &token in scratch.iter() {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

fn filter(
    logits: &[f32],
    params: &SamplingParams,
    select: &mut Select,
    candidates: &mut Vec<Candidate>,
    out: &mut TokenDistribution,
) {
    let max = select::max(logits);
    if params.is_greedy() || !max.is_finite() {
        // Without a finite maximum there is no distribution: +∞ wins outright, and if no logit is a
        // number the lowest id stands in.
        return out.set_certain(select::argmax(logits) as u32);
    }
    let weight = |logit: f32| exp((logit - max) / params.temperature);
    let has_top_k = (1..logits.len()).contains(&params.top_k);
    if !has_top_k && params.top_p >= 1.0 && params.min_p <= 0.0 {
        return out.set_dense(logits.iter().map(|&logit| weight(logit)));
    }
    if has_top_k {
        select.top_k(logits, params.top_k, candidates);
        let total: f64 = candidates.iter().map(|c| f64::from(exp(c.logit - max))).sum();
        if let Some(len) = top_p_len(candidates, max, f64::from(params.top_p) * total, params.top_p) {
            candidates.truncate(len);
        }
    } else if params.top_p < 1.0 {
        top_p_of_all(logits, max, params.top_p, select, candidates);
    } else {
        select.at_least(logits, min_p_bound(max, params.min_p), candidates);
    }
    let bound = min_p_bound(max, params.min_p);
    let len = candidates.iter().take_while(|c| c.logit >= bound && weight(c.logit) > 0.0).count();
    out.set_sparse(candidates[..len.max(1)].iter().map(|c| (c.token, weight(c.logit))));
}

/// The lowest logit that min-p lets pass.
fn min_p_bound(max: f32, min_p: f32) -> f32 {
    if min_p > 0.0 { max + min_p.ln() } else { f32::NEG_INFINITY }
}

/// How many of the best candidates it takes for their weights to reach `wanted`; `None` if all do not.
fn top_p_len(candidates: &[Candidate], max: f32, wanted: f64, top_p: f32) -> Option<usize> {
    if top_p >= 1.0 {
        return None;
    }
    let mut sum = 0.0;
    for (i, candidate) in candidates.iter().enumerate() {
        sum += f64::from(exp(candidate.logit - max));
        if sum >= wanted {
            return Some(i + 1);
        }
    }
    None
}

/// Top-p without a top-k: takes ever more of the best until they reach `top_p` of the whole.
fn top_p_of_all(logits: &[f32], max: f32, top_p: f32, select: &mut Select, candidates: &mut Vec<Candidate>) {
    let wanted = f64::from(top_p) * sum_exp(logits, max);
    let mut k = 128;
    loop {
        select.top_k(logits, k, candidates);
        if let Some(len) = top_p_len(candidates, max, wanted, top_p) {
            return candidates.truncate(len);
        }
        if k >= logits.len() {
            return; // Rounding kept the sum below `wanted`: all stay.
        }
        k = k.saturating_mul(8);
    }
}
