//! The row operations, compiled for this instruction set.

crate::compiled::compiled_rows!("neon");
