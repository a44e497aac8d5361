//! A head's logits against its formulas in f64, and what they may not depend on.

mod common;

use common::head::{NaiveHead, TinyHead};
use common::naive::distance;
use common::{Rng, TinyModel};
use nano_reasoning_engine::{DraftHead, Error as EngineError, LogitRows, TargetModel, TokenTree};
use nano_reasoning_gguf::DType;
use nano_reasoning_kernels::Kernels;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadOptions, LoadOptions};
use std::sync::Arc;

/// As in `golden.rs`: queries, keys and values have 15 bits, so that a layer with scores up to ±13 is off by some
/// 3e-4. A draft of four tokens feeds four such layers into each other.
const EXACT: f64 = 1e-3;
/// Activations of quantized weights have 8 bits, some 0.8 % of a vector's length at each of eight products an entry
/// and one more below it; four entries in a row.
const QUANTIZED: f64 = 0.1;

fn load(target: &TinyModel) -> Arc<CpuModel> {
    target.load(&LoadOptions { n_threads: Some(2), ..LoadOptions::default() })
}

/// The target's taps for `tokens`, `[n, n_taps · hidden_dim]`.
fn taps(model: &Arc<CpuModel>, layers: &[usize], tokens: &[u32]) -> Vec<f32> {
    let mut sequence = model.sequence(tokens.len()).unwrap();
    sequence.set_taps(layers);
    sequence.forward(&TokenTree::chain(tokens), LogitRows::None).unwrap().taps.to_vec()
}

fn close(ours: &[f32], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let found = distance(ours, theirs);
    assert!(found < tolerance, "{what}: off by {found:e}");
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// A prompt, a chain of four tokens, and a tree of two levels after truncation; all compared.
fn compare(target: &TinyModel, tiny: &TinyHead, tolerance: f64) {
    let model = load(target);
    let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
    let mut naive = NaiveHead::new(tiny, target);
    assert_eq!((head.taps(), head.hidden_dim()), (&tiny.taps[..], 64));
    assert_eq!(head.draft_vocab(), tiny.core);
    let n_core = tiny.core.len();

    let tokens = Rng(3).tokens(21, 75);
    let taps = taps(&model, &tiny.taps, &tokens);
    let width = taps.len() / tokens.len();
    let logits = head.extend(&taps[..20 * width], &tokens[1..], true).unwrap().logits.to_vec();
    for (taps, &token) in taps.chunks_exact(width).zip(&tokens[1..]) {
        naive.extend(taps, token);
    }
    close(&logits, &naive.logits(19, &tiny.core, n_core), tolerance, "the prompt's end");

    let mut path: Vec<usize> = (0..20).collect();
    for (depth, token) in [5, 6, 70, 6].into_iter().enumerate() {
        let parent = depth.checked_sub(1);
        let logits = head.step(&[token], &[parent]).unwrap().logits.to_vec();
        path.push(naive.step(token, &path));
        let theirs = naive.logits(*path.last().unwrap(), &tiny.core, n_core);
        close(&logits, &theirs, tolerance, &format!("node {depth} of a chain"));
    }

    // Nodes 0 to 2 follow the prompt; 3 and 4 are children of 0, 5 of 2; 6 follows 4.
    head.truncate(20).unwrap();
    head.extend(&[], &[], true).unwrap();
    assert!(matches!(head.step(&[1], &[None]), Err(EngineError::BadRollback { .. })), "nothing is scored");
    head.truncate(19).unwrap();
    head.extend(&taps[19 * width..20 * width], &tokens[20..], true).unwrap();
    let prompt: Vec<usize> = (0..20).collect();
    let mut nodes: Vec<Vec<usize>> = Vec::new();
    type Level<'a> = (&'a [u32], &'a [Option<usize>]);
    let levels: [Level<'_>; 3] =
        [(&[9, 10, 11], &[None; 3]), (&[12, 9, 13], &[Some(0), Some(0), Some(2)]), (&[14], &[Some(4)])];
    for (tokens, parents) in levels {
        let logits = head.step(tokens, parents).unwrap().logits.to_vec();
        for ((&token, parent), logits) in tokens.iter().zip(parents).zip(logits.chunks_exact(n_core)) {
            let mut path = parent.map_or(prompt.clone(), |parent| nodes[parent].clone());
            let index = naive.step(token, &path);
            path.push(index);
            let what = format!("node {} of a tree", nodes.len());
            close(logits, &naive.logits(index, &tiny.core, n_core), tolerance, &what);
            nodes.push(path);
        }
    }
}

#[test]
fn logits_equal_the_formulas() {
    for (architecture, is_tied) in [("qwen2", true), ("llama", false)] {
        let target = TinyModel { is_tied, ..TinyModel::new(architecture) };
        compare(&target, &TinyHead::new(&target), EXACT);
    }
}

#[test]
fn quantized_logits_are_close() {
    let target = TinyModel { dtype: DType::Q8_0, ..TinyModel::new("qwen3") };
    compare(&target, &TinyHead { dtype: DType::Q8_0, ..TinyHead::new(&target) }, QUANTIZED);
}

#[test]
fn half_precision_heads_are_exact() {
    let target = TinyModel::new("qwen3");
    for dtype in [DType::F16, DType::BF16] {
        compare(&target, &TinyHead { dtype, ..TinyHead::new(&target) }, EXACT);
    }
}

#[test]
fn trained_rows_score_the_heads_own_list() {
    let target = TinyModel::new("qwen2");
    compare(&target, &TinyHead { has_output: true, ..TinyHead::new(&target) }, EXACT);
    let quantized = TinyHead { has_output: true, dtype: DType::Q8_0, ..TinyHead::new(&target) };
    compare(&target, &quantized, QUANTIZED);
}

/// Both kinds of output, and a target whose rows have another type than the head's.
#[test]
fn tokens_of_the_context_are_scored_by_the_targets_rows() {
    for (has_output, of_head, of_target) in [
        (false, DType::F32, DType::F32),
        (true, DType::F32, DType::F32),
        (true, DType::F16, DType::Q8_0),
        (true, DType::Q8_0, DType::F32),
    ] {
        let target = TinyModel { dtype: of_target, ..TinyModel::new("qwen2") };
        let tiny = TinyHead { has_output, dtype: of_head, ..TinyHead::new(&target) };
        let (model, mut naive) = (load(&target), NaiveHead::new(&tiny, &target));
        let mut head =
            tiny.load(&model, &HeadOptions { core_vocab: Some(7), ..HeadOptions::default() }).unwrap();
        assert_eq!(head.draft_vocab(), &tiny.core[..7]);
        let tokens = Rng(4).tokens(9, 75);
        let taps = taps(&model, &tiny.taps, &tokens);
        let width = taps.len() / tokens.len();
        for (taps, &token) in taps.chunks_exact(width).zip(&tokens[1..]) {
            naive.extend(taps, token);
        }
        let before = head.extend(&taps[..8 * width], &tokens[1..], true).unwrap().logits.to_vec();
        let (known, new) = (tiny.core[3], [tiny.core[30], 74, 2]);
        head.add_to_vocab(&[known, new[0], new[1], new[1], new[2], known]).unwrap();
        let vocab: Vec<u32> = tiny.core[..7].iter().copied().chain(new).collect();
        assert_eq!(head.draft_vocab(), vocab);
        head.truncate(7).unwrap();
        let logits = head.extend(&taps[7 * width..8 * width], &tokens[8..], true).unwrap().logits.to_vec();
        assert_eq!(bits(&logits[..7]), bits(&before), "more rows change no other");
        let tolerance = if (of_head, of_target) == (DType::F32, DType::F32) { EXACT } else { QUANTIZED };
        close(&logits, &naive.logits(7, &vocab, 7), tolerance, "core and context");
        // Several rows at once.
        let logits = head.step(&[3, 4], &[None, None]).unwrap().logits.to_vec();
        let path: Vec<usize> = (0..8).collect();
        for (token, logits) in [3, 4].into_iter().zip(logits.chunks_exact(vocab.len())) {
            let index = naive.step(token, &path);
            close(logits, &naive.logits(index, &vocab, 7), tolerance, "a node");
        }
        assert!(matches!(head.add_to_vocab(&[75]), Err(EngineError::UnknownToken { token: 75, .. })));
    }
}

/// More entries than go through the layer at once, in pieces of every kind; and after a rollback.
#[test]
fn entries_do_not_depend_on_how_they_came() {
    for dtype in [DType::F32, DType::Q8_0] {
        let target = TinyModel { dtype, ..TinyModel::new("qwen2") };
        let tiny = TinyHead { dtype, ..TinyHead::new(&target) };
        let model = load(&target);
        let tokens = Rng(5).tokens(601, 75);
        let taps = taps(&model, &tiny.taps, &tokens);
        let width = taps.len() / tokens.len();
        let drafts = |head: &mut Eagle3Head| {
            let mut all = bits(head.step(&[1, 2], &[None, None]).unwrap().logits);
            all.extend(bits(head.step(&[3], &[Some(1)]).unwrap().logits));
            all
        };
        let run = |pieces: &[usize]| {
            let mut head = tiny.load(&model, &HeadOptions::default()).unwrap();
            let (mut at, mut logits) = (0, Vec::new());
            for &n in pieces {
                let is_scored = at + n == 600;
                let next = &tokens[at + 1..][..n];
                logits = bits(head.extend(&taps[at * width..][..n * width], next, is_scored).unwrap().logits);
                assert_eq!(logits.is_empty(), !is_scored);
                at += n;
            }
            logits.extend(drafts(&mut head));
            (head, logits)
        };
        let (mut head, whole) = run(&[600]);
        assert_eq!(head.len(), 600);
        assert!(run(&[1; 600]).1 == whole, "one by one");
        assert!(run(&[300, 255, 45]).1 == whole, "in pieces");
        // A rollback drops the draft, too.
        head.truncate(310).unwrap();
        head.extend(&taps[..5 * width], &tokens[..5], true).unwrap();
        head.step(&[7], &[None]).unwrap();
        head.truncate(310).unwrap();
        let mut again =
            bits(head.extend(&taps[310 * width..600 * width], &tokens[311..], true).unwrap().logits);
        again.extend(drafts(&mut head));
        assert!(again == whole, "after a rollback");
    }
}

/// A node's logits are what they would be as the next of a chain, and bits are the same on every machine.
#[test]
fn threads_and_instruction_sets_give_the_same_bits() {
    let target = TinyModel { dtype: DType::Q8_0, ..TinyModel::new("qwen2") };
    let tiny = TinyHead { dtype: DType::Q8_0, has_output: true, ..TinyHead::new(&target) };
    let tokens = Rng(6).tokens(31, 75);
    let mut seen: Option<Vec<u32>> = None;
    let isas = Kernels::available().iter().map(|kernels| (kernels.isa().name(), 2));
    for (isa, n_threads) in isas.chain([(Kernels::best().isa().name(), 1), (Kernels::best().isa().name(), 3)])
    {
        let model = target.load(&LoadOptions {
            n_threads: Some(n_threads),
            isa: Some(isa),
            ..LoadOptions::default()
        });
        let taps = taps(&model, &tiny.taps, &tokens);
        let mut head =
            tiny.load(&model, &HeadOptions { core_vocab: Some(30), ..HeadOptions::default() }).unwrap();
        head.add_to_vocab(&tokens).unwrap();
        let n_vocab = head.draft_vocab().len();
        let width = taps.len() / tokens.len();
        let mut all = bits(head.extend(&taps[..30 * width], &tokens[1..], true).unwrap().logits);
        all.extend(bits(head.step(&[8], &[None]).unwrap().logits));
        let chain = bits(head.step(&[9], &[Some(0)]).unwrap().logits);
        head.truncate(29).unwrap();
        head.extend(&taps[29 * width..30 * width], &tokens[30..], true).unwrap();
        head.step(&[7, 8], &[None, None]).unwrap();
        let tree = bits(head.step(&[9, 9], &[Some(0), Some(1)]).unwrap().logits);
        assert!(tree[n_vocab..] == chain, "a path of a tree is a chain");
        all.extend(tree);
        assert!(seen.as_ref().is_none_or(|seen| *seen == all), "{isa}, {n_threads} threads");
        seen = Some(all);
    }
}

#[test]
fn a_head_refuses_what_does_not_fit() {
    let target = TinyModel::new("qwen2");
    let tiny = TinyHead::new(&target);
    let model = load(&target);
    let mut head = Eagle3Head::from_gguf(&tiny.to_file(), &model, 10, &HeadOptions::default()).unwrap();
    let tokens = Rng(7).tokens(12, 75);
    let taps = taps(&model, &tiny.taps, &tokens);
    let width = taps.len() / tokens.len();
    let error = head.extend(&taps[..11 * width], &tokens[1..], true).unwrap_err();
    assert!(matches!(error, EngineError::ContextFull { wanted: 11, used: 0, context_len: 10 }), "{error}");
    assert!(matches!(head.extend(&taps[..width], &[75], true), Err(EngineError::UnknownToken { .. })));
    assert!(matches!(head.truncate(1), Err(EngineError::BadRollback { .. })));
    assert_eq!(head.len(), 0);
    head.extend(&taps[..6 * width], &tokens[1..7], true).unwrap();
    assert!(matches!(head.step(&[1], &[Some(0)]), Err(EngineError::BadTree { node: 0, parent: 0 })));
    assert!(matches!(head.step(&[75], &[None]), Err(EngineError::UnknownToken { .. })));
    assert!(matches!(head.step(&[1; 5], &[None; 5]), Err(EngineError::ContextFull { .. })));
    assert_eq!(head.step(&[1; 4], &[None; 4]).unwrap().logits.len(), 160);
}

/// A prompt may be longer than what the head has room for; its tokens are worth drafting all the same.
#[test]
fn the_vocabulary_is_not_bound_by_the_context() {
    let target = TinyModel::new("qwen2");
    let tiny = TinyHead::new(&target);
    let options = HeadOptions { core_vocab: Some(5), ..HeadOptions::default() };
    let mut head = Eagle3Head::from_gguf(&tiny.to_file(), &load(&target), 10, &options).unwrap();
    let all: Vec<u32> = (0..75).collect();
    head.add_to_vocab(&all).unwrap();
    assert_eq!(head.draft_vocab().len(), 75);
    let options = HeadOptions { is_vocab_fixed: true, ..options };
    let mut head = Eagle3Head::from_gguf(&tiny.to_file(), &load(&target), 10, &options).unwrap();
    head.add_to_vocab(&all).unwrap();
    assert_eq!(head.draft_vocab().len(), 5);
}
