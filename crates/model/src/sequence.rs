//! One sequence of a model: its KV cache, and passes cut to size.

use crate::Error;
use crate::model::CpuModel;
use crate::output_rows::OutputRows;
use crate::pass::{self, Batch, Scratch};
use crate::snapshot::{Learnt, SnapshotSlot};
use nano_reasoning_engine::{self as engine, Forward, LogitRows, ModelShape, TargetModel, TokenTree};
use nano_reasoning_kernels::KvLayer;
use std::sync::Arc;

/// Tokens that go through the layers at once; longer chains are cut. At 128 the weights of a 1.5B model are
/// read, 20 ms, once for 0.7 s of arithmetic, and the buffers take 13 MB. 256 is no faster: prefill of 512 was
/// 169–174 tokens/s against 169–191, Zen 4, 2 threads, turns, 2026-11-25.
const CHUNK_TOKENS: usize = 128;

/// Nodes a tree that branches may have: attention keeps ancestors as bits of one word.
const MAX_TREE_NODES: usize = 64;

/// A sequence: tokens, their keys and values, and the buffers of a pass. The model is shared.
pub struct CpuSequence {
    model: Arc<CpuModel>,
    context_len: usize,
    cache: Vec<KvLayer>,
    scratch: Scratch,
    taps: Vec<usize>,
    len: usize,
    last: LastPass,
    /// Positions of a chunk's tokens.
    positions: Vec<usize>,
    /// Ancestors of a tree's nodes.
    ancestors: Vec<u64>,
    /// Rows of the output matrix that are wanted; `None` for all.
    selected: Option<OutputRows>,
    logits: Vec<f32>,
    tap_rows: Vec<f32>,
    hidden: Vec<f32>,
    /// What it has learnt, if it is a draft model's.
    learnt: Learnt,
}

/// What the last pass appended, for as long as [`TargetModel::keep`] may be asked of it.
#[derive(Default)]
struct LastPass {
    /// Cached tokens before it.
    start: usize,
    /// Parent of each node.
    parents: Vec<Option<usize>>,
    /// Whether its nodes branch, so that they are no sequence yet.
    is_open: bool,
}

impl CpuSequence {
    pub(crate) fn new(model: Arc<CpuModel>, context_len: usize) -> crate::Result<Self> {
        let config = &model.config;
        let context_len = context_len.min(config.context_len);
        let cache = (0..config.n_layers)
            .map(|_| KvLayer::new(config.n_kv_heads, config.head_dim, context_len))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::CacheTooLarge { context_len })?;
        let scratch = Scratch::new(config, CHUNK_TOKENS.min(context_len));
        Ok(Self {
            context_len,
            cache,
            scratch,
            taps: Vec::new(),
            len: 0,
            last: LastPass::default(),
            positions: Vec::with_capacity(CHUNK_TOKENS),
            ancestors: Vec::with_capacity(MAX_TREE_NODES),
            selected: None,
            logits: Vec::new(),
            tap_rows: Vec::new(),
            hidden: Vec::new(),
            learnt: Learnt::default(),
            model,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<CpuModel> {
        &self.model
    }

    /// Where to leave what a draft model has learnt, which [`TargetModel::take_learnt`] takes.
    pub fn slot(&self) -> &Arc<SnapshotSlot> {
        &self.learnt.slot
    }

    /// Bytes that the KV cache takes when full.
    pub fn cache_bytes(&self) -> usize {
        self.cache.iter().map(KvLayer::size_bytes).sum()
    }

    /// That `tree` can follow the cached tokens.
    fn check(&self, tree: &TokenTree, is_chain: bool) -> engine::Result<()> {
        if self.last.is_open {
            return Err(engine::Error::BadRollback {
                wanted: "all nodes of a tree".into(),
                have: format!("{} nodes of which one path may stay; keep one first", self.last.parents.len()),
            });
        }
        let vocab_size = self.model.config.vocab_size;
        if let Some(&token) = tree.tokens().iter().find(|&&token| token as usize >= vocab_size) {
            return Err(engine::Error::UnknownToken { token, vocab_size });
        }
        if tree.len() > self.context_len - self.len {
            let (wanted, used, context_len) = (tree.len(), self.len, self.context_len);
            return Err(engine::Error::ContextFull { wanted, used, context_len });
        }
        if !is_chain && tree.len() > MAX_TREE_NODES {
            return Err(engine::Error::TreeTooLarge { n_nodes: tree.len(), max: MAX_TREE_NODES });
        }
        Ok(())
    }

    /// Positions and, for a tree, ancestors of the nodes `nodes` of `tree`.
    fn place(&mut self, tree: &TokenTree, nodes: std::ops::Range<usize>, is_chain: bool) {
        self.positions.clear();
        self.ancestors.clear();
        let start = self.last.start;
        if is_chain {
            self.positions.extend(nodes.map(|node| start + node));
            return;
        }
        for node in nodes {
            let parent = tree.parent(node);
            self.positions.push(parent.map_or(start, |parent| self.positions[parent] + 1));
            self.ancestors.push(parent.map_or(0, |parent| self.ancestors[parent]) | 1 << node);
        }
    }
}

impl TargetModel for CpuSequence {
    fn shape(&self) -> ModelShape {
        let config = &self.model.config;
        ModelShape {
            vocab_size: config.vocab_size,
            hidden_dim: config.hidden_dim,
            n_layers: config.n_layers,
            context_len: self.context_len,
        }
    }

    /// # Panics
    /// If a layer is not below `n_layers` or they do not ascend.
    fn set_taps(&mut self, layers: &[usize]) {
        assert!(layers.is_sorted_by(|a, b| a < b), "layers to tap ascend: {layers:?}");
        assert!(
            layers.iter().all(|&layer| layer < self.cache.len()),
            "{} layers: {layers:?}",
            self.cache.len()
        );
        self.taps = layers.to_vec();
    }

    fn select_outputs(&mut self, tokens: Option<&[u32]>) -> engine::Result<()> {
        let vocab_size = self.model.config.vocab_size;
        let unknown = |&&token: &&u32| token as usize >= vocab_size;
        if let Some(&token) = tokens.into_iter().flatten().find(unknown) {
            return Err(engine::Error::UnknownToken { token, vocab_size });
        }
        let output = &self.model.output;
        let Some(tokens) = tokens else {
            self.selected = None;
            return Ok(());
        };
        if !self.selected.as_mut().is_some_and(|selected| selected.extend_to(output, tokens)) {
            self.selected = Some(OutputRows::new(output, tokens)?);
        }
        Ok(())
    }

    fn take_learnt(&mut self) -> bool {
        self.learnt.take_latest()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn forward(&mut self, tree: &TokenTree, rows: LogitRows) -> engine::Result<Forward<'_>> {
        let is_chain = tree.is_chain();
        self.check(tree, is_chain)?;
        let hidden_dim = self.model.config.hidden_dim;
        let n_outputs =
            self.selected.as_ref().map_or(self.model.config.vocab_size, |rows| rows.tokens().len());
        let n_nodes = tree.len();
        let n_rows = match rows {
            LogitRows::None => 0,
            LogitRows::Last => n_nodes.min(1),
            LogitRows::All => n_nodes,
        };
        let tap_len = self.taps.len() * hidden_dim;
        grow(&mut self.logits, n_rows * n_outputs);
        grow(&mut self.hidden, n_rows * hidden_dim);
        grow(&mut self.tap_rows, n_nodes * tap_len);
        self.last.start = self.len;
        self.last.parents.clear();
        self.last.parents.extend((0..n_nodes).map(|node| tree.parent(node)));
        self.last.is_open = !is_chain;

        for start in (0..n_nodes).step_by(CHUNK_TOKENS) {
            let nodes = start..(start + CHUNK_TOKENS).min(n_nodes);
            self.place(tree, nodes.clone(), is_chain);
            // Rows of this chunk that logits are wanted of, and where they go.
            let (scored, to) = match rows {
                LogitRows::All => (0..nodes.len(), nodes.start),
                LogitRows::Last if nodes.end == n_nodes => (nodes.len() - 1..nodes.len(), 0),
                _ => (0..0, 0),
            };
            let wanted = if is_chain || scored.is_empty() { scored.clone() } else { 0..nodes.len() };
            let batch = Batch {
                tokens: &tree.tokens()[nodes.clone()],
                positions: &self.positions,
                n_past: self.last.start + nodes.start,
                ancestors: &self.ancestors,
                wanted: wanted.clone(),
                taps: &self.taps,
                learnt: self.learnt.get(),
            };
            let taps = &mut self.tap_rows[nodes.start * tap_len..nodes.end * tap_len];
            pass::run_layers(&self.model, &mut self.cache, &mut self.scratch, &batch, taps);
            if !scored.is_empty() {
                let hidden = &mut self.hidden[to * hidden_dim..][..scored.len() * hidden_dim];
                let logits = &mut self.logits[to * n_outputs..][..scored.len() * n_outputs];
                let rows = scored.start - wanted.start..scored.end - wanted.start;
                let output = self.selected.as_ref().map_or(&self.model.output, OutputRows::matrix);
                pass::output(&self.model, output, &mut self.scratch, rows, hidden, logits);
            }
        }
        self.len += n_nodes;
        Ok(Forward {
            logits: &self.logits[..n_rows * n_outputs],
            taps: &self.tap_rows[..n_nodes * tap_len],
            hidden: &self.hidden[..n_rows * hidden_dim],
        })
    }

    fn keep(&mut self, path: &[usize]) -> engine::Result<()> {
        let LastPass { start, parents, .. } = &self.last;
        let is_path = path.iter().enumerate().all(|(i, &node)| {
            parents.get(node).is_some_and(|&parent| parent == i.checked_sub(1).map(|before| path[before]))
        });
        if !is_path {
            return Err(engine::Error::BadRollback {
                wanted: format!("the path {path:?}"),
                have: format!("{} nodes of the last pass, of which that is no path", parents.len()),
            });
        }
        for (to, &node) in path.iter().enumerate().filter(|(to, node)| to != *node) {
            for layer in &mut self.cache {
                layer.copy(start + node, start + to);
            }
        }
        self.len = start + path.len();
        self.last.parents.truncate(path.len());
        self.last.parents.iter_mut().enumerate().for_each(|(i, parent)| *parent = i.checked_sub(1));
        self.last.is_open = false;
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> engine::Result<()> {
        let most = if self.last.is_open { self.last.start } else { self.len };
        if len > most {
            return Err(engine::Error::BadRollback {
                wanted: format!("{len} tokens"),
                have: format!("{most}"),
            });
        }
        self.len = len;
        self.last.start = self.last.start.min(len);
        self.last.parents.truncate(len - self.last.start);
        self.last.is_open = false;
        Ok(())
    }
}

/// Makes `buffer` hold at least `len` numbers.
fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
