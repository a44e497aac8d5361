//! Tables for 64-bit Arm.
//!
//! `neon` runs everywhere. `dotprod` replaces its quantized products on Apple's M1 and later, and on Arm's
//! cores from the Cortex-A76 and Neoverse N1 on; everything else is the same in both.

mod dotprod;
mod int8_tile;
mod neon;
mod unpack;

/// The tables this machine can run, weakest first.
pub(crate) fn tables() -> impl Iterator<Item = &'static crate::Kernels> {
    [neon::table(), dotprod::table()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use crate::Kernels;

    /// `cargo xtask cross` says which table each emulated processor must get, lest its tests run on another.
    #[test]
    fn the_best_table_is_the_processors() {
        if let Ok(expected) = std::env::var("NANO_REASONING_TEST_ISA") {
            assert_eq!(Kernels::best().isa().name(), expected);
        }
    }
}
