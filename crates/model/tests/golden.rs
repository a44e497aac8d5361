//! Logits and the inputs of every layer against a naive pass in f64.

mod common;

use common::naive::{self, compare};
use common::{Extra, Rng, TinyModel};
use nano_reasoning_gguf::DType;
use std::f64::consts::TAU;

/// Unquantized weights are multiplied in f32. Queries, keys and values have 15 bits, an error of some 1.5e-5
/// of their lengths; scores here reach ±13, so that softmax weights are off by 2e-4, and three layers add up.
const EXACT: f64 = 1e-3;

#[test]
fn logits_equal_a_naive_pass() {
    let tokens = Rng(7).tokens(40, 75);
    for architecture in ["qwen2", "qwen3", "llama"] {
        for is_tied in [false, true] {
            let model = TinyModel { is_tied, ..TinyModel::new(architecture) };
            let theirs = naive::forward(&model, &tokens, &naive::plain_angle(&model), 1.0);
            compare(&model, &tokens, &theirs, EXACT);
        }
    }
}

#[test]
fn half_precision_weights_are_exact() {
    let tokens = Rng(8).tokens(12, 75);
    for dtype in [DType::F16, DType::BF16] {
        let model = TinyModel { dtype, ..TinyModel::new("qwen3") };
        let theirs = naive::forward(&model, &tokens, &naive::plain_angle(&model), 1.0);
        compare(&model, &tokens, &theirs, EXACT);
    }
}

/// Activations of quantized weights are rounded to 8 bits: an error of 1/254 of the largest in 64, or some
/// 0.8 % of a normal vector's length, at each of seven products a layer; large scores amplify it.
#[test]
fn quantized_weights_are_close() {
    let tokens = Rng(9).tokens(12, 75);
    for architecture in ["qwen2", "qwen3", "llama"] {
        let model = TinyModel { dtype: DType::Q8_0, ..TinyModel::new(architecture) };
        let theirs = naive::forward(&model, &tokens, &naive::plain_angle(&model), 1.0);
        compare(&model, &tokens, &theirs, 0.1);
    }
}

#[test]
fn part_of_a_head_rotates() {
    let tokens = Rng(10).tokens(20, 75);
    let model = TinyModel { n_rot: 20, ..TinyModel::new("qwen2") };
    let theirs = naive::forward(&model, &tokens, &naive::plain_angle(&model), 1.0);
    compare(&model, &tokens, &theirs, EXACT);
}

#[test]
fn linear_scaling_divides_positions() {
    let tokens = Rng(11).tokens(30, 75);
    let extra =
        vec![("rope.scaling.type", Extra::Text("linear")), ("rope.scaling.factor", Extra::Float(4.0))];
    let model = TinyModel { extra, ..TinyModel::new("llama") };
    let plain = naive::plain_angle(&model);
    let theirs = naive::forward(&model, &tokens, &|position, i| plain(position, i) / 4.0, 1.0);
    compare(&model, &tokens, &theirs, EXACT);
}

#[test]
fn rope_freqs_divide_each_frequency() {
    let tokens = Rng(12).tokens(30, 75);
    let factors: Vec<f32> = (0..16).map(|i| 1.0 + 0.5 * i as f32).collect();
    let model = TinyModel { rope_factors: Some(factors.clone()), ..TinyModel::new("llama") };
    let plain = naive::plain_angle(&model);
    let angle = |position: usize, i: usize| plain(position, i) / f64::from(factors[i]);
    compare(&model, &tokens, &naive::forward(&model, &tokens, &angle, 1.0), EXACT);
}

/// YaRN, from the paper: a frequency that turns more than 32 times within the original context stays, one
/// that turns less than once is divided, and between the share goes with the dimension.
#[test]
fn yarn_keeps_high_frequencies() {
    let tokens = Rng(13).tokens(30, 75);
    let (factor, original) = (4.0, 64.0);
    let extra = vec![
        ("rope.scaling.type", Extra::Text("yarn")),
        ("rope.scaling.factor", Extra::Float(factor as f32)),
        ("rope.scaling.original_context_length", Extra::Integer(original as u32)),
    ];
    let model = TinyModel { extra, ..TinyModel::new("qwen2") };
    let plain = naive::plain_angle(&model);
    let dim = |turns: f64| 32.0 * (original / (turns * TAU)).ln() / (2.0 * 10_000f64.ln());
    let (low, high) = (dim(32.0).floor().max(0.0), dim(1.0).ceil());
    assert!(low < high && high < 16.0, "the ramp lies inside: {low} to {high}");
    let angle = |position: usize, i: usize| {
        let divided = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        plain(position, i) * (1.0 - divided) + plain(position, i) / factor * divided
    };
    let length = 0.1 * factor.ln() + 1.0;
    compare(&model, &tokens, &naive::forward(&model, &tokens, &angle, length), EXACT);
}

/// More than a chunk and more than a span of attention: 1,100 tokens.
#[test]
fn long_prompts_equal_a_naive_pass() {
    let model = TinyModel { context_len: 1200, n_layers: 1, ..TinyModel::new("qwen3") };
    let tokens = Rng(14).tokens(1100, 75);
    let theirs = naive::forward(&model, &tokens, &naive::plain_angle(&model), 1.0);
    compare(&model, &tokens, &theirs, EXACT);
}
