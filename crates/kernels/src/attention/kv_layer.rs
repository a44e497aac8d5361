//! Keys and values of one layer.

use super::TILE_SLOTS;
use crate::memory::Memory;
use crate::ops::{max_abs, round_to_int, sum_of_squares};
use crate::{Error, Kernels};

/// Codes of a key or query have at most this Euclidean norm, so that the product of two of them, and
/// each partial sum of it, fits 32 bits: `(46_300 + √256 / 2)² < 2³¹`.
const MAX_NORM: f32 = 46_300.0;

/// The KV cache of one layer: a slot per token, 16-bit keys and values for each KV head.
pub struct KvLayer {
    n_kv_heads: usize,
    head_dim: usize,
    n_slots: usize,
    /// `[n_kv_heads][n_slots / 16][head_dim / 2][16][2]` i16.
    keys: Memory,
    /// `[n_kv_heads][n_slots / 2][head_dim][2]` i16.
    values: Memory,
    /// `[n_kv_heads][n_slots]`.
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
}

impl KvLayer {
    /// A cache with room for `capacity` tokens.
    ///
    /// # Errors
    /// If memory is short.
    ///
    /// # Panics
    /// If `head_dim` is odd or above 256.
    pub fn new(n_kv_heads: usize, head_dim: usize, capacity: usize) -> Result<Self, Error> {
        assert!(head_dim.is_multiple_of(2) && head_dim <= super::MAX_HEAD_DIM, "head_dim {head_dim}");
        let n_slots = capacity.next_multiple_of(TILE_SLOTS);
        let bytes = n_kv_heads * n_slots * head_dim * 2;
        Ok(Self {
            n_kv_heads,
            head_dim,
            n_slots,
            keys: Memory::zeroed(bytes)?,
            values: Memory::zeroed(bytes)?,
            key_scales: vec![0.0; n_kv_heads * n_slots],
            value_scales: vec![0.0; n_kv_heads * n_slots],
        })
    }

    /// Tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.n_slots
    }

    /// Heads with keys and values of their own.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Bytes in memory.
    pub fn size_bytes(&self) -> usize {
        self.keys.len() + self.values.len() + 8 * self.key_scales.len()
    }

    /// Writes a token's rotated keys and its values, `[n_kv_heads, head_dim]` each, into `slot`.
    ///
    /// # Panics
    /// If `slot` or a length is out of range.
    pub fn write(&mut self, kernels: &Kernels, slot: usize, keys: &[f32], values: &[f32]) {
        assert!(slot < self.n_slots, "slot {slot} of {}", self.n_slots);
        assert_eq!(keys.len(), self.n_kv_heads * self.head_dim, "keys of a token");
        assert_eq!(values.len(), keys.len(), "values of a token");
        let mut codes = [0i16; super::MAX_HEAD_DIM];
        for head in 0..self.n_kv_heads {
            let range = head * self.head_dim..(head + 1) * self.head_dim;
            let scale = (kernels.encode_key)(&keys[range.clone()], &mut codes);
            self.key_scales[head * self.n_slots + slot] = scale;
            let tile = self.key_at(head, slot);
            for (pair, codes) in codes[..self.head_dim].as_chunks::<2>().0.iter().enumerate() {
                let at = tile + pair * TILE_SLOTS * 2;
                i16s_mut(&mut self.keys)[at..at + 2].copy_from_slice(codes);
            }
            let scale = (kernels.encode_value)(&values[range], &mut codes);
            self.value_scales[head * self.n_slots + slot] = scale;
            let at = self.value_at(head, slot);
            let row = &mut i16s_mut(&mut self.values)[at..];
            for (out, code) in row.iter_mut().step_by(2).zip(&codes[..self.head_dim]) {
                *out = *code;
            }
        }
    }

    /// Copies the token in slot `from` to slot `to`.
    ///
    /// # Panics
    /// If a slot is out of range.
    pub fn copy(&mut self, from: usize, to: usize) {
        assert!(from < self.n_slots && to < self.n_slots, "slots {from} and {to} of {}", self.n_slots);
        for head in 0..self.n_kv_heads {
            let (source, target) = (self.key_at(head, from), self.key_at(head, to));
            let keys = i16s_mut(&mut self.keys);
            for pair in 0..self.head_dim / 2 {
                let step = pair * TILE_SLOTS * 2;
                keys.copy_within(source + step..source + step + 2, target + step);
            }
            let (source, target) = (self.value_at(head, from), self.value_at(head, to));
            let values = i16s_mut(&mut self.values);
            for d in 0..self.head_dim {
                values[target + 2 * d] = values[source + 2 * d];
            }
            for scales in [&mut self.key_scales, &mut self.value_scales] {
                scales[head * self.n_slots + to] = scales[head * self.n_slots + from];
            }
        }
    }

    /// Keys of `n_slots` slots from `start` on, both whole tiles: `[n_slots / 16][head_dim / 2][16][2]`.
    pub(super) fn key_tiles(&self, head: usize, start: usize, n_slots: usize) -> &[i16] {
        debug_assert!(start.is_multiple_of(TILE_SLOTS) && n_slots.is_multiple_of(TILE_SLOTS));
        &i16s(&self.keys)[(head * self.n_slots + start) * self.head_dim..][..n_slots * self.head_dim]
    }

    /// Values from the even slot `slot` on, `[..][head_dim][2]`, and no further than the head's last.
    pub(super) fn values_from(&self, head: usize, slot: usize) -> &[i16] {
        let end = (head + 1) * self.n_slots * self.head_dim;
        &i16s(&self.values)[self.value_at(head, slot)..end]
    }

    pub(super) fn key_scales(&self, head: usize) -> &[f32] {
        &self.key_scales[head * self.n_slots..][..self.n_slots]
    }

    pub(super) fn value_scales(&self, head: usize) -> &[f32] {
        &self.value_scales[head * self.n_slots..][..self.n_slots]
    }

    fn key_at(&self, head: usize, slot: usize) -> usize {
        (head * self.n_slots / TILE_SLOTS + slot / TILE_SLOTS) * TILE_SLOTS * self.head_dim
            + slot % TILE_SLOTS * 2
    }

    fn value_at(&self, head: usize, slot: usize) -> usize {
        (head * self.n_slots + slot / 2 * 2) * self.head_dim + slot % 2
    }
}

/// Codes of a key or query, and their scale: as large as 16 bits and [`MAX_NORM`] allow.
#[inline(always)]
pub(crate) fn encode_key(x: &[f32], codes: &mut [i16]) -> f32 {
    let scale = (sum_of_squares(x).sqrt() / MAX_NORM).max(max_abs(x) / 32_767.0);
    encode(x, scale, codes)
}

/// Codes of a value, and their scale.
#[inline(always)]
pub(crate) fn encode_value(x: &[f32], codes: &mut [i16]) -> f32 {
    encode(x, max_abs(x) / 32_767.0, codes)
}

#[inline(always)]
fn encode(x: &[f32], scale: f32, codes: &mut [i16]) -> f32 {
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = round_to_int(x * inverse) as i16;
    }
    scale
}

fn i16s(bytes: &[u8]) -> &[i16] {
    // SAFETY: every pattern of bits is an `i16`; a `Memory` is aligned, so nothing is cut off.
    let (before, codes, _) = unsafe { bytes.align_to() };
    debug_assert!(before.is_empty());
    codes
}

fn i16s_mut(bytes: &mut [u8]) -> &mut [i16] {
    // SAFETY: as in `i16s`.
    let (before, codes, _) = unsafe { bytes.align_to_mut() };
    debug_assert!(before.is_empty());
    codes
}
