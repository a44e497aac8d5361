//! An EAGLE-3 head (Li et al. 2025, arXiv 2503.01840): one decoder layer that drafts from the target's hidden states.
//!
//! ```text
//! g_t = fc · concat(taps of token t)                     once for each committed token
//! x   = concat(input_layernorm(emb(token t + 1)), hidden_norm(g_t))
//! a   = g_t + attention(x);  y = a + mlp(post_attention_layernorm(a))
//! logits = rows of the target's output matrix · norm(y);  in a draft, the next entry's g is y
//! ```
//! Its output is a list of rows of the target's matrix, or a matrix of its own with such rows beside it (`output.rs`).

mod config;
mod export;
mod gguf;
mod layer;
mod load;
mod output;
mod pass;
mod safetensors;
mod values;
mod weights;

use crate::adapter::AdapterScratch;
use crate::model::CpuModel;
use crate::snapshot::{Learnt, Snapshot, SnapshotSlot};
pub use config::HeadConfig;
pub use export::HeadFile;
pub use layer::HeadLayer;
pub use output::DraftRows;
pub use values::HeadValues;
pub use weights::HeadWeights;

use nano_reasoning_engine::{self as engine, DraftHead, HeadForward};
use nano_reasoning_kernels::{Activations, AttentionScratch, KvLayer};
use output::HeadOutput;
use pass::{Entries, Scratch};
use std::sync::Arc;

/// Committed entries that go through the layer at once.
const CHUNK_ENTRIES: usize = 256;
/// Nodes of a draft.
const MAX_NODES: usize = 64;

/// How to load a head.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadOptions {
    /// Rows of the file's core list to draft over, the first ones; `None` for all.
    pub core_vocab: Option<usize>,
    /// Whether the core list is all it drafts over, also where the context has other tokens.
    pub is_vocab_fixed: bool,
}

/// A head with its KV cache, beside the target it drafts for.
pub struct Eagle3Head {
    target: Arc<CpuModel>,
    layer: Arc<HeadLayer>,
    learnt: Learnt,
    output: HeadOutput,
    cache: KvLayer,
    context_len: usize,
    is_vocab_fixed: bool,
    /// Entries of committed tokens.
    len: usize,
    /// Nodes of the draft, which lie in the slots after those: ancestors of each, itself included.
    ancestors: Vec<u64>,
    /// Outputs of the last committed entry and of the nodes, `[1 + n_nodes, hidden_dim]`.
    y: Vec<f32>,
    scratch: Scratch,
    attention: AttentionScratch,
    adapter_scratch: AdapterScratch,
    /// Of the output's product.
    activations: Activations,
    logits: Vec<f32>,
}

impl Eagle3Head {
    /// Bytes of its weights and of the rows it drafts over.
    pub fn weights_bytes(&self) -> usize {
        self.layer.weights.size_bytes() + self.output.size_bytes()
    }

    /// The layer that it was loaded with.
    pub fn layer(&self) -> &Arc<HeadLayer> {
        &self.layer
    }

    /// The target it drafts for.
    pub fn target(&self) -> &Arc<CpuModel> {
        &self.target
    }

    /// The tokens of its own list, most frequent first.
    pub fn core_vocab(&self) -> &[u32] {
        self.output.core()
    }

    /// Where to leave what was learnt, which it takes before the next draft; entries that it has stay as they are.
    pub fn slot(&self) -> &Arc<SnapshotSlot> {
        &self.learnt.slot
    }

    /// Runs the layer over `entries`.
    fn run(&mut self, entries: &Entries) {
        let layer = pass::Layer {
            target: &self.target,
            head: in_use(&self.learnt, &self.layer),
            adapters: self.learnt.get().and_then(|learnt| learnt.adapters(0)),
            adapter_scratch: &mut self.adapter_scratch,
            cache: &mut self.cache,
            attention: &mut self.attention,
        };
        pass::run(layer, &mut self.scratch, entries, &mut self.y);
    }

    fn check_tokens(&self, tokens: &[u32]) -> engine::Result<()> {
        let vocab_size = self.target.config.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(engine::Error::UnknownToken { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// That `tokens` are known and that there is room for as many entries after the first `n_entries`.
    fn check(&self, tokens: &[u32], n_entries: usize) -> engine::Result<()> {
        self.check_tokens(tokens)?;
        if n_entries + tokens.len() > self.context_len {
            let (wanted, used, context_len) = (tokens.len(), n_entries, self.context_len);
            return Err(engine::Error::ContextFull { wanted, used, context_len });
        }
        Ok(())
    }

    /// Final norm and draft vocabulary over the rows `first..` of `y`.
    fn score(&mut self, first: usize) -> HeadForward<'_> {
        let hidden_dim = self.target.config.hidden_dim;
        let y = &self.y[first * hidden_dim..];
        let n_logits = y.len() / hidden_dim * self.output.tokens().len();
        if self.logits.len() < n_logits {
            self.logits.resize(n_logits, 0.0);
        }
        let logits = &mut self.logits[..n_logits];
        let layer = in_use(&self.learnt, &self.layer);
        let normed = pass::norm(&self.target, layer, &mut self.scratch, y);
        self.output.score(&self.target, &mut self.activations, normed, logits);
        HeadForward { logits: &self.logits[..n_logits] }
    }
}

/// The layer that drafts are made with: the learnt one, if a whole one was.
fn in_use<'a>(learnt: &'a Learnt, own: &'a HeadLayer) -> &'a HeadLayer {
    match learnt.get() {
        Some(Snapshot::Layer(layer)) => layer,
        _ => own,
    }
}

impl DraftHead for Eagle3Head {
    fn taps(&self) -> &[usize] {
        &self.layer.config.taps
    }

    fn hidden_dim(&self) -> usize {
        self.target.config.hidden_dim
    }

    fn draft_vocab(&self) -> &[u32] {
        self.output.tokens()
    }

    fn add_to_vocab(&mut self, tokens: &[u32]) -> engine::Result<()> {
        self.check_tokens(tokens)?;
        for &token in tokens.iter().filter(|_| !self.is_vocab_fixed) {
            self.output.add(&self.target, token);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) -> engine::Result<()> {
        if len > self.len {
            let (wanted, have) = (format!("{len} entries"), self.len.to_string());
            return Err(engine::Error::BadRollback { wanted, have });
        }
        self.len = len;
        self.ancestors.clear();
        self.y.clear();
        Ok(())
    }

    fn extend(
        &mut self,
        taps: &[f32],
        next_tokens: &[u32],
        is_scored: bool,
    ) -> engine::Result<HeadForward<'_>> {
        self.check(next_tokens, self.len)?;
        let hidden_dim = self.target.config.hidden_dim;
        let width = self.layer.config.taps.len() * hidden_dim;
        assert_eq!(taps.len(), next_tokens.len() * width, "taps of the tokens before each");
        self.ancestors.clear();
        self.y.clear();
        self.learnt.take_latest();
        let chunks = next_tokens.chunks(CHUNK_ENTRIES).zip(taps.chunks(CHUNK_ENTRIES * width));
        let n_chunks = chunks.len();
        for (i, (tokens, taps)) in chunks.enumerate() {
            pass::fuse(&self.target, in_use(&self.learnt, &self.layer), &mut self.scratch, taps);
            let last = is_scored && i + 1 == n_chunks;
            let entries = Entries {
                tokens,
                first_slot: self.len,
                n_past: self.len,
                positions: None,
                ancestors: &[],
                wanted: if last { tokens.len() - 1..tokens.len() } else { 0..0 },
            };
            self.run(&entries);
            self.len += tokens.len();
        }
        if !is_scored || next_tokens.is_empty() {
            return Ok(HeadForward { logits: &[] });
        }
        Ok(self.score(0))
    }

    fn step(&mut self, tokens: &[u32], parents: &[Option<usize>]) -> engine::Result<HeadForward<'_>> {
        assert_eq!(tokens.len(), parents.len(), "a parent for each token");
        let n_nodes = self.ancestors.len();
        self.check(tokens, self.len + n_nodes)?;
        if n_nodes + tokens.len() > MAX_NODES {
            return Err(engine::Error::TreeTooLarge { n_nodes: n_nodes + tokens.len(), max: MAX_NODES });
        }
        for (i, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent.filter(|&parent| parent >= n_nodes) {
                return Err(engine::Error::BadTree { node: n_nodes + i, parent });
            }
        }
        if self.y.is_empty() {
            let (wanted, have) = ("a node of a draft".into(), "no scored entry to draft from".into());
            return Err(engine::Error::BadRollback { wanted, have });
        }
        let hidden_dim = self.target.config.hidden_dim;
        let mut positions = [0; MAX_NODES];
        for (i, &parent) in parents.iter().enumerate() {
            let before = parent.map_or(0, |parent| self.ancestors[parent]);
            self.ancestors.push(before | 1 << (n_nodes + i));
            positions[i] = self.len + before.count_ones() as usize;
            let row = parent.map_or(0, |parent| parent + 1);
            self.scratch.set_g(i, &self.y[row * hidden_dim..][..hidden_dim]);
        }
        let ancestors = std::mem::take(&mut self.ancestors);
        // A node that all before it lead to is the next of a chain: it needs no mask.
        let is_chain = tokens.len() == 1 && ancestors[n_nodes].count_ones() as usize == n_nodes + 1;
        let entries = Entries {
            tokens,
            first_slot: self.len + n_nodes,
            n_past: if is_chain { self.len + n_nodes } else { self.len },
            positions: Some(&positions[..tokens.len()]),
            ancestors: if is_chain { &[] } else { &ancestors },
            wanted: 0..tokens.len(),
        };
        self.run(&entries);
        self.ancestors = ancestors;
        Ok(self.score(1 + n_nodes))
    }
}
