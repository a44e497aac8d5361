//! Tables for x86-64.

mod avx2;
mod avx512;
mod prefetch;

/// The tables this machine can run, weakest first.
pub(crate) fn tables() -> impl Iterator<Item = &'static crate::Kernels> {
    [avx2::table(), avx512::table()].into_iter().flatten()
}
