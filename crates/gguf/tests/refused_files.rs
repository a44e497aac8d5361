//! Files that must be refused, each with the message its user sees.

use nano_reasoning_gguf::GgufFile;

/// Numbers of ggml and GGUF that the tests use.
const F32: u32 = 0;
const Q4_K: u32 = 12;
const U32: u32 = 4;
const I32: u32 = 5;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a file, put together field by field so that each can be wrong.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    /// A header of version 3.
    fn header(n_tensors: u64, n_pairs: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(n_tensors).u64(n_pairs)
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn str(self, text: impl AsRef<[u8]>) -> Self {
        let mut raw = self.u64(text.as_ref().len() as u64);
        raw.0.extend(text.as_ref());
        raw
    }

    /// A table entry; `dims` innermost first, as in the file.
    fn tensor(self, name: &str, dims: &[u64], dtype: u32, offset: u64) -> Self {
        let raw = self.str(name).u32(dims.len() as u32);
        dims.iter().fold(raw, |raw, &dim| raw.u64(dim)).u32(dtype).u64(offset)
    }

    /// Zeros up to the start of the tensor data, then `n_bytes` of it.
    fn data(mut self, n_bytes: usize) -> Self {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + n_bytes, 0);
        self
    }

    #[track_caller]
    fn refused(&self, message: &str) {
        match GgufFile::from_bytes(&self.0) {
            Ok(_) => panic!("accepted; wanted: {message}"),
            Err(error) => assert_eq!(error.to_string(), message),
        }
    }

    #[track_caller]
    fn accepted(&self) -> GgufFile {
        GgufFile::from_bytes(&self.0).expect("the file is valid")
    }
}

#[test]
fn rejects_other_formats() {
    for (bytes, shown) in
        [(&b"<!DOCTYPE html>"[..], "<!DO"), (b"", ""), (b"GG", "GG"), (b"\x80\x02}q", "\\x80\\x02}q")]
    {
        Raw(bytes.to_vec()).refused(&format!(
            "file starts with '{shown}', a GGUF file starts with 'GGUF'; is this a model in another format, or an error page saved under its name?"
        ));
    }
}

#[test]
fn rejects_other_versions() {
    let version = |version| Raw(b"GGUF".to_vec()).u32(version).u64(0).u64(0);
    for found in [0, 1, 4, u32::MAX] {
        version(found).refused(&format!(
            "file has GGUF version {found}, wanted 2 or 3; convert the model again with a current llama.cpp"
        ));
    }
    version(3_u32.swap_bytes()).refused(
        "file is big-endian, wanted little-endian; convert it with gguf-py's gguf_convert_endian.py",
    );
    assert_eq!(version(2).accepted().version(), 2);
}

#[test]
fn rejects_a_file_cut_off_anywhere() {
    let whole = Raw::header(1, 2)
        .str("a")
        .u32(STRING)
        .str("text")
        .str("b")
        .u32(ARRAY)
        .u32(STRING)
        .u64(2)
        .str("x")
        .str("yy")
        .tensor("t", &[256, 2], Q4_K, 0)
        .data(288);
    whole.accepted();
    for len in 0..whole.0.len() {
        let error = GgufFile::from_bytes(&whole.0[..len]).expect_err("cut off").to_string();
        assert!(error.contains("is the download complete?") || len < 4, "{error}");
    }
    Raw(whole.0[..20].to_vec()).refused(
        "the number of metadata pairs needs 8 bytes at offset 16, file has 4 left; is the download complete?",
    );
    Raw(whole.0[..whole.0.len() - 1].to_vec())
        .refused("tensor 't' needs 288 bytes at offset 160, file has 287 left; is the download complete?");
}

#[test]
fn rejects_counts_that_the_file_has_no_room_for() {
    Raw::header(0, u64::MAX).refused(
        "file claims 18446744073709551615 metadata pairs, at most 0 are possible in a file of its size; is the download complete?",
    );
    Raw::header(1 << 40, 0).data(64).refused(
        "file claims 1099511627776 tensors, at most 2 are possible in a file of its size; is the download complete?",
    );
    for (element, bytes) in [(U32, 4), (STRING, 8)] {
        Raw::header(0, 1).str("k").u32(ARRAY).u32(element).u64(1 << 62).data(64).refused(&format!(
            "file claims 4611686018427387904 elements of metadata 'k', at most {} are possible in a file of its size; is the download complete?",
            79 / bytes
        ));
    }
}

#[test]
fn rejects_bad_metadata() {
    let value = |value_type| Raw::header(0, 1).str("k").u32(value_type);
    value(13).u64(0).refused("metadata 'k' has value type 13, known are 0 to 12; is the file corrupt?");
    value(ARRAY)
        .u32(99)
        .u64(0)
        .refused("metadata 'k' has value type 99, known are 0 to 12; is the file corrupt?");
    value(ARRAY).u32(ARRAY).u64(1).u32(U32).u64(0)
        .refused("metadata 'k' is an array of arrays, wanted an array of plain values; remove the key or convert the model again");
    value(BOOL).u8(2).refused("metadata 'k' holds the boolean 2, wanted 0 or 1; is the file corrupt?");
    value(ARRAY)
        .u32(BOOL)
        .u64(3)
        .u8(1)
        .u8(0)
        .u8(255)
        .refused("metadata 'k' holds the boolean 255, wanted 0 or 1; is the file corrupt?");
    value(STRING)
        .str(b"\xff")
        .refused("the value of metadata 'k' at offset 45 is not valid UTF-8; is the file corrupt?");
    value(ARRAY)
        .u32(STRING)
        .u64(2)
        .str("ok")
        .str(b"\xe2\x82")
        .refused("string 1 of metadata 'k' at offset 67 is not valid UTF-8; is the file corrupt?");
    value(STRING).u64(u64::MAX)
        .refused("the value of metadata 'k' needs 18446744073709551615 bytes at offset 45, file has 0 left; is the download complete?");
    Raw::header(0, 2)
        .str("k")
        .u32(U32)
        .u32(1)
        .str("k")
        .u32(U32)
        .u32(1)
        .refused("metadata 'k' occurs twice, wanted once; convert the model again");
    Raw::header(0, 1)
        .str(b"\xc0")
        .u32(U32)
        .u32(1)
        .refused("the key of metadata pair 0 at offset 32 is not valid UTF-8; is the file corrupt?");
}

#[test]
fn rejects_alignments_that_are_no_power_of_two_from_8_up() {
    let aligned = |found| Raw::header(0, 1).str("general.alignment").u32(U32).u32(found);
    for found in [0, 1, 4, 24, u32::MAX] {
        aligned(found).refused(&format!(
            "metadata 'general.alignment' is {found}, wanted a power of two from 8 up; convert the model again"
        ));
    }
    for found in [8, 32, 4096, 1 << 31] {
        assert_eq!(aligned(found).accepted().alignment(), found as usize);
    }
    // i32: a fuzzer found that the reader took it and the writer did not.
    Raw::header(0, 1).str("general.alignment").u32(I32).u32(64).refused(
        "metadata 'general.alignment' is i32 64, wanted u32; convert the model again with a current llama.cpp",
    );
}

#[test]
fn rejects_bad_shapes() {
    let shaped = |dims: &[u64], dtype| Raw::header(1, 0).tensor("t", dims, dtype, 0).data(4096);
    shaped(&[], F32).refused("tensor 't' has 0 dimensions, wanted 1 to 4; is the file corrupt?");
    shaped(&[1, 1, 1, 1, 1], F32).refused("tensor 't' has 5 dimensions, wanted 1 to 4; is the file corrupt?");
    shaped(&[4, 0], F32).refused(
        "tensor 't' has shape [0, 4], wanted dimensions from 1 up and a size that can be addressed; is the file corrupt?",
    );
    for dims in [&[1 << 32, 1 << 32][..], &[u64::MAX], &[1 << 16; 4], &[(1 << 62) + 1]] {
        let shape: Vec<_> = dims.iter().rev().collect();
        shaped(dims, F32).refused(&format!(
            "tensor 't' has shape {shape:?}, wanted dimensions from 1 up and a size that can be addressed; is the file corrupt?"
        ));
    }
    shaped(&[128, 2], Q4_K).refused(
        "tensor 't' has rows of 128 elements, wanted a multiple of Q4_K's block of 256; is the file corrupt?",
    );
    let file = shaped(&[256, 2, 3, 1], Q4_K).accepted();
    assert_eq!(file.tensors()[0].shape(), [1, 3, 2, 256]);
    assert_eq!(file.tensors()[0].n_bytes(), 6 * 144);
}

#[test]
fn rejects_unknown_tensor_types() {
    for found in [4, 31, 38, 4096] {
        Raw::header(1, 0).tensor("t", &[32], found, 0).data(4096).refused(&format!(
            "tensor 't' has ggml type {found}, which is unknown or removed; use a file quantized with a current llama.cpp, for example Q4_K_M"
        ));
    }
}

#[test]
fn rejects_tensor_past_end_of_file() {
    let at = |offset| Raw::header(1, 0).tensor("blk.0.attn_q.weight", &[1024], F32, offset).data(4096);
    at(0).accepted();
    at(32).refused(
        "tensor 'blk.0.attn_q.weight' needs 4096 bytes at offset 128, file has 4064 left; is the download complete?",
    );
    at(u64::MAX - 31).refused(
        "tensor 'blk.0.attn_q.weight' needs 4096 bytes at offset 18446744073709551615, file has 0 left; is the download complete?",
    );
    Raw::header(1, 0)
        .tensor("t", &[1], F32, 0)
        .refused("tensor 't' needs 4 bytes at offset 64, file has 0 left; is the download complete?");
}

#[test]
fn rejects_tensors_out_of_place() {
    Raw::header(1, 0).tensor("t", &[8], F32, 4).data(4096).refused(
        "tensor 't' starts 4 bytes into the tensor data, wanted a multiple of 32; convert the model again",
    );
    Raw::header(2, 0)
        .tensor("a", &[8], F32, 32)
        .tensor("b", &[9], F32, 0)
        .data(4096)
        .refused("tensors 'b' and 'a' overlap at offset 128, wanted them apart; is the file corrupt?");
    Raw::header(2, 0).tensor("a", &[8], F32, 32).tensor("b", &[8], F32, 0).data(4096).accepted();
}

#[test]
fn rejects_two_tensors_of_one_name() {
    Raw::header(2, 0)
        .tensor("t", &[8], F32, 0)
        .tensor("t", &[8], F32, 32)
        .data(4096)
        .refused("tensor 't' occurs twice, wanted once; convert the model again");
}

#[test]
fn names_from_the_file_cannot_break_the_message() {
    let name = format!("\u{1b}[2J\n{}", "x".repeat(1000));
    Raw::header(1, 0).tensor(&name, &[8], 99, 0).refused(&format!(
        "tensor '\\u{{1b}}[2J\\n{}…' has ggml type 99, which is unknown or removed; use a file quantized with a current llama.cpp, for example Q4_K_M",
        "x".repeat(75)
    ));
}

#[test]
fn names_the_key_the_type_found_and_the_type_wanted() {
    let file = Raw::header(0, 3)
        .str("qwen2.block_count")
        .u32(I32)
        .u32(-1_i32 as u32)
        .str("name")
        .u32(STRING)
        .str("x")
        .str("tokens")
        .u32(ARRAY)
        .u32(STRING)
        .u64(2)
        .str("a")
        .str("b")
        .accepted();
    let meta = file.metadata();
    let message = |error: nano_reasoning_gguf::Error| error.to_string();
    let hint = "convert the model again with a current llama.cpp";
    assert_eq!(
        meta.u32("qwen2.block_count").map_err(message),
        Err(format!("metadata 'qwen2.block_count' is i32 -1, wanted u32; {hint}"))
    );
    assert_eq!(
        meta.f32("name").map_err(message),
        Err(format!("metadata 'name' is string, wanted f32; {hint}"))
    );
    assert_eq!(
        meta.get::<Vec<f32>>("tokens").map_err(message),
        Err(format!("metadata 'tokens' is array of 2 string, wanted array of f32; {hint}"))
    );
    assert_eq!(
        meta.strs("name").map_err(message),
        Err(format!("metadata 'name' is string, wanted array of string; {hint}"))
    );
    assert_eq!(
        meta.bool("none").map_err(message),
        Err(format!("metadata 'none' is missing, wanted bool; {hint}"))
    );
    assert_eq!(meta.find::<bool>("none").map_err(message), Ok(None));
    assert_eq!(
        file.tensor("output.weight").unwrap_err().to_string(),
        "tensor 'output.weight' is missing; is this a complete model of the architecture it names?"
    );
}

#[test]
fn names_the_path_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.gguf");
    assert_eq!(
        GgufFile::open(&missing).unwrap_err().to_string(),
        format!("cannot open '{}': {}", missing.display(), std::io::Error::from_raw_os_error(2))
    );
    assert_eq!(
        GgufFile::open(folder.path()).unwrap_err().to_string(),
        format!("'{}' is not a regular file, wanted a .gguf file", folder.path().display())
    );
}
