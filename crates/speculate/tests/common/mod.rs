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
    /// The pass that fails, from 1 on.
    pub(crate) failing_pass: Option<usize>,
    /// What is wrong with it.
    pub(crate) fault: Option<Fault>,
}

/// What verification does wrong in ways that only drafts bring to light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// A row sees the rows before it, on its path or not.
    SeesOtherPaths,
    /// A drafted token is likelier than it would be alone.
    FavoursDrafts,
    /// A rejected token stays in the cache, in place of the last that was kept.
    KeepsRejected,
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
            if self.fault == Some(Fault::SeesOtherPaths) {
                path = tree.tokens()[..=node].iter().rev().copied().collect();
            }
            history.extend(path.iter().rev());
            if rows == LogitRows::All || node + 1 == tree.len() && rows == LogitRows::Last {
                let mut logits = Self::logits_after(&history);
                if self.fault == Some(Fault::FavoursDrafts) {
                    let drafted = (0..tree.len()).filter(|&child| tree.parent(child) == Some(node));
                    drafted.for_each(|child| logits[tree.tokens()[child] as usize] += 1.0);
                }
                self.logits.extend(logits);
            }
        }
        self.cached.extend_from_slice(tree.tokens());
        if self.failing_pass == Some(self.n_passes) {
            return Err(Error::Device("gone".into()));
        }
        self.taps = tree.tokens().iter().map(|&token| token as f32).collect();
        Ok(Forward { logits: &self.logits, taps: &self.taps, hidden: &[] })
    }

    fn keep(&mut self, path: &[usize]) -> Result<()> {
        for (i, &node) in path.iter().enumerate() {
            assert_eq!(self.last_tree.parent(node), i.checked_sub(1).map(|before| path[before]), "no path");
        }
        self.cached.truncate(self.last_start);
        self.cached.extend(path.iter().map(|&node| self.last_tree.tokens()[node]));
        if self.fault == Some(Fault::KeepsRejected) && path.len() < self.last_tree.len() {
            self.cached.pop();
            self.cached.extend(self.last_tree.tokens().last());
        }
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
    pub(crate) is_free: bool,
    /// Whether a path goes on after one of the alternatives only: [`spine`]'s of its length.
    pub(crate) is_spine: bool,
    pub(crate) committed: Vec<u32>,
}

impl<F> ToyDrafter<F> {
    /// One whose trees grow level by level.
    pub(crate) fn new(width: usize, guess: F) -> Self {
        Self { guess, width, is_free: false, is_spine: false, committed: Vec::new() }
    }
}

/// Which of `width` alternatives a tree with a spine goes on after, where `len` tokens come before them.
pub(crate) fn spine(len: usize, width: usize) -> usize {
    len % width
}

pub(crate) fn drafter<F>(width: usize, guess: F) -> Box<dyn Drafter>
where
    F: FnMut(&[u32], usize) -> u32 + Send + 'static,
{
    Box::new(ToyDrafter::new(width, guess))
}

pub(crate) fn free_drafter<F>(width: usize, guess: F) -> Box<dyn Drafter>
where
    F: FnMut(&[u32], usize) -> u32 + Send + 'static,
{
    Box::new(ToyDrafter { is_free: true, ..ToyDrafter::new(width, guess) })
}

pub(crate) fn spine_drafter<F>(width: usize, guess: F) -> Box<dyn Drafter>
where
    F: FnMut(&[u32], usize) -> u32 + Send + 'static,
{
    Box::new(ToyDrafter { is_spine: true, ..ToyDrafter::new(width, guess) })
}

impl<F: FnMut(&[u32], usize) -> u32 + Send> Drafter for ToyDrafter<F> {
    fn name(&self) -> &str {
        "toy"
    }

    fn is_free(&self) -> bool {
        self.is_free
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
            if !self.is_free {
                if !draft.is_worth_a_step(parent) {
                    continue;
                }
                draft.count_step(1);
            }
            for choice in 0..self.width.min(draft.max_width()) {
                let token = (self.guess)(&path, choice);
                let node = draft.propose(parent, token, 0.9 / self.width as f32);
                let goes_on = !self.is_spine || choice == spine(path.len(), self.width);
                if let Some(node) = node.filter(|_| goes_on) {
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

/// A conversation with the toy target.
pub(crate) struct Session {
    pub(crate) target: ToyTarget,
    pub(crate) decoder: SpeculativeDecoder,
    pub(crate) sampler: Sampler,
    /// All tokens, of which the target's cache lacks the last.
    pub(crate) history: Vec<u32>,
}

impl Session {
    pub(crate) fn new(
        mut target: ToyTarget,
        drafters: Vec<Box<dyn Drafter>>,
        options: SpeculationOptions,
        params: &SamplingParams,
    ) -> Self {
        let decoder = SpeculativeDecoder::new(&mut target, drafters, options).unwrap();
        Self { target, decoder, sampler: Sampler::new(params.clone()).unwrap(), history: Vec::new() }
    }

    /// Reads `prompt`, of which it keeps what is cached already, and draws the token after it.
    pub(crate) fn read(&mut self, prompt: &[u32]) {
        let shared = self.target.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let shared = shared.min(prompt.len() - 1);
        self.decoder.truncate(&mut self.target, shared).unwrap();
        let forward = self.decoder.prefill(&mut self.target, &prompt[shared..], LogitRows::Last).unwrap();
        self.history = prompt.to_vec();
        self.history.push(self.sampler.sample(forward.logits, prompt));
    }

    /// One cycle of at most `max_tokens`.
    pub(crate) fn cycle(
        &mut self,
        max_tokens: usize,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) -> nano_reasoning_speculate::Result<bool> {
        let Self { target, decoder, sampler, history } = self;
        decoder.cycle(target, sampler, history, max_tokens, on_token)
    }

    /// The answer of `n_tokens` to `prompt`.
    pub(crate) fn answer(&mut self, prompt: &[u32], n_tokens: usize) -> Vec<u32> {
        self.read(prompt);
        let len = prompt.len() + n_tokens;
        while self.history.len() < len {
            self.cycle(len - self.history.len(), &mut |_| true).unwrap();
        }
        self.history[prompt.len()..].to_vec()
    }
}

/// The answer of `n_tokens` to `prompt`, and the decoder.
pub(crate) fn generate(
    drafters: Vec<Box<dyn Drafter>>,
    options: SpeculationOptions,
    params: &SamplingParams,
    prompt: &[u32],
    n_tokens: usize,
) -> (Vec<u32>, SpeculativeDecoder) {
    let mut session = Session::new(ToyTarget::new(), drafters, options, params);
    (session.answer(prompt, n_tokens), session.decoder)
}

/// The answer of the target alone.
pub(crate) fn plain(params: &SamplingParams, prompt: &[u32], n_tokens: usize) -> Vec<u32> {
    generate(vec![], fixed(0, 1), params, prompt, n_tokens).0
}

pub(crate) fn fixed(draft_count: usize, max_width: usize) -> SpeculationOptions {
    SpeculationOptions { draft_count, max_width, is_fixed: true }
}

pub(crate) const PROMPT: [u32; 5] = [1, 7, 3, 3, 9];

pub(crate) type Guess = fn(&[u32], usize) -> u32;
pub(crate) const GUESSES: [(&str, Guess); 4] =
    [("right", right), ("wrong", wrong), ("random", random), ("mixed", mixed)];

pub(crate) fn settings() -> Vec<SamplingParams> {
    let warm =
        SamplingParams { temperature: 0.8, top_k: 0, top_p: 1.0, seed: Some(3), ..SamplingParams::default() };
    vec![
        SamplingParams::greedy(),
        SamplingParams { repetition_penalty: 1.3, ..SamplingParams::greedy() },
        warm.clone(),
        SamplingParams { top_k: 4, ..warm.clone() },
        SamplingParams { top_p: 0.7, min_p: 0.1, ..warm.clone() },
        SamplingParams { repetition_penalty: 1.5, repetition_window: 4, ..warm },
    ]
}
