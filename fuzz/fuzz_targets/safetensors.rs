//! Any bytes as a folder's only weights file are either refused with a printable message, or a model that
//! computes logits.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree};
use nano_reasoning_kernels::Pool;
use nano_reasoning_model::{CpuModel, LoadOptions};

/// Sizes of a model as small as its matrices may be.
const CONFIG: &str = r#"{
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 8,
    "vocab_size": 4, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    "hidden_act": "silu"
}"#;

/// In memory where the system has such a folder: a file is written for every input.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let parent = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let folder = parent.join(format!("nano-reasoning-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the model");
    fs::write(folder.join("config.json"), CONFIG).expect("its configuration");
    folder
});

static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| Arc::new(Pool::new(1)));

fuzz_target!(|bytes: &[u8]| {
    fs::write(FOLDER.join("model.safetensors"), bytes).expect("room for the weights");
    let options = LoadOptions { pool: Some(POOL.clone()), ..LoadOptions::default() };
    let model = match CpuModel::load_hugging_face(&*FOLDER, &options) {
        Ok(model) => model,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control) && message.len() < 2000, "{message:?}");
            return;
        }
    };
    let mut sequence = model.sequence(4).expect("four tokens fit");
    let forward = sequence.forward(&TokenTree::chain(&[0, 3]), LogitRows::All).expect("both are tokens");
    assert_eq!(forward.logits.len(), 2 * 4);
});
