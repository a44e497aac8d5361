//! What loading and encoding cost, ours and the `tokenizers` crate's, on one vocabulary of Qwen2.
//!
//! `cargo run --release -p nano-reasoning-text --example against_tokenizers -- MODEL.gguf`

use std::error::Error;
use std::time::Instant;

use nano_reasoning_gguf::GgufFile;
use nano_reasoning_text::{GgufVocabulary, Special};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::{PreTokenizerWrapper, byte_level::ByteLevel, sequence::Sequence};
use tokenizers::{SplitDelimiterBehavior::Isolated, Tokenizer};

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn best_ms<T>(mut run: impl FnMut() -> T) -> f64 {
    let times = (0..10).map(|_| {
        let start = Instant::now();
        let _result = run();
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

fn theirs(vocabulary: &GgufVocabulary<'_>) -> tokenizers::Result<Tokenizer> {
    let ids = vocabulary.tokens.iter().zip(0_u32..);
    let vocab: Vocab = ids.map(|(&text, id)| (text.to_owned(), id)).collect();
    let pairs = vocabulary.merges.iter().filter_map(|merge| merge.split_once(' '));
    let merges = pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
    let mut tokenizer = Tokenizer::new(BPE::builder().vocab_and_merges(vocab, merges).build()?);
    let split = Split::new(SplitPattern::Regex(QWEN2.to_owned()), Isolated, false)?;
    let byte_level = ByteLevel::new(false, false, false);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(byte_level),
    ])));
    Ok(tokenizer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: against_tokenizers MODEL.gguf")?;
    let file = GgufFile::open(&path)?;
    let vocabulary = GgufVocabulary::from_file(&file)?;
    let load = || nano_reasoning_text::Tokenizer::from_gguf(&file).unwrap();
    let (ours, crates) = (load(), theirs(&vocabulary).map_err(|error| error.to_string())?);
    let text = include_str!("../src/bpe.rs").repeat(20);
    let ids = ours.encode(&text, Special::AsText);
    assert_eq!(crates.encode_fast(&*text, false).map_err(|error| error.to_string())?.get_ids(), ids);
    let megabytes = |ms: f64| text.len() as f64 / ms / 1e3;
    println!("{} tokens, {} merges", vocabulary.tokens.len(), vocabulary.merges.len());
    println!("load    ours {:6.1} ms, the crate's {:6.1} ms", best_ms(load), best_ms(|| theirs(&vocabulary)));
    let (here, there) =
        (best_ms(|| ours.encode(&text, Special::AsText)), best_ms(|| crates.encode_fast(&*text, false)));
    println!("encode  ours {:6.2} MB/s, the crate's {:6.2} MB/s", megabytes(here), megabytes(there));
    Ok(())
}
