//! Models that cannot be run: exit code 1 and one line that names the file and the way out.

use super::common::{Sandbox, alphabet};

/// The refusal of a file with these bytes, with `FILE` for its path.
fn refusal(bytes: &[u8]) -> String {
    let sandbox = Sandbox::new();
    let path = sandbox.write("m.gguf", bytes);
    let path = path.to_str().unwrap();
    let refusal = sandbox.run(&format!("generate x --model {path}")).refusal(1);
    assert!(refusal.contains(path), "it does not name the file: {refusal}");
    refusal.replace(path, "FILE")
}

#[test]
fn a_model_that_is_not_there() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.run("generate x --model ./absent.gguf").refusal(1);
    assert_eq!(
        refusal,
        "there is no model at ./absent.gguf; give another path, or a name that `nano-reasoning models` lists"
    );
    let refusal = sandbox.run("generate x --model smolm2-135m").refusal(1);
    assert!(
        refusal.starts_with("there is no model 'smolm2-135m', did you mean 'smollm2-135m'?; known: "),
        "{refusal}"
    );
    assert_eq!(sandbox.run("generate x --model=").refusal(1).split(';').next(), Some("there is no model ''"));
}

#[test]
fn a_truncated_file_at_any_length() {
    let bytes = alphabet::bytes();
    for len in [5, 20, 23, 24, 25, 100, 2000, bytes.len() / 2, bytes.len() - 1] {
        let refusal = refusal(&bytes[..len]);
        let is_told =
            ["is the download complete?", "is the file complete?"].iter().any(|way| refusal.contains(way));
        assert!(is_told, "{len}: {refusal}");
    }
}

#[test]
fn files_that_are_no_models() {
    for bytes in [&b""[..], b"GGU", b"PK\x03\x04", b"<!DOCTYPE html>", &[0; 4096]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal(bytes), @"FILE is no model: it does not start as a GGUF file does; is the download complete?");
        }
    }
}

#[test]
fn a_corrupt_file() {
    let bytes = alphabet::bytes();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        refusal(&bytes)
    };
    // What each says of the bytes that the file has is left out: it changes with the file.
    let with = |at, new: &[u8]| with(at, new).split(", ").next().unwrap().to_owned();
    insta::assert_snapshot!(with(4, &9_u32.to_le_bytes()), @"FILE: file has GGUF version 9");
    insta::assert_snapshot!(with(8, &u64::MAX.to_le_bytes()), @"FILE: file claims 18446744073709551615 tensors");
    insta::assert_snapshot!(with(16, &u64::MAX.to_le_bytes()), @"FILE: file claims 18446744073709551615 metadata pairs");
    insta::assert_snapshot!(
        with(24, &u64::MAX.to_le_bytes()),
        @"FILE: the key of metadata pair 0 needs 18446744073709551615 bytes at offset 32"
    );
    insta::assert_snapshot!(
        with(32, b"\xff"),
        @"FILE: the key of metadata pair 0 at offset 32 is not valid UTF-8; is the file corrupt?"
    );
}

#[test]
fn an_architecture_that_is_not_supported() {
    insta::assert_snapshot!(refusal(&alphabet::of("mamba")), @"FILE: model architecture 'mamba' is not supported; supported are llama, qwen2, qwen3");
}

#[test]
fn folders_that_are_no_models() {
    let sandbox = Sandbox::new();
    sandbox.write("empty/readme.txt", "");
    sandbox.write("many/a.gguf", "");
    sandbox.write("many/b.gguf", "");
    sandbox.write("broken/config.json", "{}");
    let refusal = |name: &str| sandbox.run(&format!("generate x --model ./{name}")).refusal(1);
    insta::assert_snapshot!(refusal("empty"), @"./empty is no model: the folder has neither a config.json nor a .gguf file");
    insta::assert_snapshot!(refusal("many"), @"./many is no model: it has several .gguf files; name one");
    insta::assert_snapshot!(refusal("broken"), @"./broken: './broken/config.json': missing field `model_type` at line 1 column 2");
}
