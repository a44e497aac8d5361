//! Drafts by what followed like contexts in the conversation and in earlier answers.

use super::history_store::HistoryStore;
use super::occurrences::{self, CONVERSATION, HISTORY, Occurrence};
use super::prediction::Prediction;
use super::suffix_index::{MAX_CONTEXT, SuffixIndex};
use super::trust::Trust;
use crate::{Candidate, Draft, Drafter, Result};

/// Tokens of a prediction that are ranked.
const MAX_CANDIDATES: usize = 16;

/// Proposes what followed like contexts before: prediction by partial matching over the conversation and over
/// earlier answers.
///
/// It takes microseconds, reads no weights, and what it proposes carries the chance that it estimates from
/// the matches' lengths and counts. How far matches can be trusted it learns from what comes of them.
#[derive(Debug, Default)]
pub struct NgramDrafter {
    conversation: SuffixIndex,
    /// Earlier answers.
    history: Option<HistoryStore>,
    trust: Trust,
    /// What was predicted in the last draft, node by node; the first `n_steps` are in use.
    steps: Vec<Step>,
    n_steps: usize,
    /// Length of the context that was drafted for last, 0 if it is no more.
    drafted_at: usize,
    frontier: Vec<Branch>,
    candidates: Vec<Candidate>,
}

/// The prediction of what follows one node.
#[derive(Debug, Default)]
struct Step {
    /// The drafted node, its token and the step before; `None` for the context's last token.
    node: Option<(usize, u32, usize)>,
    depth: usize,
    occurrences: Vec<Occurrence>,
    prediction: Prediction,
}

/// A token that could be proposed next.
#[derive(Debug, Clone, Copy)]
struct Branch {
    step: usize,
    token: u32,
    confidence: f32,
    reach: f32,
}

impl NgramDrafter {
    /// A drafter that also knows earlier answers, and adds new ones to them.
    pub fn new(history: Option<HistoryStore>) -> Self {
        Self { history, ..Self::default() }
    }

    /// Learns from the tokens that came after the last draft.
    fn learn(&mut self, context: &[u32]) {
        let came =
            if self.drafted_at == 0 { &[] } else { context.get(self.drafted_at..).unwrap_or_default() };
        let mut step = (self.n_steps > 0).then_some(0);
        for &token in came {
            let Some(at) = step else { break };
            self.steps[at].prediction.learn(token, &mut self.trust);
            step = self.steps[..self.n_steps].iter().position(|next| {
                next.node.is_some_and(|(_, drafted, before)| (drafted, before) == (token, at))
            });
        }
        self.n_steps = 0;
    }

    /// Predicts what follows a drafted node, or the context for `None`.
    fn predict(&mut self, context: &[u32], node: Option<(usize, u32, usize)>) -> usize {
        if self.n_steps == self.steps.len() {
            self.steps.push(Step::default());
        }
        let empty = SuffixIndex::default();
        let history = self.history.as_ref().map_or(&empty, HistoryStore::index);
        let (before, rest) = self.steps.split_at_mut(self.n_steps);
        let step = &mut rest[0];
        step.node = node;
        step.depth = node.map_or(0, |(_, _, parent)| before[parent].depth + 1);
        step.occurrences.clear();
        if let Some((_, token, parent)) = node {
            let indices = [&self.conversation, history];
            occurrences::follow(indices, &before[parent].occurrences, token, &mut step.occurrences);
        }
        if step.occurrences.is_empty() {
            let mut recent = [0; 2 * MAX_CONTEXT];
            let n = recent_tokens(context, before, node, &mut recent);
            let recent = &recent[recent.len() - n..];
            occurrences::find(&self.conversation, CONVERSATION, recent, &mut step.occurrences);
            occurrences::find(history, HISTORY, recent, &mut step.occurrences);
        }
        step.prediction.fill(&mut step.occurrences, &self.trust);
        self.n_steps += 1;
        self.n_steps - 1
    }

    /// Offers the likeliest tokens after a step to the frontier.
    fn branch(&mut self, step: usize, draft: &Draft<'_>) {
        let Step { node, prediction, .. } = &self.steps[step];
        let parent = node.map(|(node, ..)| node);
        self.candidates.clear();
        self.candidates.extend(prediction.tokens.iter().map(|predicted| Candidate {
            token: predicted.token,
            log_prob: predicted.prob.ln(),
            confidence: predicted.prob,
        }));
        if self.candidates.len() > MAX_CANDIDATES {
            self.candidates.sort_unstable_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
            self.candidates.truncate(MAX_CANDIDATES);
        }
        let known: f32 = self.candidates.iter().map(|candidate| candidate.confidence).sum();
        draft.rank(parent, &mut self.candidates);
        // With noise, the ranking shares out the whole chance; some is left for tokens that were never seen.
        let ranked: f32 = self.candidates.iter().map(|candidate| candidate.confidence).sum();
        let reach = parent.map_or(1.0, |parent| draft.nodes()[parent].reach_probability);
        for candidate in self.candidates.iter().take(draft.max_width()) {
            let confidence = candidate.confidence * known / ranked;
            self.frontier.push(Branch {
                step,
                token: candidate.token,
                confidence,
                reach: reach * confidence,
            });
        }
    }

    fn likeliest(&mut self) -> Option<Branch> {
        let best = (0..self.frontier.len())
            .max_by(|&a, &b| self.frontier[a].reach.total_cmp(&self.frontier[b].reach))?;
        Some(self.frontier.swap_remove(best))
    }
}

impl Drafter for NgramDrafter {
    fn name(&self) -> &str {
        "ngram"
    }

    fn is_free(&self) -> bool {
        true
    }

    fn commit(&mut self, tokens: &[u32], _taps: &[f32]) -> Result<()> {
        self.conversation.extend(tokens);
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.conversation.truncate(len);
        self.drafted_at = 0;
        Ok(())
    }

    fn end_answer(&mut self, answer: &[u32]) -> Result<()> {
        if let Some(Err(error)) = self.history.as_mut().map(|history| history.append(answer)) {
            tracing::warn!(%error, "this answer is not kept for later drafts");
        }
        Ok(())
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        self.learn(context);
        self.drafted_at = context.len();
        self.frontier.clear();
        if draft.max_depth() == 0 {
            return Ok(());
        }
        let root = self.predict(context, None);
        self.branch(root, draft);
        while let Some(Branch { step, token, confidence, .. }) = self.likeliest() {
            let Step { node, depth, .. } = self.steps[step];
            let Some(proposed) = draft.propose(node.map(|(node, ..)| node), token, confidence) else {
                continue; // A less likely one may be what another drafter proposed.
            };
            if depth + 1 < draft.max_depth() {
                let next = self.predict(context, Some((proposed, token, step)));
                self.branch(next, draft);
            }
        }
        Ok(())
    }
}

/// Writes the last tokens of `context` and of the path to `node` at the end of `recent`; returns how many.
fn recent_tokens(
    context: &[u32],
    steps: &[Step],
    mut node: Option<(usize, u32, usize)>,
    recent: &mut [u32],
) -> usize {
    let mut n = 0;
    while let Some((_, token, parent)) = node
        && n < recent.len()
    {
        n += 1;
        let at = recent.len() - n;
        recent[at] = token;
        node = steps[parent].node;
    }
    let n_context = context.len().min(recent.len() - n);
    let end = recent.len() - n;
    recent[end - n_context..end].copy_from_slice(&context[context.len() - n_context..]);
    n + n_context
}
