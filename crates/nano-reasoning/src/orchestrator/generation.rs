//! From prompt tokens to streamed text: a pass over the prompt, then cycles of a few tokens each.

use std::time::Instant;

use nano_reasoning_engine::{Sampler, SamplingParams};
use nano_reasoning_text::{StopStrings, TokenStream, Tokenizer};

use super::{Answer, Engine, FinishReason};
use crate::Result;

/// Prompt tokens between two questions whether to stop.
const PREFILL_CHUNK: usize = 256;

/// How tokens are drawn. The defaults are those of [`SamplingParams`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// `None` for the settings' temperature; 0 is greedy.
    pub temperature: Option<f32>,
    /// How many of the best tokens stay; 0 for all.
    pub top_k: Option<usize>,
    /// Probability that the tokens which stay add up to.
    pub top_p: Option<f32>,
    /// Share of the best token's probability that a token needs to stay.
    pub min_p: Option<f32>,
    /// Divides the logits of tokens seen lately.
    pub repetition_penalty: Option<f32>,
    /// The same seed draws the same tokens.
    pub seed: Option<u64>,
    /// Texts that end an answer; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end an answer, beside the model's own; they are not part of it.
    pub stop_tokens: Vec<u32>,
}

impl Sampling {
    /// # Errors
    /// [`crate::Error::Sampling`] for a value out of range.
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.params(0.7).validate()?)
    }

    /// # Errors
    /// [`crate::Error::StopToken`] for an id that `tokenizer` does not know.
    pub(super) fn check_tokens(&self, tokenizer: &Tokenizer) -> Result<()> {
        let vocab_size = tokenizer.vocab_size();
        match self.stop_tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(crate::Error::StopToken { token, vocab_size }),
            None => Ok(()),
        }
    }

    fn params(&self, default_temperature: f64) -> SamplingParams {
        let default = SamplingParams::default();
        SamplingParams {
            temperature: self.temperature.unwrap_or(default_temperature as f32),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            repetition_window: default.repetition_window,
            seed: self.seed,
        }
    }
}

/// Answers `prompt`, at `default_temperature` unless `sampling` has another.
pub(super) fn answer(
    engine: &mut Engine,
    prompt: &[u32],
    max_tokens: usize,
    sampling: &Sampling,
    default_temperature: f64,
    on_piece: &mut dyn FnMut(&str) -> bool,
) -> Result<Answer> {
    let mut sampler = Sampler::new(sampling.params(default_temperature))?;
    let mut history = prompt.to_vec();
    let mut output = Output::new(sampling);
    let context_len = engine.target.shape().context_len;
    if prompt.len() > context_len {
        let (wanted, used) = (prompt.len(), 0);
        return Err(nano_reasoning_engine::Error::ContextFull { wanted, used, context_len }.into());
    }

    let started = Instant::now();
    let n_cached_tokens = engine.reuse(prompt)?;
    let mut next = None;
    let mut finish = None;
    for chunk in prompt[n_cached_tokens..].chunks(PREFILL_CHUNK) {
        if !on_piece("") {
            finish = Some(FinishReason::Cancelled);
            break;
        }
        let is_last = engine.target.len() + chunk.len() == prompt.len();
        next = engine.prefill(chunk, is_last.then_some(prompt), &mut sampler)?;
    }
    let prefill_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let before = engine.decoder().statistics().clone();
    if finish.is_none() && max_tokens > 0 {
        let token = next.expect("the prompt's last pass gives a token");
        history.push(token);
        finish = output.take(&engine.tokenizer, token, on_piece);
    }
    let finish_reason = loop {
        let n_left = (prompt.len() + max_tokens).saturating_sub(history.len());
        match finish {
            Some(reason) => break reason,
            None if n_left == 0 => break FinishReason::MaxTokens,
            None if engine.target.len() == context_len => break FinishReason::ContextFull,
            None => {}
        }
        engine.cycle(&mut sampler, &mut history, n_left, &mut |tokenizer, token| {
            finish = output.take(tokenizer, token, on_piece);
            finish.is_none()
        })?;
    };
    let decode_s = started.elapsed().as_secs_f64();
    let speculation = engine.decoder().statistics().since(&before);
    if finish_reason != FinishReason::Cancelled {
        engine.end_answer(&history, prompt.len());
    }
    let mut tokens = history.split_off(prompt.len());
    tokens.pop_if(|token| ends(&engine.tokenizer, sampling, *token));
    let text = output.finish(on_piece);
    Ok(Answer {
        text,
        tokens,
        finish_reason,
        n_prompt_tokens: prompt.len(),
        n_cached_tokens,
        prefill_s,
        decode_s,
        speculation,
    })
}

/// Whether an answer ends before `token`.
fn ends(tokenizer: &Tokenizer, sampling: &Sampling, token: u32) -> bool {
    tokenizer.is_end(token) || sampling.stop_tokens.contains(&token)
}

/// Tokens to whole characters, up to a stop token or string.
struct Output<'a> {
    sampling: &'a Sampling,
    stream: TokenStream,
    stops: StopStrings,
    text: String,
    is_stopped: bool,
}

impl<'a> Output<'a> {
    fn new(sampling: &'a Sampling) -> Self {
        Self {
            sampling,
            stream: TokenStream::new(),
            stops: StopStrings::new(&sampling.stop),
            text: String::new(),
            is_stopped: false,
        }
    }

    /// Shows what `token` completes; a reason if the answer ends with it.
    fn take(
        &mut self,
        tokenizer: &Tokenizer,
        token: u32,
        on_piece: &mut dyn FnMut(&str) -> bool,
    ) -> Option<FinishReason> {
        if ends(tokenizer, self.sampling, token) {
            return Some(FinishReason::Stop);
        }
        let piece = self.stops.push(self.stream.push(tokenizer, token));
        self.text.push_str(piece.text);
        self.is_stopped = piece.is_stopped;
        if !on_piece(piece.text) {
            self.is_stopped = true;
            return Some(FinishReason::Cancelled);
        }
        piece.is_stopped.then_some(FinishReason::Stop)
    }

    /// Shows what was held back, unless the answer was stopped, and gives the whole text.
    fn finish(mut self, on_piece: &mut dyn FnMut(&str) -> bool) -> String {
        if !self.is_stopped {
            let held =
                [self.stops.push(self.stream.finish()).text.to_owned(), self.stops.finish().to_owned()];
            for text in held.iter().filter(|text| !text.is_empty()) {
                self.text.push_str(text);
                on_piece(text);
            }
        }
        self.text
    }
}
