//! A loaded model: what all its sequences share.

use crate::architecture::{Architecture, Pairing};
use crate::config::ModelConfig;
use crate::hugging_face::{FolderConfig, FolderWeights, SafetensorsFiles};
use crate::rope::Rope;
use crate::sequence::CpuSequence;
use crate::weights::WeightSource;
use crate::{Error, Projection, Result, architecture, gguf_model, hugging_face};
use nano_reasoning_gguf::GgufFile;
use nano_reasoning_kernels::{Kernels, PackedMatrix, Pool};
use std::path::Path;
use std::sync::Arc;

/// How to load a model.
#[derive(Clone, Default)]
pub struct LoadOptions<'a> {
    /// Threads that compute, the caller included; `None` for one per core. Not asked if `pool` is given.
    pub n_threads: Option<usize>,
    /// Threads of another model to share: two pools at once would fight for the cores.
    pub pool: Option<Arc<Pool>>,
    /// Name of the instruction set, `None` for the best there is.
    pub isa: Option<&'a str>,
}

impl LoadOptions<'_> {
    fn kernels(&self) -> Result<&'static Kernels> {
        let Some(name) = self.isa else { return Ok(Kernels::best()) };
        Kernels::named(name).ok_or_else(|| {
            let names: Vec<_> = Kernels::available().iter().map(|kernels| kernels.isa().name()).collect();
            Error::UnknownIsa { found: name.into(), available: names.join(", ") }
        })
    }

    fn pool(&self) -> Arc<Pool> {
        self.pool.clone().unwrap_or_else(|| {
            let n_threads =
                self.n_threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
            Arc::new(Pool::new(n_threads.unwrap_or(1)))
        })
    }
}

/// Weights, configuration, kernels and threads of a model.
pub struct CpuModel {
    pub(crate) config: ModelConfig,
    pub(crate) kernels: &'static Kernels,
    pub(crate) pool: Arc<Pool>,
    pub(crate) rope: Rope,
    pub(crate) architecture: Box<dyn Architecture>,
    /// Of the rows of queries and keys.
    pub(crate) pairing: Pairing,
    /// `[vocab_size, hidden_dim]`; `None` where the output matrix serves.
    token_embd: Option<PackedMatrix>,
    pub(crate) layers: Vec<Layer>,
    /// `[hidden_dim]`
    pub(crate) output_norm: Vec<f32>,
    /// `[vocab_size, hidden_dim]`
    pub(crate) output: PackedMatrix,
}

/// Weights of one decoder layer, named as in GGUF files.
pub struct Layer {
    /// `[hidden_dim]`
    pub(crate) attn_norm: Vec<f32>,
    /// `[n_heads · head_dim, hidden_dim]`
    pub(crate) attn_q: PackedMatrix,
    /// `[n_kv_heads · head_dim, hidden_dim]`
    pub(crate) attn_k: PackedMatrix,
    /// `[n_kv_heads · head_dim, hidden_dim]`
    pub(crate) attn_v: PackedMatrix,
    /// `[hidden_dim, n_heads · head_dim]`
    pub(crate) attn_output: PackedMatrix,
    /// `[hidden_dim]`
    pub(crate) ffn_norm: Vec<f32>,
    /// `[ffn_dim, hidden_dim]`
    pub(crate) ffn_gate: PackedMatrix,
    /// `[ffn_dim, hidden_dim]`
    pub(crate) ffn_up: PackedMatrix,
    /// `[hidden_dim, ffn_dim]`
    pub(crate) ffn_down: PackedMatrix,
}

impl Layer {
    fn load(config: &ModelConfig, layer: usize, weights: &mut dyn WeightSource) -> Result<Self> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (hidden_dim, ffn_dim) = (config.hidden_dim, config.ffn_dim);
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        Ok(Self {
            attn_norm: weights.vector(&name("attn_norm"), hidden_dim)?,
            attn_q: weights.matrix(&name("attn_q"), q_dim, hidden_dim)?,
            attn_k: weights.matrix(&name("attn_k"), kv_dim, hidden_dim)?,
            attn_v: weights.matrix(&name("attn_v"), kv_dim, hidden_dim)?,
            attn_output: weights.matrix(&name("attn_output"), hidden_dim, q_dim)?,
            ffn_norm: weights.vector(&name("ffn_norm"), hidden_dim)?,
            ffn_gate: weights.matrix(&name("ffn_gate"), ffn_dim, hidden_dim)?,
            ffn_up: weights.matrix(&name("ffn_up"), ffn_dim, hidden_dim)?,
            ffn_down: weights.matrix(&name("ffn_down"), hidden_dim, ffn_dim)?,
        })
    }

    pub(crate) fn matrices(&self) -> [&PackedMatrix; 7] {
        Projection::ALL.map(|projection| self.projection(projection))
    }

    /// One of its matrices.
    pub fn projection(&self, projection: Projection) -> &PackedMatrix {
        match projection {
            Projection::Query => &self.attn_q,
            Projection::Key => &self.attn_k,
            Projection::Value => &self.attn_v,
            Projection::Output => &self.attn_output,
            Projection::Gate => &self.ffn_gate,
            Projection::Up => &self.ffn_up,
            Projection::Down => &self.ffn_down,
        }
    }

    /// Weights of the norm before attention, `[hidden_dim]`.
    pub fn attn_norm(&self) -> &[f32] {
        &self.attn_norm
    }

    /// Weights of the norm before the feed-forward half, `[hidden_dim]`.
    pub fn ffn_norm(&self) -> &[f32] {
        &self.ffn_norm
    }
}

impl CpuModel {
    /// Loads a GGUF file, or a Hugging Face folder where `path` is one.
    ///
    /// # Errors
    /// As [`Self::load_gguf`] and [`Self::load_hugging_face`].
    pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Arc<Self>> {
        let path = path.as_ref();
        if path.is_dir() { Self::load_hugging_face(path, options) } else { Self::load_gguf(path, options) }
    }

    /// Loads a GGUF file.
    ///
    /// # Errors
    /// The first thing that is wrong with the file, or in it something this engine does not compute.
    pub fn load_gguf(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Arc<Self>> {
        Self::from_gguf(&GgufFile::open(path)?, options)
    }

    /// Loads an open GGUF file. Tensor by tensor, its weights are packed and their pages given back, so
    /// that memory holds them once.
    ///
    /// # Errors
    /// As [`Self::load_gguf`].
    pub fn from_gguf(file: &GgufFile, options: &LoadOptions) -> Result<Arc<Self>> {
        let (kernels, pool) = (options.kernels()?, options.pool());
        let config = gguf_model::config(file)?;
        let mut weights = gguf_model::GgufWeights::new(file, &pool, config.architecture);
        let pairing = Pairing::of_gguf(config.architecture);
        let model = Self::from_weights(config, pairing, kernels, &pool, &mut weights)?;
        weights.finish()?;
        Ok(Arc::new(model))
    }

    /// Loads a Hugging Face folder: `config.json` and safetensors files in BF16, F16, F32 or MLX's affine
    /// quantization. Memory holds the weights once, as for [`Self::from_gguf`].
    ///
    /// # Errors
    /// The first thing that is wrong with the folder, or in it something this engine does not compute.
    pub fn load_hugging_face(folder: impl AsRef<Path>, options: &LoadOptions) -> Result<Arc<Self>> {
        let (kernels, pool) = (options.kernels()?, options.pool());
        let FolderConfig { model: config, is_tied } = hugging_face::config(folder.as_ref())?;
        let files = SafetensorsFiles::open(folder.as_ref())?;
        let mut weights =
            FolderWeights::new(&files, &pool, config.architecture, hugging_face::hugging_face, is_tied);
        let model = Self::from_weights(config, Pairing::Halves, kernels, &pool, &mut weights)?;
        weights.finish()?;
        Ok(Arc::new(model))
    }

    fn from_weights(
        config: ModelConfig,
        pairing: Pairing,
        kernels: &'static Kernels,
        pool: &Arc<Pool>,
        weights: &mut dyn WeightSource,
    ) -> Result<Self> {
        let (_, load_architecture) = architecture::find(config.architecture)?;
        let (vocab_size, hidden_dim) = (config.vocab_size, config.hidden_dim);
        let token_embd = weights.matrix("token_embd.weight", vocab_size, hidden_dim)?;
        let (token_embd, output) = if weights.has_output() {
            (Some(token_embd), weights.matrix("output.weight", vocab_size, hidden_dim)?)
        } else {
            (None, token_embd)
        };
        let output_norm = weights.vector("output_norm.weight", hidden_dim)?;
        let mut layers = Vec::new();
        for layer in 0..config.n_layers {
            layers.push(Layer::load(&config, layer, weights)?);
        }
        let architecture = load_architecture(&config, pairing, weights)?;
        let rope = Rope::new(&config.rope)?;
        let model = Self {
            config,
            kernels,
            pool: pool.clone(),
            rope,
            architecture,
            pairing,
            token_embd,
            layers,
            output_norm,
            output,
        };
        tracing::info!(
            architecture = model.config.architecture,
            isa = kernels.isa().name(),
            n_threads = pool.n_threads(),
            weights_bytes = model.weights_bytes(),
            "model loaded"
        );
        Ok(model)
    }

    /// A new, empty sequence with a KV cache for `context_len` tokens, or for as many as the model was made
    /// for if those are fewer. Memory is taken as the cache fills.
    ///
    /// # Errors
    /// [`Error::CacheTooLarge`].
    pub fn sequence(self: &Arc<Self>, context_len: usize) -> Result<CpuSequence> {
        CpuSequence::new(self.clone(), context_len)
    }

    /// Sizes and constants of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The kernels it computes with.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The threads it computes on.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The embedding of `token` into `out`, `[hidden_dim]`.
    ///
    /// # Panics
    /// If `token` is outside the vocabulary or `out` of another length.
    pub fn embed(&self, token: u32, out: &mut [f32]) {
        self.token_embd.as_ref().unwrap_or(&self.output).read_row(token as usize, out);
    }

    /// Bytes of all packed weights.
    pub fn weights_bytes(&self) -> usize {
        self.streamed_bytes() + self.token_embd.as_ref().map_or(0, PackedMatrix::size_bytes)
    }

    /// Bytes of the weights that a pass with logits reads from end to end.
    pub fn streamed_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        layers.chain([&self.output]).map(PackedMatrix::size_bytes).sum()
    }
}
