//! The row operations, compiled for this instruction set.

crate::compiled::compiled_rows!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
