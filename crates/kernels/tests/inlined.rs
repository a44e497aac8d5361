//! Intrinsics are instructions: none may be left standing as a function of its own.
//!
//! A closure does not have the target features of the function around it. Where the compiler does not inline
//! one, it calls a function for each instruction, and a kernel runs five times slower, with the right results.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use nano_reasoning_kernels::Kernels;
use object::{Object, ObjectSymbol};

#[test]
fn no_intrinsic_is_a_function() {
    assert!(Kernels::available().len() > 1, "every x86-64 that tests run on has AVX2: its table is linked");
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let file = object::File::parse(&*program).unwrap();
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    assert!(names.iter().any(|name| name.contains("avx2")), "the program has no symbols");
    let is_wide = |name: &&&str| name.contains("_mm256_") || name.contains("_mm512_");
    let calls: Vec<_> = names.iter().filter(|name| name.contains("core_arch")).filter(is_wide).collect();
    assert!(calls.is_empty(), "intrinsics that are called, not inlined: {calls:#?}");
}
