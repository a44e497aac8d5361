//! Loads a model's tokenizer, shows the tokens of a text, and what loading and encoding cost.
//!
//! `cargo run --release -p nano-reasoning-text --example tokenize -- MODEL.gguf|FOLDER [TEXT]`

use std::path::Path;
use std::time::Instant;

use nano_reasoning_gguf::GgufFile;
use nano_reasoning_text::{ChatTemplate, Message, Special, Tokenizer};

fn load(path: &Path) -> Result<Tokenizer, Box<dyn std::error::Error>> {
    Ok(if path.is_dir() {
        Tokenizer::from_folder(path)?
    } else {
        Tokenizer::from_gguf(&GgufFile::open(path)?)?
    })
}

fn best_ms<T>(n: usize, mut run: impl FnMut() -> T) -> f64 {
    let times = (0..n).map(|_| {
        let start = Instant::now();
        let _result = run();
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: tokenize MODEL.gguf|FOLDER [TEXT]")?;
    let text =
        args.next().unwrap_or_else(|| "Don't panic: 日本語, emoji 👩🏾‍💻 and <|im_end|> are text.".to_string());

    let tokenizer = load(Path::new(&path))?;
    for token in tokenizer.encode(&text, Special::AsText) {
        print!("{token}{:?} ", String::from_utf8_lossy(tokenizer.token_bytes(token)));
    }
    let template = ChatTemplate::of(&tokenizer)?;
    let chat = tokenizer.encode_chat(&template, &[Message::user(&*text)], true)?;
    println!("\n\nas a chat:\n{}", tokenizer.decode(&chat));

    let long = format!("{}\n{text}\n", include_str!("../src/bpe.rs")).repeat(20);
    let n_tokens = tokenizer.encode(&long, Special::AsText).len();
    let encode_ms = best_ms(10, || tokenizer.encode(&long, Special::AsText));
    println!(
        "load {:.1} ms for {} tokens; encode {:.1} MB/s ({:.2} million tokens/s); a short chat {:.3} ms",
        best_ms(10, || load(Path::new(&path))),
        tokenizer.vocab_size(),
        long.len() as f64 / encode_ms / 1e3,
        n_tokens as f64 / encode_ms / 1e3,
        best_ms(20, || tokenizer.encode_chat(&template, &[Message::user(&*text)], true)),
    );
    Ok(())
}
