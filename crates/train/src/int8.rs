//! Numbers as 8-bit codes, a scale for each block, rounded up or down at random: what is smaller than a code's step is not
//! lost, it is kept on average (stochastic rounding; Dettmers et al. 2022, arXiv 2110.02861, for optimisers of 8 bits).

use std::sync::{Mutex, PoisonError};

use half::f16;
use nano_reasoning_kernels::{BlockType, PackedMatrix, Pool};

use crate::{Random, Result};

/// Numbers and bytes of a block of the format Q8_0: a 16-bit scale and a code each.
pub(crate) const Q8_0: (usize, usize) = (32, 34);
/// Noise with which a number goes to the nearest code.
pub(crate) const NEAREST: f32 = 0.5;
/// Numbers of a block of an optimiser's moments.
const MOMENT_BLOCK: usize = 128;
/// Rows that one task of a pool works on.
const TASK_ROWS: usize = 4;

/// Codes of `values` in steps of `scale`, at least `lowest`. The largest keeps its value, so that what was encoded once
/// is encoded again as it is. `noise` gives numbers from 0 up to 1.
fn encode(values: &[f32], scale: f32, lowest: f32, noise: &mut impl FnMut() -> f32, codes: &mut [u8]) {
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (value, code) in values.iter().zip(codes) {
        let exact = value * inverse;
        let noise = if exact.abs() > 126.99 { NEAREST } else { noise() };
        *code = (exact + noise).floor().clamp(lowest, 127.0) as i8 as u8;
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, value| value.abs().max(max))
}

/// A row in blocks of the format Q8_0, into `out`; the last numbers of a row that is not whole blocks have no place.
pub(crate) fn encode_q8_0(values: &[f32], mut noise: impl FnMut() -> f32, out: &mut [u8]) {
    for (values, out) in values.chunks_exact(Q8_0.0).zip(out.chunks_exact_mut(Q8_0.1)) {
        let max = largest(values);
        let mut scale = f16::from_f32(max / 127.0);
        if scale.to_f32() * 127.0 < max {
            scale = f16::from_bits(scale.to_bits() + 1);
        }
        let (of_scale, codes) = out.split_at_mut(2);
        of_scale.copy_from_slice(&scale.to_le_bytes());
        encode(values, scale.to_f32(), -127.0, &mut noise, codes);
    }
}

/// A matrix of the format Q8_0 whose rows `fill` gives, `[n_cols]` each.
///
/// # Errors
/// If rows are not whole blocks, or memory is short.
pub(crate) fn pack_q8_0(
    pool: &Pool,
    n_rows: usize,
    n_cols: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<PackedMatrix> {
    let row_bytes = n_cols / Q8_0.0 * Q8_0.1;
    let mut bytes = vec![0; n_rows * row_bytes];
    let tasks: Vec<_> = bytes.chunks_mut((TASK_ROWS * row_bytes).max(1)).map(Mutex::new).collect();
    pool.run(tasks.len(), |task| {
        let mut rows = tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = vec![0.0; n_cols];
        for (row, out) in rows.chunks_exact_mut(row_bytes).enumerate() {
            fill(task * TASK_ROWS + row, &mut values);
            encode_q8_0(&values, || NEAREST, out);
        }
    });
    pack_bytes(pool, n_rows, n_cols, &bytes)
}

/// A matrix of the format Q8_0 from its rows' blocks.
///
/// # Errors
/// As [`pack_q8_0`].
pub(crate) fn pack_bytes(pool: &Pool, n_rows: usize, n_cols: usize, bytes: &[u8]) -> Result<PackedMatrix> {
    PackedMatrix::pack(pool, BlockType::Q8_0, n_rows, n_cols, bytes)
        .map_err(|reason| nano_reasoning_model::Error::Pack { tensor: "learnt matrix".into(), reason }.into())
}

/// Three numbers from 0 up to 1 at a time, for the three sets of numbers that a step rounds.
pub(crate) fn noise(random: &mut Random) -> [f32; 3] {
    let bits = random.bits();
    [0, 21, 42].map(|shift| (bits >> shift & 0x1f_ffff) as f32 / (1 << 21) as f32)
}

/// A matrix of running means, in blocks of 128 along its rows.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    codes: Vec<u8>,
    scales: Vec<f32>,
    n_cols: usize,
}

/// Some rows of [`Moments`].
pub(crate) struct MomentRows<'a> {
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    n_cols: usize,
}

impl Moments {
    pub(crate) fn zeros(n_rows: usize, n_cols: usize) -> Self {
        let n_blocks = n_rows * n_cols.div_ceil(MOMENT_BLOCK);
        Self { codes: vec![0; n_rows * n_cols], scales: vec![0.0; n_blocks], n_cols }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.scales[..])
    }

    /// Its rows from the first on, `n` at a time.
    pub(crate) fn rows_mut(&mut self, n: usize) -> impl Iterator<Item = MomentRows<'_>> {
        let n_cols = self.n_cols;
        let scales = self.scales.chunks_mut(n * n_cols.div_ceil(MOMENT_BLOCK));
        let rows = self.codes.chunks_mut(n * n_cols).zip(scales);
        rows.map(move |(codes, scales)| MomentRows { codes, scales, n_cols })
    }
}

impl MomentRows<'_> {
    fn of_row(&mut self, row: usize) -> (&mut [u8], &mut [f32]) {
        let n_blocks = self.n_cols.div_ceil(MOMENT_BLOCK);
        (&mut self.codes[row * self.n_cols..][..self.n_cols], &mut self.scales[row * n_blocks..][..n_blocks])
    }

    /// The numbers of row `row`, into `out`, `[n_cols]`.
    pub(crate) fn read(&mut self, row: usize, out: &mut [f32]) {
        let (codes, scales) = self.of_row(row);
        for ((out, codes), scale) in out.chunks_mut(MOMENT_BLOCK).zip(codes.chunks(MOMENT_BLOCK)).zip(scales)
        {
            out.iter_mut().zip(codes).for_each(|(out, code)| *out = *scale * f32::from(code.cast_signed()));
        }
    }

    /// Sets row `row` to `values`, `[n_cols]`, no code below `lowest`.
    pub(crate) fn write(&mut self, row: usize, values: &[f32], lowest: f32, mut noise: impl FnMut() -> f32) {
        let (codes, scales) = self.of_row(row);
        for ((values, codes), scale) in
            values.chunks(MOMENT_BLOCK).zip(codes.chunks_mut(MOMENT_BLOCK)).zip(scales)
        {
            *scale = largest(values) / 127.0;
            encode(values, *scale, lowest, &mut noise, codes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_q8_0(bytes: &[u8]) -> Vec<f32> {
        let blocks = bytes.chunks_exact(Q8_0.1);
        let block = |block: &[u8]| {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            block[2..].iter().map(|code| scale * f32::from(code.cast_signed())).collect::<Vec<f32>>()
        };
        blocks.flat_map(block).collect()
    }

    fn values(n: usize) -> Vec<f32> {
        let mut random = Random::new(3);
        (0..n).map(|i| random.normal() * if i < n / 2 { 1.0 } else { 1e-3 }).collect()
    }

    #[test]
    fn what_was_encoded_is_encoded_again_as_it_is() {
        let values = values(256);
        let mut random = Random::new(5);
        let mut bytes = vec![0; 8 * Q8_0.1];
        encode_q8_0(&values, || noise(&mut random)[0], &mut bytes);
        let decoded = decode_q8_0(&bytes);
        for (values, decoded) in values.chunks(32).zip(decoded.chunks(32)) {
            let step = 1.01 * largest(values) / 127.0;
            assert!(values.iter().zip(decoded).all(|(a, b)| (a - b).abs() <= step), "{values:?} {decoded:?}");
        }
        let mut again = vec![0; bytes.len()];
        encode_q8_0(&decoded, || NEAREST, &mut again);
        assert_eq!(again, bytes);
        encode_q8_0(&decoded, || noise(&mut random)[1], &mut again);
        assert!(
            decode_q8_0(&again).iter().zip(&decoded).all(|(a, b)| (a - b).abs() <= 0.011 * b.abs().max(1.0))
        );
    }

    #[test]
    fn packed_rows_are_those_that_were_given() {
        let values = values(40 * 64);
        let pool = Pool::new(2);
        let matrix =
            pack_q8_0(&pool, 40, 64, |row, out| out.copy_from_slice(&values[row * 64..][..64])).unwrap();
        let mut bytes = vec![0; 40 * 2 * Q8_0.1];
        encode_q8_0(&values, || NEAREST, &mut bytes);
        assert_eq!(matrix.to_vec(), decode_q8_0(&bytes));
        assert!(pack_q8_0(&pool, 2, 40, |_, out| out.fill(0.0)).is_err());
    }

    #[test]
    fn rounding_is_right_on_average() {
        // One large number sets the step at 1/127; the others lie between codes.
        let mut values = vec![0.3 / 127.0; MOMENT_BLOCK];
        (values[0], values[1]) = (1.0, -5.75 / 127.0);
        let mut moments = Moments::zeros(1, MOMENT_BLOCK);
        let mut random = Random::new(1);
        let (mut sums, mut row) = (vec![0.0; MOMENT_BLOCK], vec![0.0; MOMENT_BLOCK]);
        const N: usize = 4000;
        for _ in 0..N {
            let mut rows = moments.rows_mut(1).next().unwrap();
            rows.write(0, &values, -127.0, || noise(&mut random)[2]);
            rows.read(0, &mut row);
            sums.iter_mut().zip(&row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        // A mean of 4000 has a standard deviation of 0.46 / 63 steps at most: five of those.
        for (sum, value) in sums.iter().zip(&values) {
            let error = 127.0 * (sum / N as f64 - f64::from(*value));
            assert!(error.abs() < 0.04, "{error} steps");
        }
        // To the nearest, what is below half a step would be lost each time.
        let mut rows = moments.rows_mut(1).next().unwrap();
        rows.write(0, &values, -127.0, || NEAREST);
        rows.read(0, &mut row);
        assert_eq!(row[2], 0.0);
        // No code below 1 where that is asked for.
        rows.write(0, &[1e-9; MOMENT_BLOCK], 1.0, || 0.0);
        rows.write(0, &values, 1.0, || 0.0);
        rows.read(0, &mut row);
        assert!((row[2] - 1.0 / 127.0).abs() < 1e-6);
    }
}
