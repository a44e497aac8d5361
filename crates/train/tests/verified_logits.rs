//! What an observer is given of a real engine's verifications, which training reads: along the accepted path these are, bit
//! for bit, the logits and hidden states of plain decoding.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::TinyModel;
use nano_reasoning_engine::{LogitRows, Sampler, SamplingParams};
use nano_reasoning_model::{CpuModel, LoadOptions};
use nano_reasoning_speculate::{
    Drafter, ModelDrafter, Observer, SpeculationOptions, SpeculativeDecoder, Verification,
};

const PROMPT: [u32; 6] = [3, 8, 23, 48, 8, 53];
const ANSWER_LEN: usize = 60;

/// By position, the bits of the logits from which its token was drawn, and of their hidden state.
type Rows = BTreeMap<usize, (Vec<u32>, Vec<u32>)>;

struct Recorder(Arc<Mutex<Rows>>);

impl Observer for Recorder {
    fn observe(&mut self, verification: &Verification<'_>) {
        let Verification { history, num_emitted, path, logits, hidden, tree, .. } = *verification;
        let row_of = |values: &[f32], row: usize| -> Vec<u32> {
            let width = values.len() / tree.len();
            values[row * width..][..width].iter().map(|x| x.to_bits()).collect()
        };
        let mut rows = self.0.lock().unwrap();
        for (position, &row) in (history.len() - num_emitted..).zip(path) {
            rows.insert(position, (row_of(logits, row), row_of(hidden, row)));
        }
    }
}

fn load(seed: u64) -> Arc<CpuModel> {
    let tiny = TinyModel { seed, ..TinyModel::new("qwen2") };
    tiny.load(&LoadOptions { n_threads: Some(1), ..LoadOptions::default() })
}

/// What an observer is given of an answer, and how many draft tokens were accepted and rejected.
fn rows(drafter: Option<&Arc<CpuModel>>, max_width: usize, params: &SamplingParams) -> (Rows, u64, u64) {
    let mut target = load(1).sequence(400).unwrap();
    let drafters = drafter.map(|model| -> Box<dyn Drafter> {
        Box::new(ModelDrafter::new("model", Box::new(model.sequence(400).unwrap()), 0..75))
    });
    let options = SpeculationOptions { draft_count: 5, max_width, is_fixed: true };
    let mut decoder = SpeculativeDecoder::new(&mut target, drafters.into_iter().collect(), options).unwrap();
    let rows = Arc::new(Mutex::new(Rows::new()));
    decoder.add_observer(Box::new(Recorder(rows.clone())));
    let mut sampler = Sampler::new(params.clone()).unwrap();
    let mut history = PROMPT.to_vec();
    let forward = decoder.prefill(&mut target, &PROMPT, LogitRows::Last).unwrap();
    let first = sampler.sample(forward.logits, &PROMPT);
    history.push(first);
    let len = PROMPT.len() + ANSWER_LEN;
    while history.len() < len {
        let n_left = len - history.len();
        decoder.cycle(&mut target, &mut sampler, &mut history, n_left, &mut |_| true).unwrap();
    }
    let (n_accepted, n_drafted) = (decoder.statistics().n_accepted, decoder.statistics().n_drafted);
    let rows = rows.lock().unwrap().clone();
    (rows, n_accepted, n_drafted - n_accepted)
}

#[test]
fn logits_along_the_path_are_those_of_plain_decoding() {
    let (same, other) = (load(1), load(2));
    let warm = SamplingParams { temperature: 0.8, seed: Some(4), ..SamplingParams::default() };
    let penalized = SamplingParams { repetition_penalty: 1.5, ..warm.clone() };
    for params in [SamplingParams::greedy(), warm, penalized] {
        let (plain, ..) = rows(None, 1, &params);
        // The prompt's pass gave the first token.
        assert!(plain.keys().copied().eq(PROMPT.len() + 1..PROMPT.len() + ANSWER_LEN));
        for max_width in [1, 2] {
            let (drafted, n_accepted, _) = rows(Some(&same), max_width, &params);
            assert!(
                drafted == plain && n_accepted > 10,
                "{n_accepted} accepted, {max_width} wide, {params:?}"
            );
            let (drafted, _, n_rejected) = rows(Some(&other), max_width, &params);
            assert!(
                drafted == plain && n_rejected > 10,
                "{n_rejected} rejected, {max_width} wide, {params:?}"
            );
        }
    }
}
