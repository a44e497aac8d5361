//! A target small enough to know exactly, and drafters that are right, wrong or random.
#![allow(dead_code, reason = "each test file uses a part")]

use nano_reasoning_engine::{
    Error, Forward, LogitRows, ModelShape, Noise, Result, Sampler, SamplingParams, TargetModel, TokenTree,
};
use nano_reasoning_speculate::{Draft, Drafter, SpeculationOptions, SpeculativeDecoder};

pub(crate) const VOCAB_SIZE: usize = 12;

/// Logits that hang on the last three tokens alone; a cache that checks how it is used.
#[derive(Default)]
pub(crate) struct ToyTarget {
    cached: Vec<u32>,
    last_start: usize,
    last_tree: TokenTree,
    is_open: bool,
    logits: Vec<f32>,
    taps: Vec<f32>,
    pub(crate) n_passes: usize,
    pub(crate) context_len: usize,
}

impl ToyTarget {
    pub(crate) fn new() -> Self {
        Self { context_len: 4096, ..Self::default() }
    }

    /// Logits after `history`, `[VOCAB_SIZE]`.
    pub(crate) fn logits_after(history: &[u32]) -> Vec<f32> {
        let key = history.iter().rev().take(3).fold(17u64, |key, &token| key * 31 + u64::from(token));
        let noise = Noise::seeded(key);
        (0..VOCAB_SIZE as u32).map(|token| (noise.at(0).uniform(token) as f32 - 0.5) * 7.0).collect()
    }
}

impl TargetModel for ToyTarget {
    fn shape(&self) -> ModelShape {
        ModelShape { vocab_size: VOCAB_SIZE, hidden_dim: 1, n_layers: 4, context_len: self.context_len }
    }

    fn set_taps(&mut self, _layers: &[usize]) {}

    fn select_outputs(&mut self, _tokens: Option<&[u32]>) -> Result<()> {
        Ok(())
    }

    fn len(&self) -> usize {
        self.cached.len()
    }

    fn forward(&mut self, tree: &TokenTree, rows: LogitRows) -> Result<Forward<'_>> {
        assert!(!self.is_open, "a tree was left open");
        if self.cached.len() + tree.len() > self.context_len {
            let (wanted, used, context_len) = (tree.len(), self.cached.len(), self.context_len);
            return Err(Error::ContextFull { wanted, used, context_len });
        }
        self.n_passes += 1;
        (self.last_start, self.last_tree, self.is_open) = (self.cached.len(), tree.clone(), !tree.is_chain());
        self.logits.clear();
        for node in 0..tree.len() {
            let mut path = Vec::new();
            let mut at = Some(node);
            while let Some(node) = at {
                path.push(tree.tokens()[node]);
                at = tree.parent(node);
            }
            let mut history = self.cached.clone();
            history.extend(path.iter().rev());
            if rows == LogitRows::All || node + 1 == tree.len() && rows == LogitRows::Last {
                self.logits.extend(Self::logits_after(&history));
            }
        }
        self.cached.extend_from_slice(tree.tokens());
        self.taps = tree.tokens().iter().map(|&token| token as f32).collect();
        Ok(Forward { logits: &self.logits, taps: &self.taps, hidden: &[] })
    }

    fn keep(&mut self, path: &[usize]) -> Result<()> {
        for (i, &node) in path.iter().enumerate() {
            assert_eq!(self.last_tree.parent(node), i.checked_sub(1).map(|before| path[before]), "no path");
        }
        self.cached.truncate(self.last_start);
        self.cached.extend(path.iter().map(|&node| self.last_tree.tokens()[node]));
        self.is_open = false;
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        assert!(len <= self.cached.len());
        self.cached.truncate(len);
        self.is_open = false;
        Ok(())
    }
}

/// Proposes what `guess` says follows each path.
pub(crate) struct ToyDrafter<F> {
    pub(crate) guess: F,
    /// Alternatives for each token.
    pub(crate) width: usize,
    pub(crate) committed: Vec<u32>,
}

pub(crate) fn drafter<F>(width: usize, guess: F) -> Box<dyn Drafter>
where
    F: FnMut(&[u32], usize) -> u32 + Send + 'static,
{
    Box::new(ToyDrafter { guess, width, committed: Vec::new() })
}

impl<F: FnMut(&[u32], usize) -> u32 + Send> Drafter for ToyDrafter<F> {
    fn name(&self) -> &str {
        "toy"
    }

    fn commit(&mut self, tokens: &[u32], taps: &[f32]) -> nano_reasoning_speculate::Result<()> {
        let wanted: Vec<f32> = tokens.iter().map(|&token| token as f32).collect();
        assert_eq!(taps, wanted, "taps belong to the tokens that stay");
        self.committed.extend_from_slice(tokens);
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> nano_reasoning_speculate::Result<()> {
        self.committed.truncate(len);
        Ok(())
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> nano_reasoning_speculate::Result<()> {
        assert_eq!(self.committed, context[..context.len() - 1], "told of every token but the last");
        let mut paths = vec![(None, context.to_vec())];
        while let Some((parent, path)) = paths.pop() {
            if !draft.is_worth_a_step(parent) {
                continue;
            }
            draft.count_step(1);
            for choice in 0..self.width.min(draft.max_width()) {
                let token = (self.guess)(&path, choice);
                if let Some(node) = draft.propose(parent, token, 0.7) {
                    let mut path = path.clone();
                    path.push(token);
                    paths.insert(0, (Some(node), path));
                }
            }
        }
        Ok(())
    }
}

/// The `choice`-th best token, as the target would say.
pub(crate) fn right(history: &[u32], choice: usize) -> u32 {
    let logits = ToyTarget::logits_after(history);
    let mut order: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    order[choice]
}

/// The least likely tokens.
pub(crate) fn wrong(history: &[u32], choice: usize) -> u32 {
    right(history, VOCAB_SIZE - 1 - choice)
}

/// Any token.
pub(crate) fn random(history: &[u32], choice: usize) -> u32 {
    let noise = Noise::seeded(5).at(history.len());
    (noise.uniform(choice as u32) * VOCAB_SIZE as f64) as u32 % VOCAB_SIZE as u32
}

/// Sometimes right.
pub(crate) fn mixed(history: &[u32], choice: usize) -> u32 {
    if history.len().is_multiple_of(3) { random(history, choice) } else { right(history, choice) }
}

/// Answers of `n_tokens` after `prompt`, with a fixed draft length; and the decoder.
pub(crate) fn generate(
    drafters: Vec<Box<dyn Drafter>>,
    options: SpeculationOptions,
    params: &SamplingParams,
    prompt: &[u32],
    n_tokens: usize,
) -> (Vec<u32>, SpeculativeDecoder) {
    let mut target = ToyTarget::new();
    let mut decoder = SpeculativeDecoder::new(&mut target, drafters, options).unwrap();
    let mut sampler = Sampler::new(params.clone()).unwrap();
    let mut history = prompt.to_vec();
    let first = decoder.prefill(&mut target, prompt, LogitRows::Last).unwrap();
    history.push(sampler.sample(first.logits, prompt));
    while history.len() < prompt.len() + n_tokens {
        let left = prompt.len() + n_tokens - history.len();
        decoder.cycle(&mut target, &mut sampler, &mut history, left, &mut |_| true).unwrap();
    }
    (history.split_off(prompt.len()), decoder)
}

pub(crate) fn fixed(draft_count: usize, max_width: usize) -> SpeculationOptions {
    SpeculationOptions { draft_count, max_width, is_fixed: true }
}
