//! How far our next-token distributions are from llama.cpp's, on the same GGUF file and text.
//!
//! `llama-perplexity -m MODEL.gguf -f TEXT -c 512 --chunks 8 --kl-divergence-base BASE` writes its log
//! probabilities; `cargo run --release -p nano-reasoning-model --example kl_divergence -- MODEL BASE`
//! compares ours: mean and largest KL(theirs ‖ ours) in nats, and how often the likeliest token agrees.
//! Format of BASE as in llama.cpp's `tools/perplexity`: 16-bit log probabilities, within 16 of the largest.

use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree, argmax};
use nano_reasoning_model::{CpuModel, LoadOptions};
use std::error::Error;
use std::io::Read;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, base] = args.as_slice() else { return Err("usage: kl_divergence MODEL BASE".into()) };
    let model = CpuModel::load(model, &LoadOptions::default())?;
    let mut base = std::io::BufReader::new(std::fs::File::open(base)?);
    let mut read = |n_bytes: usize| -> Result<Vec<u8>, std::io::Error> {
        let mut bytes = vec![0; n_bytes];
        base.read_exact(&mut bytes).map(|()| bytes)
    };
    let words = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect::<Vec<_>>();
    if read(8)? != b"_logits_" {
        return Err("not a file of llama-perplexity --kl-divergence-base".into());
    }
    let [n_ctx, n_vocab, n_chunks] = words(&read(12)?)[..] else { unreachable!("twelve bytes") };
    let [n_ctx, n_vocab, n_chunks] = [n_ctx, n_vocab, n_chunks].map(|n| n as usize);
    let tokens = words(&read(4 * n_ctx * n_chunks)?);
    let mut sequence = model.sequence(n_ctx)?;
    let (mut divergences, mut n_same) = (Vec::new(), 0);
    for chunk in tokens.chunks_exact(n_ctx) {
        sequence.truncate(0)?;
        sequence.forward(&TokenTree::chain(&chunk[..n_ctx / 2]), LogitRows::None)?;
        for token in &chunk[n_ctx / 2..n_ctx - 1] {
            let row = read(2 * (2 * n_vocab.div_ceil(2) + 4))?;
            let head: Vec<f32> = words(&row[..8]).iter().map(|&bits| f32::from_bits(bits)).collect();
            let codes = row[8..].as_chunks().0.iter().take(n_vocab).map(|&b| u16::from_le_bytes(b));
            // Code 0 stands for everything less likely, too: those tokens' mass is unknown, and small.
            let log_prob = |code| {
                if code == 0 { f64::NEG_INFINITY } else { f64::from(head[1] + head[0] * f32::from(code)) }
            };
            let theirs: Vec<f64> = codes.map(log_prob).collect();
            let ours = sequence.forward(&TokenTree::chain(&[*token]), LogitRows::All)?.logits;
            let (max, best) = (ours.iter().fold(f32::MIN, |a, &b| a.max(b)), argmax(ours));
            let log_sum = ours.iter().map(|&x| f64::from(x - max).exp()).sum::<f64>().ln() + f64::from(max);
            let pairs = theirs.iter().zip(ours);
            divergences.push(
                pairs
                    .filter(|(p, _)| p.is_finite())
                    .map(|(p, &q)| p.exp() * (p - (f64::from(q) - log_sum)))
                    .sum::<f64>(),
            );
            let is_best = |p: &f64| *p >= theirs[best as usize];
            n_same += usize::from(theirs.iter().filter(|p| is_best(p)).count() == 1);
        }
    }
    divergences.sort_by(f64::total_cmp);
    let n = divergences.len();
    println!(
        "{n} tokens: mean KL {:.2e}, median {:.2e}, 99 % {:.2e}, largest {:.2e}; same token {:.2} %",
        divergences.iter().sum::<f64>() / n as f64,
        divergences[n / 2],
        divergences[n * 99 / 100],
        divergences[n - 1],
        100.0 * n_same as f64 / n as f64
    );
    Ok(())
}
