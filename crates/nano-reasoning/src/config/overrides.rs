//! Values that win over file and defaults: a command's flags, or what a program that uses this library
//! sets.

use super::LearningStrategy;
use super::limits::{self, Limit};
use crate::tier::Tier;
use crate::{Error, Result};

/// Values given by flags or by the calling program; `None` leaves a value alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// `--force-tier`
    pub force_tier: Option<Tier>,
    /// `--gpu-utilization`: share of the machine, above 0 and at most 1.
    pub gpu_utilization_target: Option<f64>,
    /// `--npu`
    pub enable_npu_offload: Option<bool>,
    /// `--model`: a name of the catalogue, a path or an id of the Hub.
    pub target_model_id: Option<String>,
    /// `--drafter-model`: as the target's.
    pub drafter_model_id: Option<String>,
    /// `--max-tokens`
    pub max_tokens: Option<u32>,
    /// `--temperature`: 0 is greedy.
    pub temperature: Option<f64>,
    /// `--draft-count`: longest draft in tokens; 0 turns speculation off.
    pub draft_count: Option<u32>,
    /// `--training`
    pub is_training_enabled: Option<bool>,
    /// `--strategy`
    pub strategy: Option<LearningStrategy>,
    /// `--learning-rate`
    pub learning_rate: Option<f64>,
    /// `--batch-size`
    pub batch_size: Option<u32>,
    /// `--buffer-capacity`: rejections kept to learn from.
    pub buffer_capacity: Option<u32>,
}

impl Overrides {
    /// Checks the numbers against what they may be.
    ///
    /// # Errors
    /// [`Error::BadOverride`] for the first that is out of range.
    pub fn check(&self) -> Result<()> {
        check("--gpu-utilization", self.gpu_utilization_target, &limits::GPU_UTILIZATION)?;
        check("--max-tokens", self.max_tokens, &limits::MAX_TOKENS)?;
        check("--temperature", self.temperature, &limits::TEMPERATURE)?;
        check("--draft-count", self.draft_count, &limits::DRAFT_COUNT)?;
        check("--learning-rate", self.learning_rate, &limits::LEARNING_RATE)?;
        check("--batch-size", self.batch_size, &limits::BATCH_SIZE)?;
        check("--buffer-capacity", self.buffer_capacity, &limits::BUFFER_CAPACITY)
    }
}

fn check<T: PartialOrd + ToString + Copy>(
    name: &'static str,
    value: Option<T>,
    limit: &Limit<T>,
) -> Result<()> {
    match value.filter(|&value| !limit.allows(value)) {
        Some(value) => Err(Error::BadOverride { name, found: value.to_string(), wanted: limit.wanted }),
        None => Ok(()),
    }
}
