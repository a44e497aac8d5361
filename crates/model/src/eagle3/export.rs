//! A head written for other programs.
//!
//! A folder for vLLM and SGLang has SpecForge's names, weights in BF16 and an output matrix in any case: where the head
//! drafts over rows of the target's, those are written out. Sources: vLLM's `llama_eagle3.py` and SGLang's, which both
//! read `d2t` as offsets and share the target's embedding where there is none.
//!
//! A GGUF file for llama.cpp has an output matrix, too, and the target's tokenizer.

use super::Eagle3Head;
use super::safetensors::specforge;
use crate::model::CpuModel;
use crate::rope::RopeScaling;
use crate::{Error, HeadOptions, Result};
use half::{bf16, f16};
use nano_reasoning_gguf::{DType, GgufFile, GgufWriter, Metadata, write_atomic};
use nano_reasoning_kernels::{BlockType, PackedMatrix};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A head as it is stored.
pub enum HeadFile {
    /// A GGUF file of architecture `eagle3`.
    Gguf(GgufFile),
    /// A folder of `config.json` and safetensors.
    Folder(PathBuf),
}

impl HeadFile {
    /// Opens the file, or the folder where `path` is one.
    ///
    /// # Errors
    /// If it is a file and no GGUF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() { Ok(Self::Folder(path.into())) } else { Ok(Self::Gguf(GgufFile::open(path)?)) }
    }

    /// Reads the head for `target`, with room for `context_len` tokens.
    ///
    /// # Errors
    /// As [`Eagle3Head::from_gguf`].
    pub fn load(
        &self,
        target: &Arc<CpuModel>,
        context_len: usize,
        options: &HeadOptions,
    ) -> Result<Eagle3Head> {
        match self {
            Self::Gguf(file) => Eagle3Head::from_gguf(file, target, context_len, options),
            Self::Folder(folder) => Eagle3Head::from_folder(folder, target, context_len, options),
        }
    }

    /// Writes a GGUF file that llama.cpp can draft with beside `target`, the file of `model`. Weights of a GGUF file are
    /// copied as they are.
    ///
    /// # Errors
    /// If the head does not fit the target, `target` has no tokenizer, or writing fails.
    pub fn write_gguf(&self, model: &Arc<CpuModel>, target: &GgufFile, to: &Path) -> Result<()> {
        let head = self.load(model, 0, &HeadOptions::default())?;
        match self {
            Self::Gguf(file) => write_gguf_copy(file, target, to),
            Self::Folder(_) => head.write_gguf(target, to),
        }
    }

    /// Writes a folder that vLLM and SGLang can draft with beside the model that `target` is of.
    ///
    /// # Errors
    /// If the head does not fit the target, is none that they compute, or writing fails.
    pub fn write_folder(&self, target: &Arc<CpuModel>, to: &Path) -> Result<()> {
        self.load(target, 0, &HeadOptions::default())?.write_folder(to)
    }
}

/// Writes the head `head` for llama.cpp: with the output matrix and the tokenizer of `target`, where it has none.
///
/// # Errors
/// If a file lacks what a head or a target has, or writing fails.
fn write_gguf_copy(head: &GgufFile, target: &GgufFile, to: &Path) -> Result<()> {
    let mut writer = GgufWriter::new();
    writer.copy_metadata(head.metadata())?;
    if !head.metadata().iter().any(|(key, _)| key.starts_with("tokenizer.")) {
        copy_tokenizer(&mut writer, target.metadata())?;
    }
    for tensor in head.tensors() {
        writer.tensor(tensor.name(), tensor.dtype(), tensor.shape(), head.tensor_bytes(tensor))?;
    }
    if head.find_tensor("output.weight").is_none() {
        let ids = head.tensor_bytes(head.tensor("d2t")?).as_chunks::<8>().0;
        copy_rows(&mut writer, target, ids.iter().map(|id| i64::from_le_bytes(*id)))?;
    }
    Ok(writer.write(to)?)
}

fn copy_tokenizer(writer: &mut GgufWriter<'_>, target: Metadata<'_>) -> Result<()> {
    // Without tokens there is no tokenizer: this says so.
    target.strs("tokenizer.ggml.tokens")?;
    for (key, value) in target.iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
        writer.metadata(key, value)?;
    }
    Ok(())
}

/// Adds the rows `ids` of the target's output matrix, as they are.
fn copy_rows(
    writer: &mut GgufWriter<'_>,
    target: &GgufFile,
    ids: impl ExactSizeIterator<Item = i64>,
) -> Result<()> {
    let output =
        target.find_tensor("output.weight").map_or_else(|| target.tensor("token_embd.weight"), Ok)?;
    let bytes = target.tensor_bytes(output);
    let &[vocab_size, hidden_dim] = output.shape() else {
        let (found, wanted) = (output.shape().to_vec(), vec![0, 0]);
        return Err(Error::WrongShape { tensor: "output.weight".into(), found, wanted });
    };
    let (n_rows, row_bytes) = (ids.len(), bytes.len() / vocab_size.max(1));
    let mut rows = Vec::with_capacity(n_rows * row_bytes);
    for id in ids {
        let token = usize::try_from(id).ok().filter(|&token| token < vocab_size);
        let token = token.ok_or_else(|| Error::BadConfig {
            key: "d2t".into(),
            found: format!("a list with {id} in it"),
            wanted: format!("tokens below {vocab_size}"),
        })?;
        rows.extend_from_slice(&bytes[token * row_bytes..][..row_bytes]);
    }
    writer.tensor("output.weight", output.dtype(), &[n_rows, hidden_dim], rows)?;
    Ok(())
}

impl Eagle3Head {
    /// Matrices under llama.cpp's names, all but the output.
    fn matrices(&self) -> [(&'static str, &PackedMatrix); 8] {
        let weights = &self.layer.weights;
        [
            ("fc.weight", &weights.fc),
            ("blk.0.attn_q.weight", &weights.attn_q),
            ("blk.0.attn_k.weight", &weights.attn_k),
            ("blk.0.attn_v.weight", &weights.attn_v),
            ("blk.0.attn_output.weight", &weights.attn_output),
            ("blk.0.ffn_gate.weight", &weights.ffn_gate),
            ("blk.0.ffn_up.weight", &weights.ffn_up),
            ("blk.0.ffn_down.weight", &weights.ffn_down),
        ]
    }

    fn vectors(&self) -> [(&'static str, &[f32]); 4] {
        let weights = &self.layer.weights;
        [
            ("blk.0.attn_norm.weight", &weights.attn_norm),
            ("blk.0.attn_norm_2.weight", &weights.attn_norm_2),
            ("blk.0.ffn_norm.weight", &weights.ffn_norm),
            ("output_norm.weight", &weights.output_norm),
        ]
    }

    /// Numbers it has learnt.
    pub fn n_parameters(&self) -> usize {
        let matrices = self.matrices().map(|(_, matrix)| matrix).into_iter().chain(self.output.own());
        let in_matrices: usize = matrices.map(|matrix| matrix.n_rows() * matrix.n_cols()).sum();
        in_matrices + self.vectors().iter().map(|(_, vector)| vector.len()).sum::<usize>()
    }

    /// Whether it has rows of its own for its list, not the target's.
    pub fn has_output(&self) -> bool {
        self.output.own().is_some()
    }

    fn refuse_scaling(&self) -> Result<()> {
        match &self.layer.config.rope.scaling {
            RopeScaling::None => Ok(()),
            other => {
                let found = format!("{other:?}").chars().take(80).collect();
                Err(Error::NotExportable { what: "rope scaling", found, wanted: "none" })
            }
        }
    }

    /// Writes a small GGUF file for this program, which drafts over the target's rows where the head has none of its own:
    /// those and a tokenizer are not in it. Matrices are stored in 8 bits where their columns make whole blocks.
    ///
    /// # Errors
    /// If the head is none that is written, or writing fails; what was at `to` is as it was then.
    pub fn write_own_gguf(&self, to: &Path) -> Result<()> {
        let is_whole = |matrix: &PackedMatrix| matrix.n_cols().is_multiple_of(Q8_0_LEN);
        let writer = self.gguf(|matrix| if is_whole(matrix) { DType::Q8_0 } else { DType::BF16 })?;
        Ok(writer.write(to)?)
    }

    fn write_gguf(&self, target: &GgufFile, to: &Path) -> Result<()> {
        let mut writer = self.gguf(|matrix| match matrix.block_type() {
            BlockType::F16 => DType::F16,
            BlockType::BF16 => DType::BF16,
            _ => DType::F32,
        })?;
        copy_tokenizer(&mut writer, target.metadata())?;
        if self.output.own().is_none() {
            copy_rows(&mut writer, target, self.output.core().iter().map(|&token| i64::from(token)))?;
        }
        Ok(writer.write(to)?)
    }

    /// All of the head, its matrices stored as `dtype` says.
    fn gguf(&self, dtype: impl Fn(&PackedMatrix) -> DType) -> Result<GgufWriter<'static>> {
        self.refuse_scaling()?;
        let config = &self.layer.config;
        let mut writer = GgufWriter::new();
        writer.metadata("general.architecture", "eagle3")?;
        for (key, value) in [
            ("block_count", 1),
            ("context_length", config.context_len),
            ("embedding_length", config.hidden_dim),
            ("feed_forward_length", config.ffn_dim),
            ("attention.head_count", config.n_heads),
            ("attention.head_count_kv", config.n_kv_heads),
            ("attention.key_length", config.head_dim),
            ("attention.value_length", config.head_dim),
            ("target_hidden_size", config.hidden_dim),
            ("vocab_size", config.vocab_size),
        ] {
            writer.metadata(&format!("eagle3.{key}"), value as u32)?;
        }
        writer.metadata("eagle3.rope.freq_base", config.rope.theta as f32)?;
        writer.metadata("eagle3.attention.layer_norm_rms_epsilon", config.rms_eps)?;
        let taps: Vec<i32> = config.taps.iter().map(|&layer| layer as i32).collect();
        writer.metadata("eagle3.target_layers", taps.as_slice())?;
        for (name, vector) in self.vectors() {
            writer.tensor(name, DType::F32, &[vector.len()], encode(vector, DType::F32))?;
        }
        let own = self.output.own().map(|own| ("output.weight", own));
        for (name, matrix) in self.matrices().into_iter().chain(own) {
            let (dtype, shape) = (dtype(matrix), [matrix.n_rows(), matrix.n_cols()]);
            writer.tensor(name, dtype, &shape, rows(matrix, 0..matrix.n_rows(), dtype))?;
        }
        let core = self.output.core();
        let ids: Vec<u8> = core.iter().flat_map(|&token| i64::from(token).to_le_bytes()).collect();
        writer.tensor("d2t", DType::I64, &[core.len()], ids)?;
        Ok(writer)
    }

    /// Writes a folder that vLLM and SGLang can draft with.
    ///
    /// # Errors
    /// If the head is none that they compute, or writing fails.
    pub fn write_folder(&self, to: &Path) -> Result<()> {
        self.refuse_scaling()?;
        if self.layer.config.taps.len() != 3 {
            let found = format!("{:?}", self.layer.config.taps);
            return Err(Error::NotExportable {
                what: "target layers",
                found,
                wanted: "three, as servers read",
            });
        }
        let core = self.output.core();
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let name = |name: &str| {
            let (module, tensor) = specforge(name);
            format!("{module}.{tensor}")
        };
        for (gguf_name, vector) in self.vectors() {
            let bytes = encode(vector, DType::BF16);
            tensors.push((name(gguf_name), Dtype::BF16, vec![vector.len()], bytes));
        }
        for (gguf_name, matrix) in self.matrices() {
            let order = (0..matrix.n_rows()).map(|row| match gguf_name {
                "blk.0.attn_q.weight" | "blk.0.attn_k.weight" => of_halves(row, self.layer.config.head_dim),
                _ => row,
            });
            let shape = vec![matrix.n_rows(), matrix.n_cols()];
            tensors.push((name(gguf_name), Dtype::BF16, shape, rows(matrix, order, DType::BF16)));
        }
        let output = match self.output.own() {
            Some(own) => rows(own, 0..core.len(), DType::BF16),
            None => rows(&self.target.output, core.iter().map(|&token| token as usize), DType::BF16),
        };
        tensors.push((
            name("output.weight"),
            Dtype::BF16,
            vec![core.len(), self.layer.config.hidden_dim],
            output,
        ));
        let offsets = (0..).zip(core).flat_map(|(i, &token)| (i64::from(token) - i).to_le_bytes()).collect();
        tensors.push(("d2t".into(), Dtype::I64, vec![core.len()], offsets));
        let mut marks = vec![0; self.layer.config.vocab_size];
        core.iter().for_each(|&token| marks[token as usize] = 1);
        tensors.push(("t2d".into(), Dtype::BOOL, vec![marks.len()], marks));

        fs::create_dir_all(to).map_err(|reason| Error::WriteFile { path: to.into(), reason })?;
        let path = to.join("model.safetensors");
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                name,
                TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as shape and type want"),
            )
        });
        let bytes = safetensors::serialize(views, Some([("format".into(), "pt".into())].into()))
            .map_err(|reason| Error::BadSafetensors { path: path.clone(), reason })?;
        let config = serde_json::to_vec_pretty(&self.folder_config()).expect("numbers and text");
        for (path, bytes) in [(path, bytes), (to.join("config.json"), config)] {
            write_atomic(&path, |out| out.write_all(&bytes))
                .map_err(|reason| Error::WriteFile { path, reason })?;
        }
        Ok(())
    }

    fn folder_config(&self) -> Value {
        let config = &self.layer.config;
        // The shortest number that is the same in f32: 1e-6, not 9.999999974752427e-7.
        let short = |x: f32| x.to_string().parse::<f64>().unwrap_or(f64::from(x));
        // SGLang counts the outputs of layers; of the embedding's it knows none.
        let outputs: Option<Vec<usize>> = config.taps.iter().map(|layer| layer.checked_sub(1)).collect();
        json!({
            "architectures": ["LlamaForCausalLMEagle3"],
            "model_type": "llama",
            "hidden_size": config.hidden_dim,
            "intermediate_size": config.ffn_dim,
            "num_hidden_layers": 1,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "max_position_embeddings": config.context_len,
            "vocab_size": config.vocab_size,
            "draft_vocab_size": self.output.core().len(),
            "rms_norm_eps": short(config.rms_eps),
            "rope_theta": config.rope.theta,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": false,
            "torch_dtype": "bfloat16",
            "eagle_aux_hidden_state_layer_ids": config.taps,
            "eagle_config": { "use_aux_hidden_state": true, "eagle_aux_hidden_state_layer_ids": outputs },
        })
    }
}

/// The row of a matrix in llama.cpp's order, which pairs neighbours, that stands at `row` in Hugging Face's, which
/// pairs halves.
fn of_halves(row: usize, head_dim: usize) -> usize {
    let (head, i) = (row / head_dim, row % head_dim);
    head * head_dim + i % (head_dim / 2) * 2 + i / (head_dim / 2)
}

fn rows(matrix: &PackedMatrix, order: impl Iterator<Item = usize>, dtype: DType) -> Vec<u8> {
    let mut row = vec![0.0; matrix.n_cols()];
    let mut bytes = Vec::new();
    for i in order {
        matrix.read_row(i, &mut row);
        bytes.extend(encode(&row, dtype));
    }
    bytes
}

fn encode(values: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        DType::Q8_0 => values.chunks(Q8_0_LEN).flat_map(q8_0).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// Numbers of a block of Q8_0.
const Q8_0_LEN: usize = 32;

/// A block of Q8_0, as llama.cpp makes it: a scale in f16, then 8-bit multiples of it.
fn q8_0(values: &[f32]) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let codes = values.iter().map(|x| (x * inverse).round() as i8 as u8);
    f16::from_f32(scale).to_le_bytes().into_iter().chain(codes).collect()
}
