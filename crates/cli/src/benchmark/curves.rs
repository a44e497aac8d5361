//! How drafting went from answer to answer, for `--plot`: the same prompts by three ways of drafting, one after the other,
//! so that no more than one model is in memory. Each starts with the held-out prompts, plain and drafted, of which it
//! keeps nothing, as the one that trains does: costs are known then.

use nano_reasoning::config::LearningStrategy;
use nano_reasoning::{DrafterChoice, GenerationConfig};
use serde_json::{Value, json};

use super::prompts::{Prompt, Sums, answer};
use crate::progress::Spinner;
use crate::session::Session;

/// One way of drafting.
pub(super) struct Curve {
    pub(super) name: &'static str,
    /// What each answer took, in order.
    pub(super) answers: Vec<Sums>,
}

/// What is drawn of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Tokens generated until its end.
    pub(super) n_tokens: usize,
    /// `None` where nothing was drafted.
    pub(super) acceptance_rate: Option<f64>,
    pub(super) tokens_per_second: f64,
}

impl Curve {
    /// A point for each answer, of it and those up to `reach` before and after it taken together.
    pub(super) fn points(&self, reach: usize) -> Vec<Point> {
        let mut n_tokens = 0;
        let point = |i: usize| {
            let mut window = Sums::default();
            let near = i.saturating_sub(reach)..(i + reach + 1).min(self.answers.len());
            self.answers[near].iter().for_each(|sums| window.add(sums));
            n_tokens += self.answers[i].n_tokens;
            let (acceptance_rate, tokens_per_second) = (window.acceptance_rate(), window.tokens_per_second());
            Point { n_tokens, acceptance_rate, tokens_per_second }
        };
        (0..self.answers.len()).map(point).collect()
    }

    pub(super) fn json(&self) -> Value {
        let answers = self.points(0).into_iter().map(|point| {
            json!({
                "n_tokens_so_far": point.n_tokens,
                "acceptance_rate": point.acceptance_rate,
                "tokens_per_second": point.tokens_per_second,
            })
        });
        json!({ "name": self.name, "answers": answers.collect::<Vec<_>>() })
    }
}

/// The answers to `train` with everything that learns but gradients, and with what was written before alone.
pub(super) fn without_training(
    config: &GenerationConfig,
    max_tokens: usize,
    train: &[Prompt],
    held_out: &[Prompt],
) -> anyhow::Result<[Curve; 2]> {
    let mut off = config.clone();
    off.overrides.is_training_enabled = Some(false);
    off.overrides.strategy = Some(LearningStrategy::Frozen);
    let mut ngram = off.clone();
    ngram.speculation.drafter = DrafterChoice::Ngram;
    ngram.speculation.head = None;
    ngram.overrides.drafter_model_id = None;
    Ok([
        measure("training off", off, max_tokens, train, held_out)?,
        measure("n-gram only", ngram, max_tokens, train, held_out)?,
    ])
}

fn measure(
    name: &'static str,
    mut config: GenerationConfig,
    max_tokens: usize,
    train: &[Prompt],
    held_out: &[Prompt],
) -> anyhow::Result<Curve> {
    let store = tempfile::tempdir()?;
    config.speculation.memory_dir = Some(store.path().into());
    let mut session = Session::open(config)?;
    session.orchestrator.engine().expect("it is initialized").set_remembering(false);
    for (i, prompt) in (1..).zip(held_out) {
        let _spinner = Spinner::new(format!("{name}, warming up, prompt {i} of {}", held_out.len()));
        for is_plain in [true, false] {
            answer(&mut session, prompt, max_tokens, is_plain, &mut Sums::default())?;
        }
    }
    session.orchestrator.engine().expect("it is initialized").set_remembering(true);
    let mut answers = Vec::new();
    for (i, prompt) in (1..).zip(train) {
        let _spinner = Spinner::new(format!("{name}, prompt {i} of {}", train.len()));
        let mut sums = Sums::default();
        answer(&mut session, prompt, max_tokens, false, &mut sums)?;
        answers.push(sums);
    }
    Ok(Curve { name, answers })
}
