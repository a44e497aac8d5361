//! A drafter that copies: the longest match of the context's end, and what followed it most often.

use super::history_store::HistoryStore;
use super::suffix_index::{Follower, MAX_MATCH, SuffixIndex};
use crate::{Candidate, Draft, Drafter, Result};

/// Chance that what followed a match of so many tokens, always, follows again: replayed over answers of the 1.5B model.
const STRENGTHS: [f32; 9] = [0.0, 0.15, 0.4, 0.55, 0.66, 0.74, 0.8, 0.85, 0.88];
/// An occurrence in the conversation counts for so many in earlier answers.
const NEARNESS: f32 = 4.0;
/// Shortest match.
const MIN_MATCH: usize = 2;

/// Drafts what followed the same words before.
#[derive(Debug, Default)]
pub struct NgramDrafter {
    /// The conversation's committed tokens.
    conversation: SuffixIndex,
    /// Earlier answers.
    history: Option<HistoryStore>,
    followers: Vec<Follower>,
    others: Vec<Follower>,
    candidates: Vec<Candidate>,
    path: Vec<u32>,
}

impl NgramDrafter {
    /// A drafter that also knows earlier answers, and adds new ones to them.
    pub fn new(history: Option<HistoryStore>) -> Self {
        Self { history, ..Self::default() }
    }

    /// Fills `self.followers` with what may follow the path, and returns the match's length.
    fn find(&mut self, longest: usize) -> usize {
        let near = self.conversation.find(&self.path, longest, &mut self.followers);
        self.others.clear();
        let far = match &self.history {
            Some(history) => history.index().find(&self.path, longest, &mut self.others),
            None => 0,
        };
        if far > near {
            std::mem::swap(&mut self.followers, &mut self.others);
        } else if far == near {
            self.followers.iter_mut().for_each(|follower| follower.count *= NEARNESS);
            for other in &self.others {
                match self.followers.iter_mut().find(|follower| follower.token == other.token) {
                    Some(follower) => follower.count += other.count,
                    None => self.followers.push(*other),
                }
            }
        }
        near.max(far)
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
        Ok(())
    }

    fn end_answer(&mut self, answer: &[u32]) -> Result<()> {
        if let Some(Err(error)) = self.history.as_mut().map(|history| history.append(answer)) {
            tracing::warn!(%error, "this answer is not kept for later drafts");
        }
        Ok(())
    }

    fn draft(&mut self, context: &[u32], draft: &mut Draft<'_>) -> Result<()> {
        self.path.clear();
        self.path.extend_from_slice(&context[context.len().saturating_sub(MAX_MATCH)..]);
        let mut longest = MAX_MATCH;
        let mut parent = None;
        for _ in 0..draft.max_depth() {
            let match_len = self.find(longest);
            if match_len < MIN_MATCH {
                break;
            }
            let total: f32 = self.followers.iter().map(|follower| follower.count).sum();
            let strength = STRENGTHS[match_len.min(STRENGTHS.len() - 1)];
            self.candidates.clear();
            self.candidates.extend(self.followers.iter().map(|follower| Candidate {
                token: follower.token,
                log_prob: (strength * follower.count / total).ln(),
                confidence: 0.0,
            }));
            draft.rank(parent, &mut self.candidates);
            let mut first = None;
            for (i, candidate) in self.candidates.iter().take(draft.max_width()).enumerate() {
                let node = draft.propose(parent, candidate.token, candidate.confidence);
                first = if i == 0 { node } else { first };
            }
            let Some(node) = first else { break };
            self.path.push(draft.nodes()[node].token);
            parent = Some(node);
            longest = match_len + 1;
        }
        Ok(())
    }
}
