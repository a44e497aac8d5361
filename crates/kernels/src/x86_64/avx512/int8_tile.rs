//! 16 quantized rows times a tile of int8 columns; `scalar/int8_tile.rs` has the formula.
//!
//! A register holds the codes of 16 rows × 4 columns, unpacked once; `vpdpbusd` multiplies them with 4
//! broadcast activations of each column of the tile. Nothing crosses lanes.

use crate::BlockType;
use crate::activations::Int8Tile;
use crate::formats::{BLOCK_COLS, Format, GROUP_ROWS, with_format};
use crate::product::TileOut;
use crate::x86_64::avx512::unpack::Unpack;
use crate::x86_64::prefetch::{Ahead, Never, prefetch};
use std::arch::x86_64::*;

/// Columns of a walk over a unit where there are more than 12: one walk for all of them has too few registers.
const WALK: usize = 8;

pub(super) fn int8_tile<A: Ahead>(
    block_type: BlockType,
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    with_format!(block_type, F => {
        assert!(group.len() >= n_units * F::UNIT_BYTES, "units of a group");
        assert!(x.codes.len() >= n_units * F::UNIT_COLS * x.width, "columns of a tile");
        // SAFETY: the table exists only once its features were detected, and the lengths were checked.
        unsafe { of_width::<F, A>(group, n_units, x, out) }
    }, unreachable!("quantized types only"));
}

/// # Safety
/// AVX-512 VNNI, and slices of the lengths that `int8_tile` checks.
#[rustfmt::skip]
unsafe fn of_width<F: Unpack, A: Ahead>(group: &[u8], n_units: usize, x: &Int8Tile, out: &mut TileOut) {
    // SAFETY: as for this function.
    unsafe {
        match x.width {
            1 => tile::<F, A, 1>(group, n_units, x, out),
            2 => tile::<F, A, 2>(group, n_units, x, out),
            3 => tile::<F, A, 3>(group, n_units, x, out),
            4 => tile::<F, A, 4>(group, n_units, x, out),
            5 => tile::<F, A, 5>(group, n_units, x, out),
            6 => tile::<F, A, 6>(group, n_units, x, out),
            7 => tile::<F, A, 7>(group, n_units, x, out),
            8 => tile::<F, A, 8>(group, n_units, x, out),
            9 => tile::<F, A, 9>(group, n_units, x, out),
            10 => tile::<F, A, 10>(group, n_units, x, out),
            11 => tile::<F, A, 11>(group, n_units, x, out),
            12 => tile::<F, A, 12>(group, n_units, x, out),
            13 => wide_tile::<F, A, 5>(group, n_units, x, out),
            14 => wide_tile::<F, A, 6>(group, n_units, x, out),
            15 => wide_tile::<F, A, 7>(group, n_units, x, out),
            _ => wide_tile::<F, A, 8>(group, n_units, x, out),
        }
    }
}

/// All `C` columns in one walk over each unit.
///
/// # Safety
/// The features below, and slices of the lengths that `int8_tile` checks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn tile<F: Unpack, A: Ahead, const C: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    let mut totals = [_mm512_setzero_ps(); C];
    let mut scales = Scales::new();
    for unit in 0..n_units {
        // SAFETY: a whole unit of `group`, whose length was checked, as was the tile's.
        unsafe {
            let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
            F::scales(lines, &mut scales.factors, &mut scales.neg_mins);
            add_unit::<F, A, C>(lines, unit, x, 0, &scales, &mut totals);
        }
    }
    store(out, &totals);
}

/// [`WALK`] columns and `REST` more, each in a walk of its own over a unit, the second of which finds it in L1.
///
/// # Safety
/// As for `tile`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn wide_tile<F: Unpack, A: Ahead, const REST: usize>(
    group: &[u8],
    n_units: usize,
    x: &Int8Tile,
    out: &mut TileOut,
) {
    let (mut totals, mut rest) = ([_mm512_setzero_ps(); WALK], [_mm512_setzero_ps(); REST]);
    let mut scales = Scales::new();
    for unit in 0..n_units {
        // SAFETY: as in `tile`.
        unsafe {
            let lines = group.as_ptr().add(unit * F::UNIT_BYTES);
            F::scales(lines, &mut scales.factors, &mut scales.neg_mins);
            walk::<F, A, WALK>(lines, unit, x, 0, &scales, &mut totals);
            walk::<F, Never, REST>(lines, unit, x, WALK, &scales, &mut rest);
        }
    }
    let (first, second) = out.split_at_mut(WALK);
    store(first, &totals);
    store(second, &rest);
}

/// [`add_unit`] on its own: inlined twice into one function, it has its sums in memory.
///
/// # Safety
/// As for `tile`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn walk<F: Unpack, A: Ahead, const C: usize>(
    lines: *const u8,
    unit: usize,
    x: &Int8Tile,
    first: usize,
    scales: &Scales,
    totals: &mut [__m512; C],
) {
    // SAFETY: as for this function.
    unsafe { add_unit::<F, A, C>(lines, unit, x, first, scales, totals) }
}

/// Scales of a unit's blocks, or half blocks, and negated minima, as [`Unpack::scales`] leaves them.
struct Scales {
    factors: [__m512; 16],
    neg_mins: [__m512; 8],
}

impl Scales {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self { factors: [_mm512_setzero_ps(); 16], neg_mins: [_mm512_setzero_ps(); 8] }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut [[f32; GROUP_ROWS]], totals: &[__m512]) {
    for (out, total) in out.iter_mut().zip(totals) {
        // SAFETY: a column of `out` is 16 numbers.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *total) };
    }
}

/// Adds number `unit` of a group to the totals of columns `first … first + C` of the tile.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_unit<F: Unpack, A: Ahead, const C: usize>(
    lines: *const u8,
    unit: usize,
    x: &Int8Tile,
    first: usize,
    scales: &Scales,
    totals: &mut [__m512; C],
) {
    // SAFETY: as for this function; what is prefetched may lie anywhere.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); C];
        for pair in 0..F::BLOCKS / 2 {
            let at = (unit * F::BLOCKS + 2 * pair) * x.width + first;
            prefetch::<F, A, C, 0>(lines, pair);
            add_block::<F, C, 0>(lines, pair, x, at, scales, &mut sums);
            if F::SCALE_BLOCKS == 1 {
                fold(totals, &mut sums, x, at);
            }
            let lines = if F::HAS_HALF_SCALES { in_order(lines, &mut sums) } else { lines };
            prefetch::<F, A, C, 1>(lines, pair);
            add_block::<F, C, 1>(lines, pair, x, at + x.width, scales, &mut sums);
            if F::SCALE_BLOCKS == 1 {
                fold(totals, &mut sums, x, at + x.width);
            }
        }
        if F::SCALE_BLOCKS > 1 {
            fold(totals, &mut sums, x, unit * x.width + first);
        }
    }
}

/// Adds the sums of a run of blocks times its activation scales, from number `at` on, and starts them anew.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn fold<const C: usize>(totals: &mut [__m512; C], sums: &mut [__m512; C], x: &Int8Tile, at: usize) {
    for c in 0..C {
        // SAFETY: as for this function.
        unsafe {
            let scale = _mm512_set1_ps(*x.scales.as_ptr().add(at + c));
            totals[c] = _mm512_fmadd_ps(sums[c], scale, totals[c]);
            sums[c] = _mm512_setzero_ps();
        }
    }
}

/// Hands `lines` on, but lets the compiler see no use of it before `sums` are there: else it mixes the
/// instructions of two blocks and runs out of registers. Emits nothing.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::pointers_in_nomem_asm_block)]
fn in_order<const C: usize>(mut lines: *const u8, sums: &mut [__m512; C]) -> *const u8 {
    // SAFETY: an empty piece of assembly.
    unsafe {
        std::arch::asm!(
            "/* {0} {1} */",
            inout(reg) lines,
            inout(zmm_reg) sums[C - 1],
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    lines
}

/// Adds block `2·pair + ODD` of a unit; `at` is its place in the tile, in columns.
///
/// # Safety
/// As for `tile`.
#[inline(always)]
unsafe fn add_block<F: Unpack, const C: usize, const ODD: usize>(
    lines: *const u8,
    pair: usize,
    x: &Int8Tile,
    at: usize,
    scales: &Scales,
    sums: &mut [__m512; C],
) {
    let parts = if F::HAS_HALF_SCALES { 2 } else { 1 };
    // SAFETY: as for this function.
    unsafe {
        let codes = x.codes.as_ptr().add(at * BLOCK_COLS);
        let half_sums = x.half_sums.as_ptr().add(2 * at);
        for part in 0..parts {
            let mut dots = [_mm512_setzero_si512(); C];
            if let Some(steps) = 128u32.checked_div(F::OFFSET) {
                // What the offset adds to each product is known: start below zero by as much.
                let shift = steps.ilog2();
                for c in 0..C {
                    let sum = if F::HAS_HALF_SCALES {
                        _mm512_set1_epi32(*half_sums.add(2 * c + part))
                    } else {
                        let second = _mm512_set1_epi32(*half_sums.add(2 * c + 1));
                        _mm512_add_epi32(_mm512_set1_epi32(*half_sums.add(2 * c)), second)
                    };
                    dots[c] = if shift == 0 {
                        sum
                    } else {
                        _mm512_srav_epi32(sum, _mm512_set1_epi32(shift as i32))
                    };
                }
            }
            for i in part * 8 / parts..(part + 1) * 8 / parts {
                let weights = F::codes::<ODD>(lines, pair, i);
                for c in 0..C {
                    let x = codes.add(c * BLOCK_COLS + 4 * i).cast::<i32>().read_unaligned();
                    dots[c] = _mm512_dpbusd_epi32(dots[c], weights, _mm512_set1_epi32(x));
                }
            }
            let scale = scales.factors[(2 * pair + ODD) * parts + part];
            for c in 0..C {
                sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[c]), scale, sums[c]);
            }
        }
        if F::HAS_MINS {
            for c in 0..C {
                let sum = _mm512_set1_ps(*x.sums.as_ptr().add(at + c));
                sums[c] = _mm512_fmadd_ps(scales.neg_mins[2 * pair + ODD], sum, sums[c]);
            }
        }
    }
}
