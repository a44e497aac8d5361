//! Answers of the model with its hidden states, one file each.
//!
//! The model answers given prompts, or, *self-prompted*, requests that it writes itself from a few first words: these are
//! of the kind that it knows, and need no data. Answers are greedy, as drafts are judged by the likeliest token.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nano_reasoning_engine::Error::ContextFull;
use nano_reasoning_text::Message;
use nano_reasoning_train::{Recorder, Sample, SampleInfo, SampleSink};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::openers::opener;
use super::{DistillFolder, Manifest, VERSION, train};
use crate::orchestrator::{FinishReason, Orchestrator, Sampling};
use crate::{Error, Result};

/// Longest request that the model writes itself, in tokens.
const REQUEST_TOKENS: usize = 64;
/// How freely it writes one.
const REQUEST_TEMPERATURE: f32 = 0.8;
/// An answer in which so many tokens in a row …
const LOOP_LEN: usize = 8;
/// … come so often goes in circles: a head would learn the circle.
const LOOP_COUNT: usize = 6;
/// Answers shorter than this teach nothing.
const MIN_BASES: usize = 4;

/// What a user says, one message after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistillPrompt {
    /// Its name, which no other of its task has.
    pub id: String,
    /// The kind of request.
    pub task: String,
    /// The messages.
    pub turns: Vec<String>,
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CollectorStatistics {
    /// Answers that are kept.
    pub n_kept: usize,
    /// Answers that are not.
    pub n_dropped: usize,
    /// Prompts that were answered before.
    pub n_there: usize,
    /// Tokens of the answers that are kept.
    pub n_tokens: usize,
    /// Bytes of those on disk.
    pub n_bytes: u64,
    /// Seconds for prompts, answers and files.
    pub collect_s: f64,
}

/// Where the recorder leaves an answer.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Option<Sample>>>);

impl Inbox {
    /// The answer that has ended, if one has.
    fn empty(&self) -> Option<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl SampleSink for Inbox {
    fn take(&mut self, sample: Sample) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
    }
}

/// Lets a model answer, and keeps what it computed.
pub struct Collector<'a> {
    orchestrator: &'a mut Orchestrator,
    folder: DistillFolder,
    inbox: Inbox,
    target: String,
    taps: Vec<usize>,
    hidden_dim: usize,
    dropped: BTreeMap<String, String>,
    statistics: CollectorStatistics,
}

impl<'a> Collector<'a> {
    /// Collects answers of the model of `orchestrator`, with what the head that it has reads, or a new one would.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], [`Error::BadDistillFolder`] if the folder holds another model's answers, and whatever is
    /// wrong with the head.
    pub fn new(orchestrator: &'a mut Orchestrator, folder: &DistillFolder) -> Result<Self> {
        let taps = train::taps(orchestrator)?;
        let engine = orchestrator.engine().ok_or(Error::NotInitialized)?;
        let manifest = Manifest {
            version: VERSION,
            model: engine.info.model.clone(),
            target: format!("{:016x}", engine.model().fingerprint()),
            taps: taps.clone(),
            hidden_dim: engine.model().config().hidden_dim,
        };
        folder.belong_to(&manifest)?;
        engine.target.set_taps(&taps);
        let inbox = Inbox::default();
        engine.add_observer(Box::new(Recorder::new(Box::new(inbox.clone()))));
        let Manifest { target, hidden_dim, .. } = manifest;
        let (dropped, statistics) = (folder.dropped()?, CollectorStatistics::default());
        Ok(Self {
            orchestrator,
            folder: folder.clone(),
            inbox,
            target,
            taps,
            hidden_dim,
            dropped,
            statistics,
        })
    }

    /// What was collected so far.
    pub fn statistics(&self) -> &CollectorStatistics {
        &self.statistics
    }

    /// Answers all turns of `prompt`, unless it was answered before. `goes_on` is asked again and again, and stops it;
    /// returns false then.
    ///
    /// # Errors
    /// The engine's, or if a file cannot be written.
    pub fn prompt(
        &mut self,
        prompt: &DistillPrompt,
        max_tokens: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let names: Vec<String> = (1..=prompt.turns.len()).map(|n| name(prompt, n)).collect();
        if self.is_there(&names) {
            self.statistics.n_there += 1;
            return Ok(true);
        }
        self.converse(prompt, &names, max_tokens, goes_on)
    }

    /// Answers all turns of `prompt`, and keeps the answers under `names`.
    fn converse(
        &mut self,
        prompt: &DistillPrompt,
        names: &[String],
        max_tokens: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let started = Instant::now();
        self.engine().reset()?;
        let mut messages = Vec::new();
        for (n, (turn, name)) in prompt.turns.iter().zip(names).enumerate() {
            messages.push(Message::user(turn));
            let tokens = self.engine().encode(&messages)?;
            let greedy = Sampling { temperature: Some(0.0), ..Sampling::default() };
            let answer = match self.orchestrator.complete(&tokens, max_tokens, &greedy, &mut |_| goes_on()) {
                Err(Error::Engine(ContextFull { .. })) => {
                    self.drop_answer(name, "it does not fit the context")?;
                    break;
                }
                answer => answer?,
            };
            let sample = self.inbox.empty();
            if answer.finish_reason == FinishReason::Cancelled {
                return Ok(false);
            }
            let reason = match &sample {
                _ if is_looping(&answer.tokens) => Some("it goes in circles"),
                Some(sample) if sample.n_bases() >= MIN_BASES => None,
                _ => Some("it is too short"),
            };
            if let Some(reason) = reason {
                self.drop_answer(name, reason)?;
                break;
            }
            let path = self.folder.sample(name);
            if let Some(sample) = sample.filter(|_| !path.exists()) {
                let info = SampleInfo {
                    id: format!("{}/{}/{n}", prompt.task, prompt.id),
                    task: prompt.task.clone(),
                    target: self.target.clone(),
                    taps: self.taps.clone(),
                    hidden_dim: self.hidden_dim,
                };
                let bytes = sample.to_bytes(&info);
                self.folder.write(&path, &bytes)?;
                self.statistics.n_kept += 1;
                self.statistics.n_tokens += answer.tokens.len();
                self.statistics.n_bytes += bytes.len() as u64;
            }
            messages.push(Message::assistant(answer.text));
        }
        self.statistics.collect_s += started.elapsed().as_secs_f64();
        Ok(true)
    }

    /// Lets the model write request `number` of those that `seed` fixes, and answers it; see [`Self::prompt`].
    ///
    /// # Errors
    /// As [`Self::prompt`]; [`Error::NoTurnEnd`] if the model's chat template does not mark where a request ends.
    pub fn self_prompt(
        &mut self,
        number: usize,
        seed: u64,
        max_tokens: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (task, words) = opener(number);
        let (id, task, words) = (format!("self-{seed}-{number}"), task.to_owned(), words.to_owned());
        let mut prompt = DistillPrompt { id, task, turns: vec![words.clone()] };
        // Named by where it came from, so that it need not be written to know whether it was answered.
        let names = [name(&prompt, 1)];
        if self.is_there(&names) {
            self.statistics.n_there += 1;
            return Ok(true);
        }
        let started = Instant::now();
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64);
        let request = self.request(&words, seed, goes_on)?;
        self.statistics.collect_s += started.elapsed().as_secs_f64();
        let Some(request) = request else { return Ok(false) };
        prompt.turns = vec![request];
        self.converse(&prompt, &names, max_tokens, goes_on)
    }

    /// A request that begins with `words`; `None` if it was stopped.
    fn request(
        &mut self,
        words: &str,
        seed: u64,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<String>> {
        let engine = self.engine();
        engine.reset()?;
        let mut tokens = engine.tokenizer.encode_chat(&engine.template, &[Message::user(words)], false)?;
        let end = tokens.iter().rposition(|&token| engine.tokenizer.is_end(token));
        let end = end.ok_or_else(|| Error::NoTurnEnd { target: engine.info.model.clone() })?;
        tokens.truncate(end);
        // It is no answer, and drafters need not know it.
        engine.set_remembering(false);
        let sampling = Sampling {
            temperature: Some(REQUEST_TEMPERATURE),
            top_p: Some(0.95),
            seed: Some(seed),
            ..Sampling::default()
        };
        let answer = self.orchestrator.complete(&tokens, REQUEST_TOKENS, &sampling, &mut |_| goes_on());
        self.engine().set_remembering(true);
        let answer = answer?;
        if answer.finish_reason == FinishReason::Cancelled {
            return Ok(None);
        }
        let mut text = answer.text;
        // What was cut ends where its last sentence does.
        if answer.finish_reason == FinishReason::MaxTokens
            && let Some(last) = text.rfind(['.', '?', '!', '\n'])
        {
            text.truncate(last + 1);
        }
        Ok(Some(format!("{words}{text}").trim().to_owned()))
    }

    /// Remembers that the answer called `name` is not worth making again.
    fn drop_answer(&mut self, name: &str, reason: &str) -> Result<()> {
        self.dropped.insert(name.into(), reason.into());
        self.statistics.n_dropped += 1;
        self.folder.write_json("dropped.json", &self.dropped)
    }

    fn engine(&mut self) -> &mut crate::Engine {
        self.orchestrator.engine().expect("it was there at the start")
    }

    /// Whether the answers of these names are all there, up to one that was dropped.
    fn is_there(&self, names: &[String]) -> bool {
        for name in names {
            if self.dropped.contains_key(name) {
                return true;
            }
            if !self.folder.sample(name).exists() {
                return false;
            }
        }
        true
    }
}

/// The name of the file for the answer to the first `n_turns` turns.
fn name(prompt: &DistillPrompt, n_turns: usize) -> String {
    let mut hash = Sha256::new();
    for part in [&prompt.task, &prompt.id].into_iter().chain(&prompt.turns[..n_turns]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether some tokens in a row come again and again.
fn is_looping(tokens: &[u32]) -> bool {
    let mut counts: HashMap<&[u32], usize> = HashMap::new();
    tokens.windows(LOOP_LEN).any(|window| {
        let count = counts.entry(window).or_default();
        *count += 1;
        *count >= LOOP_COUNT
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_repetition_alone_is_none() {
        let circle: Vec<u32> = (0..200).map(|i| i % 20).collect();
        assert!(is_looping(&circle));
        assert!(!is_looping(&circle[..100]));
        assert!(!is_looping(&(0..500).collect::<Vec<_>>()));
        assert!(!is_looping(&[1; 12]));
        assert!(is_looping(&[1; 13]));
    }

    #[test]
    fn a_name_is_of_all_that_was_said() {
        let prompt = |id: &str, turns: &[&str]| DistillPrompt {
            id: id.into(),
            task: "code".into(),
            turns: turns.iter().map(|&turn| turn.into()).collect(),
        };
        let two = prompt("1", &["a", "b"]);
        let names =
            [name(&two, 1), name(&two, 2), name(&prompt("1", &["ab"]), 1), name(&prompt("2", &["a"]), 1)];
        for (i, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 24);
            assert!(!names[..i].contains(name));
        }
        assert_eq!(names[0], name(&prompt("1", &["a"]), 1));
    }
}
