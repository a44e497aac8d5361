//! Drafting with a smaller model of the same vocabulary (arXiv 2211.17192), one pass a token.

use nano_reasoning_engine::{LogitRows, TargetModel, TokenTree, top_log_probs};

use crate::{Draft, Drafter, Result};

/// Candidates looked at for each token.
const N_CANDIDATES: usize = 16;

/// A drafter around a small model.
///
/// It reads its output matrix for a *draft vocabulary* only: a core list of tokens, and those of the context.
pub struct ModelDrafter {
    name: String,
    model: Box<dyn TargetModel>,
    /// Tokens in its cache.
    cached: Vec<u32>,
    /// The token of each logit.
    vocab: Vec<u32>,
    is_in_vocab: Vec<bool>,
    /// Whether `vocab` grew since the model was told.
    has_grown: bool,
    /// Whether the cache holds what the model made before it learnt.
    is_stale: bool,
    ranked: Vec<(usize, f32)>,
}

impl ModelDrafter {
    /// A drafter called `name`, whose model shares the target's vocabulary. `core_vocab` are the tokens that it can always
    /// propose.
    pub fn new(
        name: impl Into<String>,
        model: Box<dyn TargetModel>,
        core_vocab: impl IntoIterator<Item = u32>,
    ) -> Self {
        let mut drafter = Self {
            name: name.into(),
            is_in_vocab: vec![false; model.shape().vocab_size],
            model,
            cached: Vec::new(),
            vocab: Vec::new(),
            has_grown: false,
            is_stale: false,
            ranked: Vec::new(),
        };
        drafter.add_to_vocab(core_vocab);
        drafter
    }

    fn add_to_vocab(&mut self, tokens: impl IntoIterator<Item = u32>) {
        for token in tokens {
            if let Some(is_in @ false) = self.is_in_vocab.get_mut(token as usize) {
                *is_in = true;
                self.vocab.push(token);
                self.has_grown = true;
            }
        }
    }

    /// Passes `tokens` and ranks what may follow the last.
    fn forward(&mut self, tokens: &[u32]) -> Result<()> {
        let forward = self.model.forward(&TokenTree::chain(tokens), LogitRows::Last)?;
        top_log_probs(forward.logits, N_CANDIDATES, &mut self.ranked);
        self.cached.extend_from_slice(tokens);
        Ok(())
    }
}

impl Drafter for ModelDrafter {
    fn name(&self) -> &str {
        &self.name
    }

    fn n_pending(&self, context_len: usize) -> usize {
        context_len.saturating_sub(self.cached.len())
    }

    fn commit(&mut self, tokens: &[u32], _taps: &[f32]) -> Result<()> {
        self.add_to_vocab(tokens.iter().copied());
        Ok(())
    }

    fn truncate(&mut self, _len: usize) -> Result<()> {
        Ok(()) // The next draft compares its context with the cache.
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        if !draft.is_worth_a_step(None) || context.len() + draft.max_depth() > self.model.shape().context_len
        {
            return Ok(());
        }
        if self.has_grown {
            self.model.select_outputs(Some(&self.vocab))?;
            self.has_grown = false;
        }
        let shared = self.cached.iter().zip(context).take_while(|(a, b)| a == b).count();
        let mut shared = shared.min(context.len() - 1);
        self.is_stale |= self.model.take_learnt() && shared > 0;
        // Keys and values from before serve on: a draft may be a little worse for them, the text is not, and a long context
        // read again would keep somebody waiting. Where no more is to be read again than is new, at the start of another
        // conversation, it is: what comes first is looked at most.
        if self.is_stale && shared <= context.len() - shared {
            (shared, self.is_stale) = (0, false);
        }
        self.model.truncate(shared)?;
        self.cached.truncate(shared);
        let mut tokens = context[shared..].to_vec();
        let mut parent = None;
        loop {
            self.forward(&tokens)?;
            draft.count_step(tokens.len());
            let mut first = None;
            draft.propose_likeliest(parent, &self.vocab, &self.ranked, |rank, node| {
                if rank == 0 {
                    first = Some(node);
                }
            });
            let Some(node) = first.filter(|&node| draft.is_worth_a_step(Some(node))) else { return Ok(()) };
            parent = Some(node);
            tokens.clear();
            tokens.push(draft.nodes()[node].token);
        }
    }
}
