//! A sequence with speculation, and prompts for it.

use std::sync::Arc;

use nano_reasoning_engine::{LogitRows, Sampler, SamplingParams, TargetModel};
use nano_reasoning_model::CpuModel;
use nano_reasoning_speculate::{Drafter, SpeculationOptions, SpeculativeDecoder};

const ANSWER_LEN: usize = 60;

/// A sequence with speculation.
pub(crate) struct Session {
    target: Box<dyn TargetModel>,
    pub(crate) decoder: SpeculativeDecoder,
}

impl Session {
    pub(crate) fn new(model: &Arc<CpuModel>, drafter: Option<Box<dyn Drafter>>) -> Self {
        let mut target: Box<dyn TargetModel> = Box::new(model.sequence(400).unwrap());
        let options = SpeculationOptions { draft_count: 3, max_width: 1, is_fixed: true };
        let decoder = SpeculativeDecoder::new(&mut *target, drafter.into_iter().collect(), options).unwrap();
        Self { target, decoder }
    }

    /// The greedy answer to a prompt.
    pub(crate) fn answer(&mut self, prompt: &[u32]) -> Vec<u32> {
        let Self { target, decoder } = self;
        decoder.truncate(&mut **target, 0).unwrap();
        let params = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let mut sampler = Sampler::new(params).unwrap();
        let mut history = prompt.to_vec();
        let forward = decoder.prefill(&mut **target, prompt, LogitRows::Last).unwrap();
        let token = sampler.sample(forward.logits, &history);
        history.push(token);
        while history.len() < prompt.len() + ANSWER_LEN {
            let n_left = prompt.len() + ANSWER_LEN - history.len();
            decoder.cycle(&mut **target, &mut sampler, &mut history, n_left, &mut |_| true).unwrap();
        }
        decoder.end_answer(&history);
        history.split_off(prompt.len())
    }
}

/// A random model's texts have nothing in common, so that only what comes again can be learnt.
pub(crate) fn prompt(i: u32) -> Vec<u32> {
    (0..6).map(|j| (i % 3 * 17 + j * j * 5 + 3) % 75).collect()
}
