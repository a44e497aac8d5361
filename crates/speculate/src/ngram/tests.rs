use proptest::prelude::*;

use super::occurrences;
use super::suffix_index::{MAX_CONTEXT, SEPARATOR, SuffixIndex};
use super::{HistoryStore, NgramDrafter};
use crate::Drafter;
use crate::control::{Calibration, Worth};
use crate::draft::{Draft, DraftNode, DraftTree};
use nano_reasoning_engine::{Sampler, SamplingParams};

/// What `drafter` proposes after `context`, where a row costs `row_cost` of a pass.
fn draft_with(
    drafter: &mut NgramDrafter,
    context: &[u32],
    (max_depth, max_width): (usize, usize),
    row_cost: f64,
    params: SamplingParams,
) -> Vec<DraftNode> {
    let mut tree = DraftTree::default();
    let mut worth = Worth::default();
    worth.set(1.0, 64, |n| 1.0 + row_cost * n as f64);
    let mut draft = Draft {
        tree: &mut tree,
        known: None,
        worth: &worth,
        calibration: &Calibration::default(),
        sampler: &Sampler::new(params).unwrap(),
        drafter: 0,
        position: context.len(),
        max_depth,
        max_width,
        step_s: 0.0,
        is_probe: false,
        step_started: std::time::Instant::now(),
        steps: Vec::new(),
    };
    drafter.draft(context, &mut draft).unwrap();
    tree.nodes
}

fn chain(drafter: &mut NgramDrafter, context: &[u32], max_depth: usize, row_cost: f64) -> Vec<u32> {
    let nodes = draft_with(drafter, context, (max_depth, 1), row_cost, SamplingParams::greedy());
    nodes.iter().map(|node| node.token).collect()
}

/// A store of sequences that end in separators.
fn store_of(history: &[u32]) -> HistoryStore {
    let folder = tempfile::tempdir().unwrap();
    let mut store = HistoryStore::open(folder.path(), "k", 1_000_000).unwrap();
    history.split(|&token| token == SEPARATOR).for_each(|answer| store.append(answer).unwrap());
    store
}

/// A drafter that was told of all but the last token.
fn told(context: &[u32], history: &[u32]) -> NgramDrafter {
    let mut drafter = NgramDrafter::new(Some(store_of(history)));
    drafter.commit(&context[..context.len() - 1], &[]).unwrap();
    drafter
}

#[test]
fn finds_copies() {
    let context = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3];
    assert_eq!(chain(&mut told(&context, &[]), &context, 6, 0.1), [4, 5, 6, 7, 8, 9]);
    let history = [50, 1, 2, 3, 60, 61, SEPARATOR];
    assert_eq!(chain(&mut told(&[1, 2, 3], &history), &[1, 2, 3], 6, 0.1), [60, 61]);
}

#[test]
fn a_draft_goes_on_into_what_is_being_repeated() {
    let context = [7, 1, 2, 1, 2, 1, 2];
    assert_eq!(chain(&mut told(&context, &[]), &context, 6, 0.1), [1, 2, 1, 2, 1, 2]);
}

#[test]
fn prefers_frequent_continuations() {
    let history = [1, 2, 9, SEPARATOR, 1, 2, 8, SEPARATOR, 1, 2, 8, SEPARATOR];
    assert_eq!(chain(&mut told(&[1, 2], &history), &[1, 2], 1, 0.01), [8]);
}

#[test]
fn prefers_long_matches_and_at_equal_length_the_conversation() {
    let history = [4, 1, 2, 9, SEPARATOR, 5, 1, 2, 8, SEPARATOR, 6, 1, 2, 8, SEPARATOR];
    assert_eq!(chain(&mut told(&[4, 1, 2], &history), &[4, 1, 2], 1, 0.01), [9]);
    let context = [1, 2, 3, 30, 1, 2];
    assert_eq!(chain(&mut told(&context, &[1, 2, 7, SEPARATOR]), &context, 1, 0.01), [3]);
}

#[test]
fn proposes_alternatives_where_a_tree_may_be_wide() {
    let history = [1, 2, 9, SEPARATOR, 1, 2, 8, SEPARATOR, 1, 2, 8, SEPARATOR];
    let nodes = draft_with(&mut told(&[1, 2], &history), &[1, 2], (4, 2), 0.01, SamplingParams::greedy());
    let mut first: Vec<u32> =
        nodes.iter().filter(|node| node.parent.is_none()).map(|node| node.token).collect();
    first.sort_unstable();
    assert_eq!(first, [8, 9]);
    assert!(nodes.iter().all(|node| node.token != SEPARATOR));
}

#[test]
fn dear_rows_are_not_drafted() {
    let history = [1, 2, 9, SEPARATOR, 1, 2, 8, SEPARATOR];
    assert_eq!(chain(&mut told(&[1, 2], &history), &[1, 2], 4, 0.9), []);
    assert_eq!(chain(&mut told(&[1, 2], &history), &[1, 2], 0, 0.0), []);
}

#[test]
fn matches_that_disappoint_are_trusted_less() {
    // Each token comes twice, and each time another follows.
    let text: Vec<u32> = (0..400).flat_map(|i| [i % 200, 1000 + i]).collect();
    let mut drafter = NgramDrafter::new(None);
    let mut n_drafted = [0, 0];
    for at in 1..text.len() {
        drafter.commit(&text[at - 1..at], &[]).unwrap();
        let drafted = chain(&mut drafter, &text[..at], 1, 0.2).len();
        if at > 400 {
            n_drafted[usize::from(at > 600)] += drafted;
        }
    }
    assert!(n_drafted[0] > 2 && n_drafted[1] == 0, "{n_drafted:?}");
}

#[test]
fn noise_of_a_position_ranks_its_candidates() {
    let mut history = Vec::new();
    for token in 0..8 {
        history.extend([1, 2, 100 + token, SEPARATOR]);
    }
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let params = SamplingParams { temperature: 1.0, seed: Some(seed), ..SamplingParams::greedy() };
        let draft =
            |width| draft_with(&mut told(&[1, 2], &history), &[1, 2], (1, width), 0.01, params.clone());
        let (first, again) = (draft(1), draft(1));
        assert_eq!(first, again, "the same seed gives the same draft");
        assert!(draft(8).iter().map(|node| node.hit_probability).sum::<f32>() < 1.0);
        firsts.extend(first.iter().map(|node| node.token));
    }
    assert!(firsts.len() > 4, "{firsts:?}");
}

/// Tokens before `position` that are the last of `context`, by looking at each.
fn naive_match_len(tokens: &[u32], position: usize, context: &[u32]) -> usize {
    let pairs = tokens[..position].iter().rev().zip(context.iter().rev()).take(MAX_CONTEXT);
    pairs.take_while(|(a, b)| a == b && **a != SEPARATOR).count()
}

fn text() -> impl Strategy<Value = Vec<u32>> {
    let token = prop_oneof![9 => 0u32..4, 1 => Just(SEPARATOR)];
    prop::collection::vec(token, 0..200)
}

proptest! {
    #[test]
    fn matches_are_those_of_a_naive_scan(tokens in text(), context in prop::collection::vec(0u32..4, 0..30)) {
        let index = SuffixIndex::new(&tokens);
        let mut found = Vec::new();
        occurrences::find(&index, 0, &context, &mut found);
        let lens: Vec<usize> = (0..tokens.len())
            .filter(|&position| tokens[position] != SEPARATOR)
            .map(|position| naive_match_len(&tokens, position, &context))
            .collect();
        prop_assert_eq!(found.first().map_or(0, |first| usize::from(first.len)), lens.iter().copied().max().unwrap_or(0));
        for places in found.chunk_by(|a, b| a.len == b.len) {
            let len = usize::from(places[0].len);
            let n = lens.iter().filter(|&&other| other == len).count();
            prop_assert!((places.iter().map(|place| place.weight).sum::<f32>() - n as f32).abs() < 1e-3);
            for place in places {
                let position = place.position as usize;
                prop_assert_eq!(naive_match_len(&tokens, position, &context), len);
                prop_assert_eq!(tokens[position], place.next);
                prop_assert!(place.next != SEPARATOR);
            }
        }
    }

    #[test]
    fn pieces_and_cuts_equal_a_fresh_index(steps in prop::collection::vec((text(), 0usize..250), 1..6)) {
        let (mut index, mut tokens) = (SuffixIndex::default(), Vec::new());
        for (piece, cut) in steps {
            tokens.extend_from_slice(&piece);
            index.extend(&piece);
            tokens.truncate(cut);
            index.truncate(cut);
            let fresh = SuffixIndex::new(&tokens);
            prop_assert_eq!(index.tokens(), fresh.tokens());
            prop_assert_eq!(index.sorted(), fresh.sorted());
        }
    }

    #[test]
    fn dropping_the_oldest_equals_a_fresh_index(answers in prop::collection::vec(text(), 1..5), n in 0usize..5) {
        let join = |answers: &[Vec<u32>]| -> Vec<u32> {
            answers.iter().flat_map(|answer| answer.iter().copied().chain([SEPARATOR])).collect()
        };
        let n = n.min(answers.len());
        let mut index = SuffixIndex::new(&join(&answers));
        index.drop_front(join(&answers[..n]).len());
        let fresh = SuffixIndex::new(&join(&answers[n..]));
        prop_assert_eq!(index.sorted(), fresh.sorted());
        prop_assert_eq!(index.tokens(), fresh.tokens());
    }

    #[test]
    fn any_context_is_drafted_for(tokens in text(), history in text(), context in text(), width in 1usize..4) {
        let mut drafter = NgramDrafter::new(Some(store_of(&history)));
        drafter.commit(&tokens, &[]).unwrap();
        let nodes = draft_with(&mut drafter, &context, (8, width), 0.001, SamplingParams::greedy());
        prop_assert!(nodes.iter().all(|node| node.token != SEPARATOR && node.depth < 8));
    }
}

#[test]
fn many_positions_are_sorted_as_few_are() {
    let token = |i: u32| i.wrapping_mul(2_654_435_761) >> 29;
    let tokens: Vec<u32> = (0..5000).map(|i| if i % 97 == 0 { SEPARATOR } else { token(i) }).collect();
    let mut by_pieces = SuffixIndex::default();
    tokens.chunks(100).for_each(|piece| by_pieces.extend(piece));
    assert_eq!(by_pieces.sorted(), SuffixIndex::new(&tokens).sorted());
}
