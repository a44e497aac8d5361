//! What verification computed anyway, written down once for training.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use nano_reasoning_speculate::{Observer, Verification};

use crate::Sample;

/// Tokens before and in an answer that are kept at most: what lies further back, drafts see little of.
const MAX_TOKENS: usize = 1024;

/// Who takes the samples of a [`Recorder`].
pub trait SampleSink: Send {
    /// Whether the answer that has just ended is wanted.
    fn is_open(&self) -> bool {
        true
    }

    /// Takes an answer. Called between cycles: it returns soon.
    fn take(&mut self, sample: Sample);
}

/// Where recorders send what they have, until nobody listens any more.
#[derive(Default)]
pub(crate) struct Outlet {
    pub(crate) samples: Option<SyncSender<Sample>>,
    /// Whether somebody wants to hear for the time being.
    pub(crate) is_open: bool,
    /// Samples that were taken.
    pub(crate) n_sent: u64,
}

impl SampleSink for Arc<Mutex<Outlet>> {
    fn is_open(&self) -> bool {
        let outlet = self.lock().unwrap_or_else(PoisonError::into_inner);
        outlet.is_open && outlet.samples.is_some()
    }

    fn take(&mut self, sample: Sample) {
        let mut outlet = self.lock().unwrap_or_else(PoisonError::into_inner);
        let Outlet { samples: Some(samples), n_sent, .. } = &mut *outlet else { return };
        // A trainer that is behind has enough to learn from.
        *n_sent += u64::from(samples.try_send(sample).is_ok());
    }
}

/// Keeps the hidden states of the sequence at hand, and hands each answer on as a [`Sample`].
pub struct Recorder {
    sink: Box<dyn SampleSink>,
    /// Position of the first token that is kept.
    position: usize,
    tokens: Vec<u32>,
    /// Taps, `[tokens.len(), width]`.
    states: Vec<f16>,
    width: usize,
    /// Of the answer at hand: its tokens before the last ones of `tokens` have no hidden states.
    hidden: Vec<f16>,
    hidden_dim: usize,
    first_hidden: usize,
}

impl Recorder {
    /// A recorder for `sink`.
    pub fn new(sink: Box<dyn SampleSink>) -> Self {
        Self {
            sink,
            position: 0,
            tokens: Vec::new(),
            states: Vec::new(),
            width: 0,
            hidden: Vec::new(),
            hidden_dim: 0,
            first_hidden: 0,
        }
    }

    /// Where the next token is expected.
    fn end(&self) -> usize {
        self.position + self.tokens.len()
    }

    /// Makes `position` the next token's: what lies beyond is forgotten, and all where some before it are missing.
    fn go_to(&mut self, position: usize) {
        if position < self.position || position > self.end() {
            self.forget(0);
            self.position = position;
        } else {
            self.forget(position - self.position);
        }
    }

    /// Keeps the first `n_tokens` alone.
    fn forget(&mut self, n_tokens: usize) {
        self.tokens.truncate(n_tokens);
        self.states.truncate(n_tokens * self.width);
        self.first_hidden = self.first_hidden.min(n_tokens);
        self.hidden.truncate((n_tokens - self.first_hidden) * self.hidden_dim);
    }

    /// Drops the oldest tokens so that `n_more` have room.
    fn make_room(&mut self, n_more: usize) {
        let n_tokens = self.tokens.len();
        if n_tokens + n_more <= 2 * MAX_TOKENS {
            return;
        }
        let n_old = n_tokens - MAX_TOKENS.min(n_tokens);
        self.position += n_old;
        self.tokens.drain(..n_old);
        self.states.drain(..n_old * self.width);
        let n_hidden = n_old.saturating_sub(self.first_hidden);
        self.hidden.drain(..n_hidden * self.hidden_dim);
        self.first_hidden = self.first_hidden.saturating_sub(n_old);
    }

    fn add(&mut self, token: u32, taps: &[f32]) {
        self.tokens.push(token);
        self.width = taps.len();
        push(&mut self.states, taps);
    }
}

/// Appends `values` as 16-bit numbers; what is beyond those becomes the largest.
fn push(to: &mut Vec<f16>, values: &[f32]) {
    let start = to.len();
    to.resize(start + values.len(), f16::ZERO);
    to[start..].convert_from_f32_slice(values);
    for value in to[start..].iter_mut().filter(|value| value.is_infinite()) {
        *value = f16::MAX.copysign(*value);
    }
}

impl Observer for Recorder {
    fn prefilled(&mut self, position: usize, tokens: &[u32], taps: &[f32]) {
        self.go_to(position);
        // Without a head nothing is tapped.
        let width = taps.len() / tokens.len().max(1);
        let n_skipped = tokens.len().saturating_sub(MAX_TOKENS);
        if n_skipped > 0 {
            self.forget(0);
            self.position = position + n_skipped;
        }
        self.make_room(tokens.len() - n_skipped);
        for (i, token) in tokens.iter().enumerate().skip(n_skipped) {
            self.add(*token, &taps[i * width..][..width]);
        }
        self.hidden.clear();
        self.first_hidden = self.tokens.len();
    }

    fn observe(&mut self, verification: &Verification<'_>) {
        let Verification { tree, path, taps, hidden, .. } = *verification;
        let position = verification.history.len() - verification.num_emitted - 1;
        self.go_to(position);
        self.make_room(path.len());
        let (width, hidden_dim) = (taps.len() / tree.len(), hidden.len() / tree.len());
        self.hidden_dim = hidden_dim;
        for &row in path {
            self.add(tree.tokens()[row], &taps[row * width..][..width]);
            push(&mut self.hidden, &hidden[row * hidden_dim..][..hidden_dim]);
        }
    }

    fn truncated(&mut self, len: usize) {
        if len < self.end() {
            self.go_to(len);
        }
    }

    fn answered(&mut self) {
        let n_tokens = self.tokens.len();
        if self.first_hidden + 2 >= n_tokens || !self.sink.is_open() {
            return;
        }
        let n_old = n_tokens.saturating_sub(MAX_TOKENS).min(self.first_hidden);
        let first_hidden = self.first_hidden - n_old;
        self.sink.take(Sample {
            position: self.position + n_old,
            tokens: self.tokens[n_old..].to_vec(),
            states: self.states[n_old * self.width..].to_vec(),
            first_hidden,
            hidden: self.hidden.clone(),
            is_answer: (0..n_tokens - n_old).map(|index| index >= first_hidden).collect(),
        });
    }
}
