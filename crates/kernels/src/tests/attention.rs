//! Attention.

use super::source::Random;
use crate::{AttentionScratch, Isa, Kernels, KvLayer, Pool, Queries};

const N_HEADS: usize = 6;
const N_KV_HEADS: usize = 2;
const HEAD_DIM: usize = 48;
const ROW: usize = N_HEADS * HEAD_DIM;
const KV_ROW: usize = N_KV_HEADS * HEAD_DIM;

/// Keys, values and queries of `n` tokens.
struct Tokens {
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<f32>,
}

impl Tokens {
    fn random(n: usize) -> Self {
        let mut random = Random(11);
        let mut values = |n: usize, size: f32| (0..n).map(|_| random.unit() * size).collect();
        Self { keys: values(n * KV_ROW, 3.0), values: values(n * KV_ROW, 1.0), queries: values(n * ROW, 3.0) }
    }

    fn layer(&self, kernels: &Kernels, tokens: impl IntoIterator<Item = usize>) -> KvLayer {
        let mut layer = KvLayer::new(N_KV_HEADS, HEAD_DIM, 3000).unwrap();
        for (slot, token) in tokens.into_iter().enumerate() {
            let range = token * KV_ROW..(token + 1) * KV_ROW;
            layer.write(kernels, slot, &self.keys[range.clone()], &self.values[range]);
        }
        layer
    }
}

fn attend(
    kernels: &Kernels,
    n_threads: usize,
    layer: &KvLayer,
    rows: &[f32],
    n_past: usize,
    ancestors: &[u64],
) -> Vec<u32> {
    let mut out = vec![f32::NAN; rows.len()];
    let queries = Queries { rows, n_heads: N_HEADS, n_past, ancestors };
    kernels.attend(&Pool::new(n_threads), layer, &queries, &mut AttentionScratch::new(), &mut out);
    out.iter().map(|x| x.to_bits()).collect()
}

fn exact(tokens: &Tokens, token: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for head in 0..N_HEADS {
        let kv = head / (N_HEADS / N_KV_HEADS) * HEAD_DIM;
        let query = &tokens.queries[token * ROW + head * HEAD_DIM..][..HEAD_DIM];
        let row = |x: &[f32], t: usize| -> Vec<f64> {
            x[t * KV_ROW + kv..][..HEAD_DIM].iter().map(|&x| f64::from(x)).collect()
        };
        let scores: Vec<f64> = (0..=token)
            .map(|t| row(&tokens.keys, t).iter().zip(query).map(|(k, q)| k * f64::from(*q)).sum::<f64>())
            .map(|score| score / (HEAD_DIM as f64).sqrt())
            .collect();
        let max = scores.iter().fold(f64::MIN, |a, &b| a.max(b));
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        out.extend((0..HEAD_DIM).map(|d| {
            weights.iter().enumerate().map(|(t, w)| w * row(&tokens.values, t)[d]).sum::<f64>() / sum
        }));
    }
    out
}

/// 16-bit codes keep a score to about 1e-4 of |q||k|, and a weight to 1e-4 of their sum.
#[test]
fn is_close_to_real_attention() {
    let n = 1300;
    let tokens = Tokens::random(n);
    for kernels in Kernels::available() {
        let layer = tokens.layer(kernels, 0..n);
        for token in [0, 1, 15, 127, 128, 129, 1023, 1024, 1299] {
            let rows = &tokens.queries[token * ROW..(token + 1) * ROW];
            for (found, wanted) in
                attend(kernels, 2, &layer, rows, token, &[]).iter().zip(exact(&tokens, token))
            {
                let found = f64::from(f32::from_bits(*found));
                assert!((found - wanted).abs() < 1e-3, "token {token}: {found}, wanted {wanted}");
            }
        }
    }
}

/// Outliers as in Qwen2.5's keys make scores of ten thousands; differences of a few units in their last
/// place, 2⁻¹⁰, are what can be asked for.
#[test]
fn large_scores_are_close_too() {
    let n = 300;
    let mut tokens = Tokens::random(n);
    tokens.keys.iter_mut().step_by(HEAD_DIM).for_each(|key| *key += 300.0);
    tokens.queries.iter_mut().for_each(|query| *query *= 10.0);
    for kernels in Kernels::available() {
        let layer = tokens.layer(kernels, 0..n);
        for token in [0, 1, 15, 127, 128, 129, 299] {
            let rows = &tokens.queries[token * ROW..(token + 1) * ROW];
            let found = attend(kernels, 2, &layer, rows, token, &[]);
            for (found, wanted) in found.iter().zip(exact(&tokens, token)) {
                let found = f64::from(f32::from_bits(*found));
                assert!((found - wanted).abs() < 0.1, "token {token}: {found}, wanted {wanted}");
            }
        }
    }
}

#[test]
fn all_tables_agree_bit_for_bit() {
    let n = 1100;
    let mut tokens = Tokens::random(n);
    tokens.keys.iter_mut().step_by(HEAD_DIM).for_each(|key| *key += 50.0);
    let scalar = Kernels::named(Isa::Scalar.name()).unwrap();
    let rows = &tokens.queries[1090 * ROW..];
    let wanted = attend(scalar, 1, &tokens.layer(scalar, 0..n), rows, 1090, &[]);
    for kernels in Kernels::available() {
        let found = attend(kernels, 2, &tokens.layer(kernels, 0..n), rows, 1090, &[]);
        assert!(found == wanted, "{}", kernels.isa().name());
    }
}

#[test]
fn a_row_does_not_depend_on_batch_or_threads() {
    let n = 1100;
    let tokens = Tokens::random(n);
    for kernels in Kernels::available() {
        let layer = tokens.layer(kernels, 0..n);
        for first in [0, 120, 1010] {
            let alone: Vec<u32> = (first..first + 40)
                .flat_map(|token| {
                    attend(kernels, 1, &layer, &tokens.queries[token * ROW..(token + 1) * ROW], token, &[])
                })
                .collect();
            for (n_tokens, n_threads) in [(1, 2), (2, 1), (8, 3), (16, 2), (40, 4)] {
                let rows = &tokens.queries[first * ROW..(first + n_tokens) * ROW];
                let together = attend(kernels, n_threads, &layer, rows, first, &[]);
                assert!(together == alone[..n_tokens * ROW], "{n_tokens} from {first}, {n_threads} threads");
            }
        }
    }
}

/// A branch of a tree gives what the same tokens give as a chain, also where the tree's slots and its
/// positions lie in different blocks.
#[test]
fn a_path_of_a_tree_equals_a_chain() {
    let tokens = Tokens::random(1100);
    for kernels in Kernels::available() {
        for n_past in [0, 5, 100, 122, 124, 126, 127, 128, 1018, 1022, 1023] {
            // Nodes 0 and 1 are siblings; 2 and 4 follow 0; 3 follows 1; 5 follows 4; and so on.
            let parents = [None, None, Some(0), Some(1), Some(0), Some(4), Some(5), Some(3)];
            let mut ancestors: Vec<u64> = Vec::new();
            for (node, parent) in parents.iter().enumerate() {
                ancestors.push(1 << node | parent.map_or(0, |p: usize| ancestors[p]));
            }
            let layer = tokens.layer(kernels, 0..n_past + parents.len());
            let rows = &tokens.queries[n_past * ROW..(n_past + parents.len()) * ROW];
            let tree = attend(kernels, 2, &layer, rows, n_past, &ancestors);
            for path in [vec![0, 4, 5, 6], vec![1, 3, 7], vec![0, 2]] {
                let slots = (0..n_past).chain(path.iter().map(|node| n_past + node));
                let layer = tokens.layer(kernels, slots);
                let row = |node: &usize| rows[node * ROW..(node + 1) * ROW].to_vec();
                let chain_rows: Vec<f32> = path.iter().flat_map(row).collect();
                let chain = attend(kernels, 1, &layer, &chain_rows, n_past, &[]);
                for (i, node) in path.iter().enumerate() {
                    let (tree, chain) = (&tree[node * ROW..][..ROW], &chain[i * ROW..][..ROW]);
                    assert!(tree == chain, "node {node} after {n_past} tokens");
                }
            }
        }
    }
}

#[test]
fn copy_moves_a_token() {
    let tokens = Tokens::random(40);
    let kernels = Kernels::best();
    let mut layer = tokens.layer(kernels, 0..40);
    layer.copy(39, 20);
    layer.copy(38, 21);
    let wanted = tokens.layer(kernels, (0..20).chain([39, 38]));
    let rows = &tokens.queries[21 * ROW..22 * ROW];
    assert!(attend(kernels, 1, &layer, rows, 21, &[]) == attend(kernels, 1, &wanted, rows, 21, &[]));
}
