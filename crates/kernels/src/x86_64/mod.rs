//! Tables for x86-64.

use crate::Kernels;

mod avx512;

/// The tables this machine can run, weakest first.
pub(crate) fn tables() -> Vec<&'static Kernels> {
    [avx512::table()].into_iter().flatten().collect()
}
