//! Real models, where the cache has them: greedy tokens as llama.cpp 0.3.36's `llama-server` gives them for
//! the same file and prompt, at temperature 0. Each step was won by at least 0.35 nats, far more than what
//! rounding moves.

#[path = "../../text/tests/stored/mod.rs"]
mod stored;

use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree, argmax};
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::sync::Arc;

/// "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12," goes on with " 13, 14, 15, 16, 17, 18,".
const SMOLLM2_COUNTS: (&[u32], &[u32]) = (
    &[
        33, 28, 216, 34, 28, 216, 35, 28, 216, 36, 28, 216, 37, 28, 216, 38, 28, 216, 39, 28, 216, 40, 28,
        216, 41, 28, 216, 33, 32, 28, 216, 33, 33, 28, 216, 33, 34, 28,
    ],
    &[216, 33, 35, 28, 216, 33, 36, 28, 216, 33, 37, 28, 216, 33, 38, 28, 216, 33, 39, 28, 216, 33, 40, 28],
);

/// "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is" goes on with
/// " Madrid. The capital of Australia is Sydney. The capital of Canada is Ottawa. …".
const QWEN_CAPITALS: (&[u32], &[u32]) = (
    &[
        785, 6722, 315, 9625, 374, 12095, 13, 576, 6722, 315, 15344, 374, 21718, 13, 576, 6722, 315, 17689,
        374,
    ],
    &[
        24081, 13, 576, 6722, 315, 8330, 374, 21273, 13, 576, 6722, 315, 6864, 374, 32166, 13, 576, 6722,
        315, 4882, 10174, 374, 28615, 13971,
    ],
);

/// "def add(a, b): … def subtract(a, b): … def multiply(a, b):" goes on with its body and "def divide".
const QWEN_FUNCTIONS: (&[u32], &[u32]) = (
    &[
        750, 912, 2877, 11, 293, 982, 262, 470, 264, 488, 293, 271, 750, 32256, 2877, 11, 293, 982, 262, 470,
        264, 481, 293, 271, 750, 30270, 2877, 11, 293, 982,
    ],
    &[
        262, 470, 264, 353, 293, 271, 750, 21749, 2877, 11, 293, 982, 262, 421, 293, 621, 220, 15, 510, 286,
        470, 330, 1454, 25,
    ],
);

/// The model, or `None` with a note where it is not in the store.
fn load(file: &str) -> Option<Arc<CpuModel>> {
    Some(CpuModel::load(stored::stored(file)?, &LoadOptions::default()).unwrap())
}

fn greedy(model: &Arc<CpuModel>, prompt: &[u32], n_tokens: usize) -> Vec<u32> {
    let mut sequence = model.sequence(prompt.len() + n_tokens).unwrap();
    let mut answer = Vec::new();
    let mut next = prompt.to_vec();
    while answer.len() < n_tokens {
        let forward = sequence.forward(&TokenTree::chain(&next), LogitRows::Last).unwrap();
        next = vec![argmax(forward.logits)];
        answer.extend(&next);
    }
    answer
}

#[test]
fn smollm2_says_what_llama_cpp_says() {
    let Some(model) = load("smollm2-135m-instruct-q4_1.gguf") else { return };
    let (prompt, wanted) = SMOLLM2_COUNTS;
    assert_eq!(greedy(&model, prompt, wanted.len()), wanted);
}

#[test]
fn qwen2_says_what_llama_cpp_says() {
    let Some(model) = load("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf") else { return };
    for (prompt, wanted) in [QWEN_CAPITALS, QWEN_FUNCTIONS] {
        assert_eq!(greedy(&model, prompt, wanted.len()), wanted);
    }
}

/// With a draft of the very answer, and with a wrong one, a verify scores what plain decoding does.
#[test]
fn a_real_draft_is_scored_as_single_tokens_are() {
    let Some(model) = load("smollm2-135m-instruct-q4_1.gguf") else { return };
    let (prompt, answer) = SMOLLM2_COUNTS;
    let mut sequence = model.sequence(100).unwrap();
    sequence.forward(&TokenTree::chain(prompt), LogitRows::None).unwrap();
    let mut alone = Vec::new();
    for token in &answer[..8] {
        alone.extend_from_slice(
            sequence.forward(&TokenTree::chain(&[*token]), LogitRows::Last).unwrap().logits,
        );
    }
    sequence.truncate(prompt.len()).unwrap();
    let together = sequence.forward(&TokenTree::chain(&answer[..8]), LogitRows::All).unwrap();
    assert!(together.logits.iter().map(|x| x.to_bits()).eq(alone.iter().map(|x| x.to_bits())));
    sequence.truncate(prompt.len()).unwrap();
    let wrong = [&answer[..3], &[7, 8, 9]].concat();
    let partly = sequence.forward(&TokenTree::chain(&wrong), LogitRows::All).unwrap();
    let n_same = 3 * model.config().vocab_size;
    assert!(
        partly.logits[..n_same] == alone[..n_same] && partly.logits[n_same..] != alone[n_same..n_same * 2]
    );
}
