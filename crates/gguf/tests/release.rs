//! Released pages leave resident memory. Alone in its process, so that no other test's memory counts.
#![cfg(target_os = "linux")]

use nano_reasoning_gguf::{DType, GgufFile, GgufWriter};

/// Bytes of this process's resident memory that belong to files.
fn resident_file_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn released_tensors_leave_resident_memory_and_read_the_same() {
    const N_BYTES: usize = 32 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.gguf");
    let mut writer = GgufWriter::new();
    writer.tensor("small", DType::I8, &[100], vec![1; 100]).unwrap();
    writer.tensor("big", DType::I8, &[N_BYTES], vec![2; N_BYTES]).unwrap();
    writer.write(&path).unwrap();
    drop(writer);

    let file = GgufFile::open(&path).unwrap();
    let big = file.tensor("big").unwrap();
    let before = resident_file_bytes();
    assert!(file.tensor_bytes(big).iter().all(|&byte| byte == 2));
    let touched = resident_file_bytes();
    file.release(big.range());
    let released = resident_file_bytes();
    assert!(touched - before > N_BYTES * 9 / 10, "{before} then {touched}");
    assert!(touched - released > N_BYTES * 9 / 10, "{touched} then {released}");

    assert_eq!(file.tensor_bytes(file.tensor("small").unwrap()), [1; 100]);
    assert!(file.tensor_bytes(big).iter().all(|&byte| byte == 2));
}
