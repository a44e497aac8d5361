//! A model that recites the alphabet from the prompt's last letter on, round and round, and the digits up
//! to 9, where it ends.
//!
//! Attention and feed-forward weights are zero, so that the next token depends on the last one alone: the
//! output row of a token is the embedding of the token before it.

use nano_reasoning_gguf::{DType, GgufWriter};

const HIDDEN_DIM: usize = 64;
const HEAD_DIM: usize = 2;
/// The last layer of a prompt is computed for its last token alone: two, so that long prompts take long.
const N_LAYERS: usize = 2;
/// Tokens of context: more than any test's patience.
const CONTEXT_LEN: u32 = 1 << 20;
/// How sure the model is: greedy answers are certain, others vary.
const SCALE: f32 = 0.06;
const END: usize = 256;

/// The file.
pub(crate) fn bytes() -> Vec<u8> {
    of("llama")
}

/// The file, as if it were of another architecture.
pub(crate) fn of(architecture: &str) -> Vec<u8> {
    write(architecture, &texts())
}

/// The file with the texts of two tokens exchanged: another vocabulary of the same size.
pub(crate) fn exchanging(one: u8, other: u8) -> Vec<u8> {
    let mut texts = texts();
    texts.swap(one.into(), other.into());
    write("llama", &texts)
}

fn write(architecture: &str, texts: &[String]) -> Vec<u8> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut writer = GgufWriter::new();
    writer.metadata("general.architecture", architecture).unwrap();
    for (key, value) in [
        ("block_count", N_LAYERS as u32),
        ("embedding_length", HIDDEN_DIM as u32),
        ("attention.head_count", 1),
        ("attention.key_length", HEAD_DIM as u32),
        ("feed_forward_length", 1),
        ("context_length", CONTEXT_LEN),
        ("rope.dimension_count", HEAD_DIM as u32),
    ] {
        writer.metadata(&format!("{architecture}.{key}"), value).unwrap();
    }
    writer.metadata(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 1e-5_f32).unwrap();
    writer.metadata("tokenizer.ggml.model", "gpt2").unwrap();
    writer.metadata("tokenizer.ggml.pre", "qwen2").unwrap();
    writer.metadata("tokenizer.ggml.tokens", texts.as_slice()).unwrap();
    let types: Vec<i32> = (0..texts.len()).map(|token| if token == END { 3 } else { 1 }).collect();
    writer.metadata("tokenizer.ggml.token_type", types.as_slice()).unwrap();
    writer.metadata("tokenizer.ggml.eos_token_id", END as u32).unwrap();
    writer.metadata("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}").unwrap();

    let embeddings: Vec<[f32; HIDDEN_DIM]> = (0..texts.len()).map(embedding).collect();
    let mut output = vec![[0.0; HIDDEN_DIM]; texts.len()];
    for (token, embedding) in embeddings.iter().enumerate() {
        if let Some(next) = after(token) {
            output[next] = embedding.map(|x| x * SCALE);
        }
    }
    let ones = [[1.0; HIDDEN_DIM]];
    let mut tensor = |name: &str, shape: &[usize], rows: &[[f32; HIDDEN_DIM]]| {
        let bytes: Vec<u8> = rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()).collect();
        let len = 4 * shape.iter().product::<usize>();
        let bytes = if bytes.is_empty() { vec![0; len] } else { bytes };
        writer.tensor(name, DType::F32, shape, bytes).unwrap();
    };
    tensor("token_embd.weight", &[texts.len(), HIDDEN_DIM], &embeddings);
    tensor("output.weight", &[texts.len(), HIDDEN_DIM], &output);
    tensor("output_norm.weight", &[HIDDEN_DIM], &ones);
    for i in 0..N_LAYERS {
        tensor(&format!("blk.{i}.attn_norm.weight"), &[HIDDEN_DIM], &ones);
        tensor(&format!("blk.{i}.ffn_norm.weight"), &[HIDDEN_DIM], &ones);
        for (name, n_rows, n_cols) in [
            ("attn_q", HEAD_DIM, HIDDEN_DIM),
            ("attn_k", HEAD_DIM, HIDDEN_DIM),
            ("attn_v", HEAD_DIM, HIDDEN_DIM),
            ("attn_output", HIDDEN_DIM, HEAD_DIM),
            ("ffn_gate", 1, HIDDEN_DIM),
            ("ffn_up", 1, HIDDEN_DIM),
            ("ffn_down", HIDDEN_DIM, 1),
        ] {
            tensor(&format!("blk.{i}.{name}.weight"), &[n_rows, n_cols], &[]);
        }
    }
    writer.to_bytes()
}

/// What comes after a token; after one that is neither letter nor digit, whatever comes.
fn after(token: usize) -> Option<usize> {
    match u8::try_from(token).ok()? {
        b'z' => Some(b'a'.into()),
        b'9' => Some(END),
        b'a'..=b'y' | b'0'..=b'8' => Some(token + 1),
        _ => None,
    }
}

/// All bytes in GPT-2's alphabet, a byte's token being its value; then the end.
fn texts() -> Vec<String> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut shifted = 0x100..;
    let code = |byte: u8| if is_printable(byte) { byte.into() } else { shifted.next().unwrap() };
    let mut texts: Vec<String> =
        (0..=255).map(code).map(|code| char::from_u32(code).unwrap().into()).collect();
    texts.push("<|im_end|>".to_owned());
    texts
}

/// Plus and minus ones, nearly orthogonal for different tokens: the bits of SplitMix64.
fn embedding(token: usize) -> [f32; HIDDEN_DIM] {
    let z = (token as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits = z ^ z >> 31;
    std::array::from_fn(|i| if bits >> i & 1 == 1 { 1.0 } else { -1.0 })
}
