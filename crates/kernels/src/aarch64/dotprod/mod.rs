//! NEON with the dot product extension (`sdot`, Armv8.2): 16 products an instruction.

mod int8_tile;

use super::neon;
use crate::{Isa, Kernels};
use std::arch::is_aarch64_feature_detected;

/// The table, if this machine can run it.
pub(super) fn table() -> Option<&'static Kernels> {
    let detected = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod");
    detected.then_some(&TABLE)
}

const TABLE: Kernels = Kernels { isa: Isa::Dotprod, int8_tile: int8_tile::int8_tile, ..neon::TABLE };
