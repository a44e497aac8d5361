//! Drafting with a head that reads the target's hidden states, level by level (EAGLE-2, arXiv 2406.16858).

use nano_reasoning_engine::{DraftHead, top_log_probs};

use crate::{Draft, Drafter, Result};

/// Candidates looked at for each token.
const N_CANDIDATES: usize = 16;
/// Committed tokens that wait at most before the head reads them: it reads many at once cheaply.
const MAX_PENDING: usize = 128;
/// Nodes that one step looks beyond.
const MAX_FRONTIER: usize = 4;

/// A drafter around a [`DraftHead`].
pub struct HeadDrafter {
    name: String,
    head: Box<dyn DraftHead>,
    /// Tokens committed so far.
    tokens: Vec<u32>,
    /// Taps of those that the head has not read, `[tokens.len() - head.len(), n_taps, hidden_dim]`.
    pending_taps: Vec<f32>,
    /// Number that the head gave to each draft node it scored.
    head_nodes: Vec<(usize, usize)>,
    ranked: Vec<(usize, f32)>,
}

impl HeadDrafter {
    /// A drafter called `name`.
    pub fn new(name: impl Into<String>, head: Box<dyn DraftHead>) -> Self {
        Self {
            name: name.into(),
            head,
            tokens: Vec::new(),
            pending_taps: Vec::new(),
            head_nodes: Vec::new(),
            ranked: Vec::new(),
        }
    }

    /// Lets the head read the taps it has not, each with the token after it, `[n]`.
    fn catch_up(&mut self, next_tokens: &[u32], is_scored: bool) -> Result<()> {
        let width = self.head.taps().len() * self.head.hidden_dim();
        let taps = &self.pending_taps[..next_tokens.len() * width];
        let forward = self.head.extend(taps, next_tokens, is_scored)?;
        if is_scored {
            top_log_probs(forward.logits, N_CANDIDATES, &mut self.ranked);
        }
        self.pending_taps.drain(..next_tokens.len() * width);
        Ok(())
    }
}

impl Drafter for HeadDrafter {
    fn name(&self) -> &str {
        &self.name
    }

    fn taps(&self) -> &[usize] {
        self.head.taps()
    }

    fn n_pending(&self, context_len: usize) -> usize {
        context_len.saturating_sub(self.head.len())
    }

    fn commit(&mut self, tokens: &[u32], taps: &[f32]) -> Result<()> {
        self.tokens.extend_from_slice(tokens);
        self.pending_taps.extend_from_slice(taps);
        self.head.add_to_vocab(tokens)?;
        if self.tokens.len() - self.head.len() > MAX_PENDING {
            let next_tokens = self.tokens[self.head.len() + 1..].to_vec();
            self.catch_up(&next_tokens, false)?;
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        let width = self.head.taps().len() * self.head.hidden_dim();
        self.tokens.truncate(len);
        // The entry of the last token that stays read the one that followed it before. Its taps are gone, so
        // it stays as it is: a little wrong in a draft, which is all that it serves.
        self.head.truncate(self.head.len().min(len))?;
        self.pending_taps.truncate((len - self.head.len()) * width);
        Ok(())
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        if !draft.is_worth_a_step(None) {
            return Ok(());
        }
        let next_tokens = &context[self.head.len() + 1..];
        self.catch_up(next_tokens, true)?;
        draft.count_step(next_tokens.len());
        self.head_nodes.clear();
        let (mut frontier, mut next) = (Vec::new(), Vec::new());
        draft.propose_likeliest(None, self.head.draft_vocab(), &self.ranked, |_, node| frontier.push(node));
        loop {
            frontier.retain(|&node| draft.is_worth_a_step(Some(node)));
            frontier.truncate(MAX_FRONTIER);
            if frontier.is_empty() {
                return Ok(());
            }
            let tokens: Vec<u32> = frontier.iter().map(|&node| draft.nodes()[node].token).collect();
            let parents: Vec<Option<usize>> = frontier
                .iter()
                .map(|&node| {
                    let parent = draft.nodes()[node].parent?;
                    self.head_nodes.iter().find(|(scored, _)| *scored == parent).map(|(_, number)| *number)
                })
                .collect();
            let n_vocab = self.head.draft_vocab().len();
            let rows: Vec<Vec<(usize, f32)>> = {
                let forward = self.head.step(&tokens, &parents)?;
                let rank = |logits: &[f32]| {
                    let mut ranked = Vec::new();
                    top_log_probs(logits, N_CANDIDATES, &mut ranked);
                    ranked
                };
                forward.logits.chunks_exact(n_vocab).map(rank).collect()
            };
            draft.count_step(tokens.len());
            for (&node, ranked) in frontier.iter().zip(rows) {
                self.head_nodes.push((node, self.head_nodes.len()));
                let vocab = self.head.draft_vocab();
                draft.propose_likeliest(Some(node), vocab, &ranked, |_, node| next.push(node));
            }
            std::mem::swap(&mut frontier, &mut next);
            next.clear();
        }
    }
}
