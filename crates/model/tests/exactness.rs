//! A token's logits depend on the tokens on its path alone, bit for bit.

mod common;

use common::{Rng, TinyModel};
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::DType;
use nano_reasoning_kernels::Kernels;
use nano_reasoning_model::{CpuModel, CpuSequence, LoadOptions};
use std::sync::Arc;

/// One model of each architecture, quantized and not.
fn models() -> Vec<TinyModel> {
    let quantized = TinyModel { dtype: DType::Q8_0, ..TinyModel::new("qwen2") };
    let dense = TinyModel { dtype: DType::BF16, is_tied: true, ..TinyModel::new("llama") };
    vec![quantized, dense, TinyModel::new("qwen3")]
}

fn load(model: &TinyModel, n_threads: usize) -> Arc<CpuModel> {
    model.load(&LoadOptions { n_threads: Some(n_threads), ..LoadOptions::default() })
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Logits of each token, `[n_tokens, vocab_size]`, from passes of `n_at_once` tokens.
fn scored(sequence: &mut CpuSequence, tokens: &[u32], n_at_once: usize) -> Vec<u32> {
    let pass =
        |tokens: &[u32]| bits(sequence.forward(&TokenTree::chain(tokens), LogitRows::All).unwrap().logits);
    tokens.chunks(n_at_once).flat_map(pass).collect()
}

#[test]
fn batches_score_as_single_tokens_do() {
    for model in models() {
        let tokens = Rng(1).tokens(40, model.vocab_size);
        let loaded = load(&model, 2);
        let one_by_one = scored(&mut loaded.sequence(40).unwrap(), &tokens, 1);
        for n_at_once in 2..=17 {
            let batched = scored(&mut loaded.sequence(40).unwrap(), &tokens, n_at_once);
            assert!(batched == one_by_one, "{}: {n_at_once} tokens at once", model.architecture);
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_nothing() {
    for model in models() {
        let tokens = Rng(2).tokens(33, model.vocab_size);
        let wanted = scored(&mut load(&model, 1).sequence(33).unwrap(), &tokens, 33);
        for kernels in Kernels::available() {
            for n_threads in 1..=4 {
                let isa = Some(kernels.isa().name());
                let options = LoadOptions { n_threads: Some(n_threads), isa, ..LoadOptions::default() };
                let found = scored(&mut model.load(&options).sequence(33).unwrap(), &tokens, 11);
                assert!(found == wanted, "{} with {isa:?} and {n_threads} threads", model.architecture);
            }
        }
    }
}

#[test]
fn a_long_prompt_is_cut_without_a_trace() {
    let model = TinyModel { n_layers: 2, context_len: 1300, ..TinyModel::new("qwen2") };
    let tokens = Rng(3).tokens(1200, model.vocab_size);
    let loaded = load(&model, 2);
    let at_once = scored(&mut loaded.sequence(1200).unwrap(), &tokens, 1200);
    for n_at_once in [7, 100, 257] {
        let found = scored(&mut loaded.sequence(1200).unwrap(), &tokens, n_at_once);
        assert!(found == at_once, "{n_at_once} tokens at once");
    }
}

/// A tree with branches and several roots, and for each node its path.
fn tree(rng: &mut Rng, n_nodes: usize, vocab_size: usize) -> (TokenTree, Vec<Vec<usize>>) {
    let mut tree = TokenTree::default();
    let mut paths: Vec<Vec<usize>> = Vec::new();
    for node in 0..n_nodes {
        let parent = (node > 0 && !rng.next().is_multiple_of(5)).then(|| (rng.next() % node as u64) as usize);
        tree.push(rng.token(vocab_size), parent).unwrap();
        let mut path = parent.map_or(Vec::new(), |parent| paths[parent].clone());
        path.push(node);
        paths.push(path);
    }
    (tree, paths)
}

#[test]
fn tree_path_equals_chain() {
    for model in models() {
        let mut rng = Rng(4);
        let loaded = load(&model, 2);
        // Around the ends of blocks (128 positions) and with the largest tree.
        for (n_past, n_nodes) in [(0, 7), (3, 12), (120, 30), (125, 64), (128, 9), (300, 16)] {
            let past = rng.tokens(n_past, model.vocab_size);
            let (tree, paths) = tree(&mut rng, n_nodes, model.vocab_size);
            let mut sequence = loaded.sequence(400).unwrap();
            sequence.set_taps(&[1]);
            sequence.forward(&TokenTree::chain(&past), LogitRows::None).unwrap();
            let found = sequence.forward(&tree, LogitRows::All).unwrap();
            let (logits, taps) = (bits(found.logits), bits(found.taps));
            let last = bits(&found.logits[(n_nodes - 1) * model.vocab_size..]);
            sequence.truncate(n_past).unwrap();
            assert_eq!(bits(sequence.forward(&tree, LogitRows::Last).unwrap().logits), last);
            for (node, path) in paths.iter().enumerate() {
                let chain: Vec<u32> = path.iter().map(|&node| tree.tokens()[node]).collect();
                sequence.truncate(n_past).unwrap();
                let wanted = sequence.forward(&TokenTree::chain(&chain), LogitRows::Last).unwrap();
                let row = |width: usize| node * width..(node + 1) * width;
                assert!(bits(wanted.logits) == logits[row(model.vocab_size)], "{n_past} + node {node}");
                let wanted_tap = bits(&wanted.taps[(path.len() - 1) * model.hidden_dim..]);
                assert!(wanted_tap == taps[row(model.hidden_dim)], "{n_past} + node {node}");
            }
        }
    }
}

#[test]
fn kept_path_decodes_as_a_fresh_chain() {
    for model in models() {
        let mut rng = Rng(5);
        let loaded = load(&model, 2);
        for n_past in [0, 5, 126, 250] {
            let past = rng.tokens(n_past, model.vocab_size);
            let (tree, paths) = tree(&mut rng, 20, model.vocab_size);
            let path = paths.iter().max_by_key(|path| path.len()).unwrap();
            let mut sequence = loaded.sequence(400).unwrap();
            sequence.forward(&TokenTree::chain(&past), LogitRows::None).unwrap();
            sequence.forward(&tree, LogitRows::All).unwrap();
            sequence.keep(path).unwrap();
            assert_eq!(sequence.len(), n_past + path.len());
            let after = rng.tokens(9, model.vocab_size);
            let found = scored(&mut sequence, &after, 4);

            let mut fresh = loaded.sequence(400).unwrap();
            let chain: Vec<u32> = path.iter().map(|&node| tree.tokens()[node]).collect();
            fresh.forward(&TokenTree::chain(&[past, chain].concat()), LogitRows::None).unwrap();
            assert!(found == scored(&mut fresh, &after, 9), "{} after {n_past}", model.architecture);
        }
    }
}

#[test]
fn rollback_then_decode_equals_fresh_decode() {
    for model in models() {
        let mut rng = Rng(6);
        let loaded = load(&model, 2);
        let kept = rng.tokens(20, model.vocab_size);
        let after = rng.tokens(8, model.vocab_size);
        let mut sequence = loaded.sequence(100).unwrap();
        sequence.forward(&TokenTree::chain(&kept), LogitRows::None).unwrap();
        for n_rejected in [1, 6, 40] {
            let rejected = rng.tokens(n_rejected, model.vocab_size);
            sequence.forward(&TokenTree::chain(&rejected), LogitRows::All).unwrap();
            sequence.truncate(kept.len()).unwrap();
        }
        let found = scored(&mut sequence, &after, 3);
        let mut fresh = loaded.sequence(100).unwrap();
        fresh.forward(&TokenTree::chain(&kept), LogitRows::None).unwrap();
        assert!(found == scored(&mut fresh, &after, 1), "{}", model.architecture);
    }
}

#[test]
fn all_kinds_of_rows_agree() {
    for model in models() {
        let tokens = Rng(7).tokens(300, model.vocab_size);
        let mut sequence = load(&model, 2).sequence(300).unwrap();
        sequence.set_taps(&[0, 2]);
        let chain = TokenTree::chain(&tokens);
        let all = sequence.forward(&chain, LogitRows::All).unwrap();
        assert_eq!(all.logits.len(), 300 * model.vocab_size);
        assert_eq!(all.hidden.len(), 300 * model.hidden_dim);
        assert_eq!(all.taps.len(), 300 * 2 * model.hidden_dim);
        let logits = bits(&all.logits[299 * model.vocab_size..]);
        let hidden = bits(&all.hidden[299 * model.hidden_dim..]);
        let taps = bits(all.taps);
        sequence.truncate(0).unwrap();
        let last = sequence.forward(&chain, LogitRows::Last).unwrap();
        assert!(bits(last.logits) == logits && bits(last.hidden) == hidden && bits(last.taps) == taps);
        sequence.truncate(0).unwrap();
        let none = sequence.forward(&chain, LogitRows::None).unwrap();
        assert!(none.logits.is_empty() && none.hidden.is_empty() && bits(none.taps) == taps);
        sequence.truncate(299).unwrap();
        let again = sequence.forward(&TokenTree::chain(&tokens[299..]), LogitRows::Last).unwrap();
        assert!(bits(again.logits) == logits, "the cache is the same whatever rows were wanted");
    }
}

/// Logits of chosen tokens are those of the whole vocabulary, in the order asked for, whatever was chosen before.
#[test]
fn selected_logits_are_those_of_the_whole_pass() {
    for model in models() {
        let tokens = Rng(8).tokens(12, model.vocab_size);
        let mut sequence = load(&model, 2).sequence(12).unwrap();
        let whole = scored(&mut sequence, &tokens, 12);
        let lists: [&[u32]; 6] =
            [&[74, 0, 17, 16, 3], &[74, 0, 17, 16, 3, 60, 1], &[74, 0], &[5, 5], &[], &[40; 100]];
        for list in lists {
            sequence.select_outputs(Some(list)).unwrap();
            for n_at_once in [1, 5, 12] {
                sequence.truncate(0).unwrap();
                let rows = whole.chunks(model.vocab_size);
                let wanted: Vec<u32> =
                    rows.flat_map(|row| list.iter().map(|&token| row[token as usize])).collect();
                assert!(
                    scored(&mut sequence, &tokens, n_at_once) == wanted,
                    "{}: {list:?}",
                    model.architecture
                );
            }
        }
        sequence.select_outputs(None).unwrap();
        sequence.truncate(0).unwrap();
        assert!(scored(&mut sequence, &tokens, 12) == whole, "{}: all again", model.architecture);
    }
}

#[test]
fn an_unknown_token_changes_no_selection() {
    let model = TinyModel::new("qwen2");
    let mut sequence = load(&model, 1).sequence(4).unwrap();
    sequence.select_outputs(Some(&[3, 4])).unwrap();
    let error = sequence.select_outputs(Some(&[3, 4, 75])).unwrap_err();
    assert_eq!(error.to_string(), "token id 75 is outside the vocabulary of 75 tokens");
    assert_eq!(sequence.forward(&TokenTree::chain(&[1]), LogitRows::All).unwrap().logits.len(), 2);
}
