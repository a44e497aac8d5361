//! Random weights as files store them, and a plain decoder written from the formats' specification
//! (ggml-quants.c), apart from the packed layouts.

use crate::{AffineType, BlockType};
use half::{bf16, f16};
use proptest::prelude::*;

pub(super) const QUANTIZED: [BlockType; 15] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q8_0,
    BlockType::Q4_K,
    BlockType::Q5_K,
    BlockType::Q6_K,
    affine(4, 32, false),
    affine(4, 32, true),
    affine(4, 64, false),
    affine(4, 64, true),
    affine(8, 32, false),
    affine(8, 32, true),
    affine(8, 64, false),
    affine(8, 64, true),
];
pub(super) const DENSE: [BlockType; 3] = [BlockType::F32, BlockType::F16, BlockType::BF16];

pub(super) const fn affine(bits: usize, group_len: usize, is_bf16: bool) -> BlockType {
    BlockType::Affine(AffineType { is_8_bit: bits == 8, is_group_32: group_len == 32, is_bf16 })
}

/// A matrix of random blocks; its scales are small finite numbers.
pub(super) fn random_weights(block_type: BlockType, n_rows: usize, n_cols: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let n_blocks = n_rows * n_cols / block_type.block_len();
    let mut bytes = Vec::with_capacity(n_blocks * block_type.block_bytes());
    for _ in 0..n_blocks {
        let start = bytes.len();
        bytes.extend((0..block_type.block_bytes()).map(|_| random.next() as u8));
        let block = &mut bytes[start..];
        let mut put_f16 =
            |at: usize| block[at..at + 2].copy_from_slice(&f16::from_f32(random.unit()).to_le_bytes());
        match block_type {
            BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 | BlockType::F16 => put_f16(0),
            BlockType::Q4_1 | BlockType::Q4_K | BlockType::Q5_K => {
                put_f16(0);
                put_f16(2);
            }
            BlockType::Q6_K => put_f16(208),
            BlockType::BF16 => block.copy_from_slice(&bf16::from_f32(random.unit()).to_le_bytes()),
            BlockType::F32 => block.copy_from_slice(&random.unit().to_le_bytes()),
            BlockType::Affine(AffineType { is_bf16: true, .. }) => {
                block[..2].copy_from_slice(&bf16::from_f32(random.unit()).to_le_bytes());
                block[2..4].copy_from_slice(&bf16::from_f32(random.unit()).to_le_bytes());
            }
            BlockType::Affine(_) => {
                put_f16(0);
                put_f16(2);
            }
        }
    }
    bytes
}

/// The numbers a block stands for.
pub(super) fn decode(block_type: BlockType, block: &[u8]) -> Vec<f32> {
    let h = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let f = |at: usize| f32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let low_high = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4)).collect()
    };
    match block_type {
        BlockType::F32 => vec![f(0)],
        BlockType::F16 => vec![h(0)],
        BlockType::BF16 => vec![bf16::from_le_bytes([block[0], block[1]]).to_f32()],
        BlockType::Q4_0 => low_high(&block[2..]).iter().map(|&q| h(0) * (f32::from(q) - 8.0)).collect(),
        BlockType::Q4_1 => low_high(&block[4..]).iter().map(|&q| h(0) * f32::from(q) + h(2)).collect(),
        BlockType::Q5_0 => {
            let bits = u32::from_le_bytes(block[2..6].try_into().unwrap());
            let low = low_high(&block[6..]);
            (0..32).map(|i| h(0) * ((u32::from(low[i]) | (bits >> i & 1) << 4) as f32 - 16.0)).collect()
        }
        BlockType::Q8_0 => block[2..].iter().map(|&q| h(0) * f32::from(q as i8)).collect(),
        BlockType::Q4_K | BlockType::Q5_K => {
            let (s, qh) = (&block[4..16], &block[16..48]);
            let qs = &block[if block_type == BlockType::Q4_K { 16 } else { 48 }..];
            let mut out = Vec::new();
            for j in 0..8 {
                let (scale, min) = if j < 4 {
                    (s[j] & 63, s[j + 4] & 63)
                } else {
                    (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
                };
                for l in 0..32 {
                    let mut q = qs[j / 2 * 32 + l] >> (4 * (j % 2)) & 15;
                    if block_type == BlockType::Q5_K {
                        q |= (qh[l] >> j & 1) << 4;
                    }
                    out.push(h(0) * f32::from(scale) * f32::from(q) - h(2) * f32::from(min));
                }
            }
            out
        }
        BlockType::Q6_K => {
            let mut out = vec![0.0; 256];
            for half in 0..2 {
                let (ql, qh) = (&block[64 * half..], &block[128 + 32 * half..]);
                for l in 0..32 {
                    let q = [
                        ql[l] & 15 | (qh[l] & 3) << 4,
                        ql[l + 32] & 15 | (qh[l] >> 2 & 3) << 4,
                        ql[l] >> 4 | (qh[l] >> 4 & 3) << 4,
                        ql[l + 32] >> 4 | (qh[l] >> 6) << 4,
                    ];
                    for (quarter, q) in q.into_iter().enumerate() {
                        let at = 128 * half + 32 * quarter + l;
                        let scale = f32::from(block[192 + at / 16] as i8);
                        out[at] = h(208) * scale * (f32::from(q) - 32.0);
                    }
                }
            }
            out
        }
        BlockType::Affine(affine) => {
            let number = |at: usize| {
                let bits = [block[at], block[at + 1]];
                if affine.is_bf16 { bf16::from_le_bytes(bits).to_f32() } else { h(at) }
            };
            let codes: Vec<u8> = match affine.is_8_bit {
                true => block[4..].to_vec(),
                false => block[4..].iter().flat_map(|b| [b & 15, b >> 4]).collect(),
            };
            codes.into_iter().map(|code| number(0) * f32::from(code) + number(2)).collect()
        }
    }
}

/// A matrix shape and seed: odd row counts, one to three units of columns.
pub(super) fn shapes(block_type: BlockType) -> impl Strategy<Value = (usize, usize, u64)> {
    let step = block_type.block_len();
    (1..40usize, 1..(700 / step + 2), any::<u64>()).prop_map(move |(rows, n, seed)| (rows, n * step, seed))
}

/// Knuth's MMIX generator.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Uniform in −1 … 1.
    pub(super) fn unit(&mut self) -> f32 {
        self.next() as f32 / 2f32.powi(31) - 1.0
    }
}
