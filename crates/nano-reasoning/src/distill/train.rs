//! A head learnt from the answers of a folder.

use std::sync::Arc;
use std::time::Instant;

use nano_reasoning_engine::DraftHead;
use nano_reasoning_model::{CpuModel, Eagle3Head, HeadConfig, HeadOptions, HeadValues};
use nano_reasoning_train::{
    Checkpoint, DistillOptions, DistillStep, Distillation, Evaluation, Fingerprints, HeadTrainer,
    HeadTraining, Random, SampleFile, Strategy, TokenCounts,
};
use serde::{Deserialize, Serialize};

use super::DistillFolder;
use crate::orchestrator::Orchestrator;
use crate::{Error, Result, heads};

/// Largest step for a new head, and for one that has learnt: it shall not forget.
const LEARNING_RATES: (f32, f32) = (5e-4, 1e-4);
/// Tokens of its own that a new head drafts over at most.
const CORE_VOCAB: usize = 12_288;

/// How a head is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistillSettings {
    /// Whether it is a new one even where the model has a head.
    pub is_from_scratch: bool,
    /// Steps of the whole run; `None` for as many as `n_passes` take.
    pub n_steps: Option<u64>,
    /// How often each answer is learnt from.
    pub n_passes: f64,
    /// Steps of the training-time test: how far drafts are learnt.
    pub draft_len: usize,
    /// Fixes where a new head starts and in what order it learns.
    pub seed: u64,
}

impl Default for DistillSettings {
    fn default() -> Self {
        Self { is_from_scratch: false, n_steps: None, n_passes: 10.0, draft_len: 3, seed: 1 }
    }
}

/// What is trained on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DistillSummary {
    /// Whether it began as a head that there was.
    pub is_of_head: bool,
    /// Numbers that are learnt.
    pub n_parameters: usize,
    /// Tokens of its own that it drafts over.
    pub n_core_tokens: usize,
    /// Answers that are learnt from.
    pub n_samples: usize,
    /// Answers that are held out.
    pub n_held_out: usize,
    /// Places of those answers from which drafts are learnt.
    pub n_rows: usize,
    /// Steps of the whole run.
    pub n_steps: u64,
    /// Of those, steps taken before.
    pub n_done: u64,
}

/// How the training went so far, as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct History {
    version: u32,
    model: String,
    /// What the head belongs to and began as.
    belongs_to: Fingerprints,
    draft_len: usize,
    n_steps: u64,
    n_parameters: usize,
    evaluations: Vec<Point>,
}

/// An evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    step: u64,
    loss: f64,
    mean_accepted_length: f64,
}

/// A head that learns.
pub struct HeadDistiller {
    folder: DistillFolder,
    target: Arc<CpuModel>,
    config: HeadConfig,
    distillation: Distillation,
    history: History,
    summary: DistillSummary,
    train_s: f64,
    n_trained: u64,
}

/// The head that a model has, or is given.
fn known_head(orchestrator: &mut Orchestrator, options: &HeadOptions) -> Result<Option<Eagle3Head>> {
    let path = orchestrator.config().speculation.head.clone();
    let engine = orchestrator.engine().ok_or(Error::NotInitialized)?;
    let file = heads::find(path.as_deref(), &engine.info.model)?;
    Ok(file.map(|file| file.load(engine.model(), 0, options)).transpose()?)
}

/// Layers whose inputs the model's head reads, or a new one would.
pub(super) fn taps(orchestrator: &mut Orchestrator) -> Result<Vec<usize>> {
    let known = known_head(orchestrator, &HeadOptions::default())?;
    taps_of(known.as_ref(), orchestrator)
}

fn taps_of(known: Option<&Eagle3Head>, orchestrator: &mut Orchestrator) -> Result<Vec<usize>> {
    if let Some(head) = known {
        return Ok(head.taps().to_vec());
    }
    let engine = orchestrator.engine().ok_or(Error::NotInitialized)?;
    Ok(HeadConfig::for_target(engine.model())?.taps)
}

impl HeadDistiller {
    /// Starts with the head that the model of `orchestrator` has, or is given, else with a new one; goes on where an
    /// earlier run stopped.
    ///
    /// # Errors
    /// If an answer or a checkpoint is broken or belongs to something else, there are too few answers, or memory is short.
    pub fn open(
        orchestrator: &mut Orchestrator,
        folder: &DistillFolder,
        settings: &DistillSettings,
    ) -> Result<Self> {
        let core_vocab = orchestrator.config().speculation.core_vocab.unwrap_or(CORE_VOCAB);
        let known = known_head(
            orchestrator,
            &HeadOptions { core_vocab: Some(core_vocab), ..HeadOptions::default() },
        )?;
        let taps = taps_of(known.as_ref(), orchestrator)?;
        let known = known.filter(|_| !settings.is_from_scratch);
        let is_of_head = known.is_some();
        let machine = orchestrator.machine().ok_or(Error::NotInitialized)?;
        let rate = &machine.settings.learning_rate;
        let learning_rate = match rate.source.is_set() {
            true => rate.value as f32,
            false if is_of_head => LEARNING_RATES.1,
            false => LEARNING_RATES.0,
        };
        let engine = orchestrator.engine().ok_or(Error::NotInitialized)?;
        let (target, model) = (engine.model().clone(), engine.info.model.clone());

        let fingerprint = format!("{:016x}", target.fingerprint());
        let hidden_dim = target.config().hidden_dim;
        let (mut files, mut counts) = (Vec::new(), TokenCounts::default());
        for path in folder.sample_paths()? {
            let (file, sample) = SampleFile::open(&path)?;
            file.check(&fingerprint, &taps, hidden_dim)?;
            counts.add(&sample);
            files.push(file);
        }
        let head = match known {
            Some(head) if head.has_output() => return Err(Error::OwnRows { target: model }),
            Some(head) => head,
            None => new_head(&target, taps, folder, &counts, core_vocab, settings.seed)?,
        };
        let config = head.layer().config().clone();
        let training = HeadTraining {
            strategy: Strategy::All,
            n_steps: settings.draft_len.max(1),
            seed: settings.seed,
            ..HeadTraining::default()
        };
        let trainer = HeadTrainer::new(&head, target.pool().clone(), training)?;
        let (n_parameters, n_core_tokens) = (trainer.n_parameters(), trainer.core_vocab().len());
        let belongs_to = trainer.fingerprints().clone();
        let options = DistillOptions { learning_rate, seed: settings.seed, ..DistillOptions::default() };
        let mut distillation = Distillation::new(trainer, files, options)?;
        let n_steps = settings.n_steps.unwrap_or_else(|| {
            (distillation.steps_of_epoch() as f64 * settings.n_passes).ceil().clamp(1.0, 1e9) as u64
        });
        distillation.set_steps(n_steps);
        restore(&mut distillation, folder)?;
        let n_done = distillation.trainer().n_steps();

        let (n_samples, n_held_out) = distillation.n_samples();
        let summary = DistillSummary {
            is_of_head,
            n_parameters,
            n_core_tokens,
            n_samples,
            n_held_out,
            n_rows: distillation.n_rows(),
            n_steps,
            n_done,
        };
        let earlier: Option<History> = folder.read_json("training.json")?;
        let mut evaluations = earlier
            .filter(|earlier| earlier.belongs_to == belongs_to)
            .map_or_else(Vec::new, |earlier| earlier.evaluations);
        evaluations.retain(|point| point.step <= n_done && n_done > 0);
        let draft_len = settings.draft_len;
        let history = History {
            version: super::VERSION,
            model,
            belongs_to,
            draft_len,
            n_steps,
            n_parameters,
            evaluations,
        };
        let (train_s, n_trained) = (0.0, 0);
        Ok(Self {
            folder: folder.clone(),
            target,
            config,
            distillation,
            history,
            summary,
            train_s,
            n_trained,
        })
    }

    /// What is trained on what.
    pub fn summary(&self) -> &DistillSummary {
        &self.summary
    }

    /// Whether all steps are taken.
    pub fn is_done(&self) -> bool {
        self.distillation.is_done()
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// As [`Distillation::step`].
    pub fn step(&mut self) -> Result<DistillStep> {
        let started = Instant::now();
        let step = self.distillation.step()?;
        self.train_s += started.elapsed().as_secs_f64();
        self.n_trained += step.n_rows as u64;
        Ok(step)
    }

    /// Rows learnt from a second, in this run.
    pub fn rows_per_second(&self) -> f64 {
        if self.train_s > 0.0 { self.n_trained as f64 / self.train_s } else { 0.0 }
    }

    /// How well held-out answers are guessed now. The head that does so best is written.
    ///
    /// # Errors
    /// If a file is no longer what it was, or the head cannot be written.
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let evaluation = self.distillation.evaluate()?;
        let Evaluation { loss, mean_accepted_length, .. } = evaluation;
        let step = self.distillation.trainer().n_steps();
        let is_best = self.best().is_none_or(|best| mean_accepted_length >= best);
        self.history.evaluations.retain(|point| point.step != step);
        self.history.evaluations.push(Point { step, loss, mean_accepted_length });
        if is_best {
            self.export()?;
        }
        self.folder.write_json("training.json", &self.history)?;
        Ok(evaluation)
    }

    /// Tokens a pass of the best head so far.
    pub fn best(&self) -> Option<f64> {
        self.history.evaluations.iter().map(|point| point.mean_accepted_length).max_by(f64::total_cmp)
    }

    /// Writes the whole state of training.
    ///
    /// # Errors
    /// [`Error::DistillFile`]; what was there is as it was then.
    pub fn save(&self) -> Result<()> {
        let bytes = self.distillation.checkpoint().to_bytes();
        self.folder.write(&self.folder.path(CHECKPOINT), &bytes)
    }

    /// Writes the head as it is now, for this program and, where they read such heads, for servers.
    fn export(&self) -> Result<()> {
        let trainer = self.distillation.trainer();
        let values = trainer.head_values();
        let head = Eagle3Head::from_values(&self.target, &self.config, &values, trainer.core_vocab(), 0)?;
        head.write_own_gguf(&self.folder.head())?;
        if self.config.taps.len() == 3 {
            head.write_folder(&self.folder.path("head"))?;
        }
        Ok(())
    }
}

/// The file with the state of training.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Goes on where an earlier run stopped, if one did.
fn restore(distillation: &mut Distillation, folder: &DistillFolder) -> Result<()> {
    let path = folder.path(CHECKPOINT);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(reason) => return Err(Error::DistillFile { action: "read", path, reason }),
    };
    let restored = Checkpoint::from_bytes(&bytes).and_then(|checkpoint| distillation.restore(&checkpoint));
    restored
        .map_err(|error| Error::BadCheckpoint { path, reason: format!("{error}; remove it to start anew") })
}

/// A head that has learnt nothing but what the target's last layer does.
fn new_head(
    target: &Arc<CpuModel>,
    taps: Vec<usize>,
    folder: &DistillFolder,
    counts: &TokenCounts,
    core_vocab: usize,
    seed: u64,
) -> Result<Eagle3Head> {
    let config = HeadConfig { taps, ..HeadConfig::for_target(target)? };
    let mut random = Random::new(seed);
    let values = HeadValues::warm_start(target, &config, &mut || random.normal());
    // More answers later do not change what the head is made of.
    let core: Vec<u32> = match folder.read_json("vocabulary.json")? {
        Some(core) => core,
        None => {
            let core = counts.most_frequent(core_vocab);
            if !core.is_empty() {
                folder.write_json("vocabulary.json", &core)?;
            }
            core
        }
    };
    if core.is_empty() {
        return Err(nano_reasoning_train::Error::NoSamples { found: 0 }.into());
    }
    Ok(Eagle3Head::from_values(target, &config, &values, &core, 0)?)
}
