//! Packing and products.

use super::source::{DENSE, QUANTIZED, Random, affine, decode, random_weights, shapes};
use crate::packed_matrix::unpack_row;
use crate::{Activations, AffinePlanes, AffineType, BlockType, Kernels, PackedMatrix, Pool, Product};
use proptest::prelude::*;

fn multiply(kernels: &Kernels, pool: &Pool, weights: &PackedMatrix, x: &[f32]) -> Vec<f32> {
    let mut activations = Activations::new();
    activations.set(kernels, pool, x, weights.n_cols(), [weights.block_type()]);
    let mut out = vec![f32::NAN; x.len() / weights.n_cols() * weights.n_rows()];
    kernels.multiply(pool, &mut [Product { weights, out: &mut out }], &activations);
    out
}

fn random_values(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..n).map(|_| random.unit() * 8.0).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn each_type(test: impl Fn(BlockType)) {
    QUANTIZED.into_iter().chain(DENSE).for_each(test);
}

#[test]
fn read_row_decodes_what_the_file_stores() {
    each_type(|block_type| {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20));
        let test = |(n_rows, n_cols, seed)| {
            let bytes = random_weights(block_type, n_rows, n_cols, seed);
            let packed = PackedMatrix::pack(&Pool::new(1), block_type, n_rows, n_cols, &bytes).unwrap();
            let row_bytes = n_cols / block_type.block_len() * block_type.block_bytes();
            for (row, source) in bytes.chunks_exact(row_bytes).enumerate() {
                let mut found = vec![0.0; n_cols];
                packed.read_row(row, &mut found);
                let wanted =
                    source.chunks_exact(block_type.block_bytes()).flat_map(|b| decode(block_type, b));
                for (found, wanted) in found.iter().zip(wanted) {
                    // One rounding of scale · code apart; 8 affine bits raise the bias by 128 scales.
                    let is_raised =
                        matches!(block_type, BlockType::Affine(AffineType { is_8_bit: true, .. }));
                    let tolerance = if is_raised { 3e-5 } else { 1e-6 };
                    prop_assert!(
                        (found - wanted).abs() <= tolerance * wanted.abs().max(1.0),
                        "{found} {wanted}"
                    );
                }
            }
            Ok(())
        };
        runner.run(&shapes(block_type), test).unwrap_or_else(|e| panic!("{block_type:?}: {e}"));
    });
}

/// The planes of an MLX file stand for the same weights as blocks in a row.
#[test]
fn affine_planes_pack_as_blocks_do() {
    let pool = Pool::new(2);
    for (group_len, n_cols) in [(32, 96), (32, 128), (64, 192), (128, 384)] {
        for (bits, is_bf16) in [(4, false), (4, true), (8, false), (8, true)] {
            let n_rows = 37;
            let BlockType::Affine(affine) = affine(bits, group_len, is_bf16) else { unreachable!() };
            let step = affine.group_len();
            let block_bytes = BlockType::Affine(affine).block_bytes();
            let mut blocks = random_weights(BlockType::Affine(affine), n_rows, n_cols, 9);
            let (mut codes, mut scales, mut biases) = (vec![], vec![], vec![]);
            let mut numbers = [0; 4];
            for (i, block) in blocks.chunks_exact_mut(block_bytes).enumerate() {
                // All blocks of a group of 128 have the first one's scale and bias.
                if i * step % group_len == 0 {
                    numbers.copy_from_slice(&block[..4]);
                    scales.extend(&numbers[..2]);
                    biases.extend(&numbers[2..]);
                }
                block[..4].copy_from_slice(&numbers);
                codes.extend(&block[4..]);
            }
            let planes = AffinePlanes { affine, group_len, codes: &codes, scales: &scales, biases: &biases };
            let found = PackedMatrix::pack_affine(&pool, n_rows, n_cols, &planes).unwrap();
            let wanted =
                PackedMatrix::pack(&pool, BlockType::Affine(affine), n_rows, n_cols, &blocks).unwrap();
            assert_eq!(found.size_bytes(), wanted.size_bytes());
            for group in 0..wanted.n_groups() {
                assert!(found.group(group) == wanted.group(group), "{affine:?}, groups of {group_len}");
            }
            assert!(PackedMatrix::pack_affine(&pool, n_rows + 1, n_cols, &planes).is_err());
            assert!(PackedMatrix::pack_affine(&pool, n_rows, n_cols + 1, &planes).is_err());
        }
    }
}

#[test]
fn all_tables_agree_bit_for_bit() {
    each_type(|block_type| {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
        let test = |((n_rows, n_cols, seed), n_tokens): ((usize, usize, u64), usize)| {
            let pool = Pool::new(2);
            let bytes = random_weights(block_type, n_rows, n_cols, seed);
            let packed = PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &bytes).unwrap();
            let x = random_values(n_tokens * n_cols, seed ^ 1);
            let wanted = multiply(Kernels::available()[0], &pool, &packed, &x);
            for kernels in &Kernels::available()[1..] {
                let found = multiply(kernels, &pool, &packed, &x);
                prop_assert_eq!(bits(&found), bits(&wanted), "{}", kernels.isa().name());
            }
            Ok(())
        };
        runner.run(&(shapes(block_type), 1..36usize), test).unwrap_or_else(|e| panic!("{block_type:?}: {e}"));
    });
}

#[test]
fn a_row_does_not_depend_on_batch_or_threads() {
    let (n_rows, n_cols) = (70, 768);
    each_type(|block_type| {
        let bytes = random_weights(block_type, n_rows, n_cols, 7);
        let one = Pool::new(1);
        let packed = PackedMatrix::pack(&one, block_type, n_rows, n_cols, &bytes).unwrap();
        let x = random_values(40 * n_cols, 8);
        for kernels in Kernels::available() {
            let alone: Vec<f32> =
                x.chunks_exact(n_cols).flat_map(|x| multiply(kernels, &one, &packed, x)).collect();
            for n_threads in 1..=4 {
                let pool = Pool::new(n_threads);
                for n_tokens in (1..=17).chain([31, 40]) {
                    let together = multiply(kernels, &pool, &packed, &x[..n_tokens * n_cols]);
                    assert_eq!(
                        bits(&together),
                        bits(&alone[..n_tokens * n_rows]),
                        "{block_type:?}, {}, {n_tokens} tokens, {n_threads} threads",
                        kernels.isa().name()
                    );
                }
            }
        }
    });
}

/// int8 activations round by up to half a step of 1/127 of the largest: a relative error of about
/// 1/127/√12 · √3 of a random dot product's size.
#[test]
fn products_are_close_to_real_ones() {
    let (n_rows, n_cols) = (32, 1024);
    each_type(|block_type| {
        let bytes = random_weights(block_type, n_rows, n_cols, 3);
        let pool = Pool::new(1);
        let packed = PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &bytes).unwrap();
        let x = random_values(n_cols, 4);
        let found = multiply(Kernels::best(), &pool, &packed, &x);
        let (mut error, mut size) = (0.0, 0.0);
        for (row, found) in found.iter().enumerate() {
            let mut weights = vec![0.0; n_cols];
            packed.read_row(row, &mut weights);
            let exact: f64 = weights.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            error += (f64::from(*found) - exact).powi(2);
            size += weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()
                * x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
                / n_cols as f64;
        }
        assert!((error / size).sqrt() < 0.006, "{block_type:?}: {}", (error / size).sqrt());
    });
}

#[test]
fn several_products_in_one_region_equal_single_ones() {
    let pool = Pool::new(3);
    let n_cols = 256;
    let weights: Vec<PackedMatrix> = [(48, BlockType::Q4_K), (16, BlockType::Q6_K), (20, BlockType::Q8_0)]
        .into_iter()
        .map(|(n_rows, block_type)| {
            let bytes = random_weights(block_type, n_rows, n_cols, 5);
            PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &bytes).unwrap()
        })
        .collect();
    let x = random_values(3 * n_cols, 6);
    let mut activations = Activations::new();
    activations.set(Kernels::best(), &pool, &x, n_cols, weights.iter().map(|w| w.block_type()));
    let mut out: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; 3 * w.n_rows()]).collect();
    let mut products: Vec<Product> =
        weights.iter().zip(&mut out).map(|(weights, out)| Product { weights, out }).collect();
    Kernels::best().multiply(&pool, &mut products, &activations);
    for (weights, out) in weights.iter().zip(&out) {
        assert_eq!(bits(out), bits(&multiply(Kernels::best(), &pool, weights, &x)));
    }
}

#[test]
fn rejects_bytes_that_do_not_fit_the_shape() {
    let pool = Pool::new(1);
    let message = |n_cols, bytes: &[u8]| {
        PackedMatrix::pack(&pool, BlockType::Q4_K, 2, n_cols, bytes).err().unwrap().to_string()
    };
    assert_eq!(message(256, &[0; 144]), "2 x 256 weights of type Q4_K are 288 bytes, found 144");
    assert_eq!(message(100, &[0; 144]), "rows of 100 weights cannot be cut into Q4_K blocks of 256");
}

/// Rows gathered one by one give what they give in their own matrix.
#[test]
fn gathered_rows_multiply_as_in_their_matrix() {
    each_type(|block_type| {
        let (n_rows, n_cols) = (50, 512);
        let pool = Pool::new(2);
        let bytes = random_weights(block_type, n_rows, n_cols, 3);
        let whole = PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &bytes).unwrap();
        let rows = [49, 0, 17, 16, 33, 48, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 31, 49, 20];
        let mut gathered = whole.empty_like(40).unwrap();
        rows.iter().for_each(|&row| gathered.push_row(&whole, row));
        let x = random_values(3 * n_cols, 5);
        for kernels in Kernels::available() {
            let (all, some) = (multiply(kernels, &pool, &whole, &x), multiply(kernels, &pool, &gathered, &x));
            for (all, some) in all.chunks(n_rows).zip(some.chunks(rows.len())) {
                let wanted: Vec<f32> = rows.iter().map(|&row| all[row]).collect();
                assert_eq!(bits(some), bits(&wanted), "{block_type:?}");
            }
        }
        let (mut found, mut wanted) = (vec![0.0; n_cols], vec![0.0; n_cols]);
        gathered.read_row(2, &mut found);
        whole.read_row(17, &mut wanted);
        assert_eq!(bits(&found), bits(&wanted), "{block_type:?}");
    });
}

#[test]
fn each_table_unpacks_the_same_numbers_in_tiles_of_any_place() {
    each_type(|block_type| {
        let (n_rows, n_cols) = (35, 512);
        let pool = Pool::new(1);
        let bytes = random_weights(block_type, n_rows, n_cols, 9);
        let matrix = PackedMatrix::pack(&pool, block_type, n_rows, n_cols, &bytes).unwrap();
        let mut all = vec![0.0; n_rows * n_cols];
        matrix.unpack(unpack_row, 0..n_rows, 0..n_cols, &mut all);
        let (rows, columns) = (3..33, 32..480);
        let wanted: Vec<f32> =
            rows.clone().flat_map(|row| &all[row * n_cols..][columns.clone()]).copied().collect();
        for kernels in Kernels::available() {
            let mut found = vec![0.0; wanted.len()];
            matrix.unpack(kernels.unpack_row, rows.clone(), columns.clone(), &mut found);
            assert_eq!(bits(&found), bits(&wanted), "{block_type:?}, {:?}", kernels.isa());
        }
        assert_eq!(bits(&matrix.to_vec()), bits(&all));
    });
}

#[test]
fn rows_that_were_cut_off_leave_nothing_behind() {
    each_type(|block_type| {
        let n_cols = 512;
        let pool = Pool::new(1);
        let bytes = random_weights(block_type, 20, n_cols, 4);
        let whole = PackedMatrix::pack(&pool, block_type, 20, n_cols, &bytes).unwrap();
        let mut gathered = whole.empty_like(20).unwrap();
        (0..19).for_each(|row| gathered.push_row(&whole, row));
        gathered.truncate(5);
        [19, 2].into_iter().for_each(|row| gathered.push_row(&whole, row));
        gathered.truncate(50);
        assert_eq!(gathered.n_rows(), 7);
        let all = whole.to_vec();
        let wanted: Vec<f32> =
            [0, 1, 2, 3, 4, 19, 2].iter().flat_map(|row| &all[row * n_cols..][..n_cols]).copied().collect();
        assert_eq!(bits(&gathered.to_vec()), bits(&wanted), "{block_type:?}");
    });
}
