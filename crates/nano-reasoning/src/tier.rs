//! Tiers: which models a machine runs well.
//!
//! Decoding reads every weight once a token, so a target gives about bandwidth ÷ bytes tokens a second,
//! whatever the code. A tier is picked if the chip is new enough, the memory holds its models, and its
//! target would decode at a usable speed; of those, the largest.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::hardware::{Bandwidth, ChipKind, Hardware};
use crate::near_miss::near_miss;
use crate::quantity::MemorySize;
use crate::store::{Catalogue, Entry};
use crate::{Error, Result};

/// Tokens of context that a tier's models must fit memory with.
pub const CONTEXT_LEN: usize = 8192;

/// A class of machines, smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Machines slower than an Apple M1, or with less memory.
    Compact,
    /// 16 GB, as an M1 or M2.
    Entry,
    /// 24 GB and more.
    Pro,
    /// Apple M4 and later with 36 GB and more.
    Elite,
}

/// How a tier's drafter learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speculator {
    /// Its weights stay as they are.
    Frozen,
    /// Low-rank adapters on it learn while it runs.
    AdaptiveLora,
    /// A whole EAGLE head learns while it runs.
    FullEagle,
}

/// What was picked for a machine, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierChoice {
    /// The tier.
    pub tier: Tier,
    /// Whether it was forced.
    pub is_forced: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// What speaks against a choice that was forced, or against running it right now.
    pub warnings: Vec<String>,
    /// Catalogue name of the target.
    pub target: String,
    /// Catalogue name of the drafter; `None` if the memory holds the target alone.
    pub drafter: Option<String>,
    /// How the drafter learns.
    pub speculator: Speculator,
    /// Whether work is offloaded to a neural accelerator.
    pub uses_npu: bool,
    /// Tokens a second that memory bandwidth allows the target, without speculation.
    pub estimated_tokens_per_s: Option<f64>,
    /// Memory for the weights and KV caches of [`CONTEXT_LEN`] tokens.
    pub needed_bytes: u64,
}

/// What a tier consists of and asks for.
struct Spec {
    target: &'static str,
    speculator: Speculator,
    /// Installed memory, in GiB.
    min_memory_gib: u64,
    /// Oldest Apple M generation; `None` for any chip.
    min_apple_generation: Option<u8>,
    /// Slowest usable decode, in tokens a second.
    min_tokens_per_s: f64,
}

impl Tier {
    /// All tiers, smallest first.
    pub const ALL: [Self; 4] = [Self::Compact, Self::Entry, Self::Pro, Self::Elite];

    /// Its name in lower case, as configuration and flags write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Entry => "entry",
            Self::Pro => "pro",
            Self::Elite => "elite",
        }
    }

    /// How its drafter learns.
    pub fn speculator(self) -> Speculator {
        self.spec().speculator
    }

    fn spec(self) -> Spec {
        // Floors: an M1 (68 GB/s by the data sheet) gives Entry's 2.1 GB about 28 tokens/s; 20 leaves
        // room for a noisy measurement and still keeps slower machines in Compact. 12 and 8 tokens/s are
        // about the speed of fast and of comfortable reading.
        match self {
            Self::Compact => Spec {
                target: "qwen2.5-coder-1.5b",
                speculator: Speculator::Frozen,
                min_memory_gib: 0,
                min_apple_generation: None,
                min_tokens_per_s: 0.0,
            },
            Self::Entry => Spec {
                target: "qwen2.5-3b",
                speculator: Speculator::Frozen,
                min_memory_gib: 16,
                min_apple_generation: None,
                min_tokens_per_s: 20.0,
            },
            Self::Pro => Spec {
                target: "qwen2.5-7b",
                speculator: Speculator::AdaptiveLora,
                min_memory_gib: 24,
                min_apple_generation: None,
                min_tokens_per_s: 12.0,
            },
            Self::Elite => Spec {
                target: "qwen2.5-32b",
                speculator: Speculator::FullEagle,
                min_memory_gib: 36,
                min_apple_generation: Some(4),
                min_tokens_per_s: 8.0,
            },
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compact => "Compact",
            Self::Entry => "Entry",
            Self::Pro => "Pro",
            Self::Elite => "Elite",
        })
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let tier = Self::ALL.into_iter().find(|tier| tier.name().eq_ignore_ascii_case(word));
        tier.ok_or_else(|| Error::UnknownTier {
            found: word.to_owned(),
            suggestion: near_miss(word, Self::ALL.map(Self::name)).map(str::to_owned),
        })
    }
}

/// Why a tier is not picked.
enum Obstacle {
    Chip { generation: u8 },
    Memory { gib: u64 },
    Fit { needed_bytes: u64, usable_bytes: u64 },
    Speed { tokens_per_s: f64, floor: f64, title: String },
    UnknownSpeed,
}

/// A tier on a machine.
struct Candidate<'a> {
    tier: Tier,
    spec: Spec,
    target: &'a Entry,
    drafter: Option<&'a Entry>,
    tokens_per_s: Option<f64>,
}

/// Picks the largest tier that the machine runs well, or checks the one that is forced.
///
/// # Errors
/// [`Error::TierDoesNotFit`] if a forced tier does not fit the memory, [`Error::NothingFits`] if none does,
/// [`Error::BadCatalogue`] if the catalogue lacks a tier's model.
pub fn choose(
    hardware: &Hardware,
    bandwidth: Option<Bandwidth>,
    forced: Option<Tier>,
    catalogue: &Catalogue,
) -> Result<TierChoice> {
    let usable_bytes = usable_bytes(hardware);
    if let Some(tier) = forced {
        let candidate = Candidate::new(tier, bandwidth, catalogue)?;
        return candidate.forced(hardware, bandwidth, usable_bytes);
    }
    let mut blocked = None;
    for tier in Tier::ALL.into_iter().rev() {
        let candidate = Candidate::new(tier, bandwidth, catalogue)?;
        match candidate.obstacle(hardware, usable_bytes) {
            None => return Ok(candidate.chosen(hardware, bandwidth, blocked.as_ref(), true)),
            // Compact asks for nothing but to fit, and its target may fit alone.
            Some(_) if tier == Tier::Compact && candidate.target_bytes() <= usable_bytes => {
                return Ok(candidate.chosen(hardware, bandwidth, blocked.as_ref(), false));
            }
            Some(_) if tier == Tier::Compact => {
                return Err(Error::NothingFits {
                    needed_bytes: candidate.target_bytes(),
                    usable_bytes,
                    memory_bytes: hardware.memory_bytes,
                });
            }
            Some(obstacle) => blocked = Some((tier, obstacle)),
        }
    }
    unreachable!("the loop returns at Compact")
}

/// Memory that models may take: a Mac's GPU is given two thirds of it, and other systems keep an eighth,
/// but at least 2 GiB (a quarter of a small memory) for themselves and other programs.
fn usable_bytes(hardware: &Hardware) -> u64 {
    let total = hardware.memory_bytes;
    if matches!(hardware.chip.kind, ChipKind::Apple { .. }) {
        return total / 3 * 2;
    }
    total - (total / 8).max((2 << 30).min(total / 4))
}

/// Whether that many GiB are installed. Systems report up to a tenth less than what was sold.
fn has_memory(hardware: &Hardware, gib: u64) -> bool {
    hardware.memory_bytes >= (gib << 30) / 10 * 9
}

impl<'a> Candidate<'a> {
    fn new(tier: Tier, bandwidth: Option<Bandwidth>, catalogue: &'a Catalogue) -> Result<Self> {
        let spec = tier.spec();
        let target = catalogue.find(spec.target).ok_or_else(|| Error::BadCatalogue {
            model: spec.target.to_owned(),
            problem: format!("tier {tier} needs it and it is not there"),
        })?;
        let drafter = target.drafter.as_ref().and_then(|name| catalogue.find(name));
        let tokens_per_s = bandwidth.map(|bandwidth| bandwidth.gb_per_s * 1e9 / target.bytes() as f64);
        Ok(Self { tier, target, drafter, tokens_per_s, spec })
    }

    fn target_bytes(&self) -> u64 {
        memory_bytes(self.target)
    }

    fn needed_bytes(&self) -> u64 {
        self.target_bytes() + self.drafter.map_or(0, memory_bytes)
    }

    fn obstacle(&self, hardware: &Hardware, usable_bytes: u64) -> Option<Obstacle> {
        let is_too_old =
            |&generation: &u8| hardware.chip.apple_generation().is_none_or(|own| own < generation);
        if let Some(generation) = self.spec.min_apple_generation.filter(is_too_old) {
            return Some(Obstacle::Chip { generation });
        }
        if !has_memory(hardware, self.spec.min_memory_gib) {
            return Some(Obstacle::Memory { gib: self.spec.min_memory_gib });
        }
        if self.needed_bytes() > usable_bytes {
            return Some(Obstacle::Fit { needed_bytes: self.needed_bytes(), usable_bytes });
        }
        let floor = self.spec.min_tokens_per_s;
        match self.tokens_per_s {
            _ if floor <= 0.0 => None,
            None => Some(Obstacle::UnknownSpeed),
            Some(tokens_per_s) if tokens_per_s < floor => {
                Some(Obstacle::Speed { tokens_per_s, floor, title: self.target.title.clone() })
            }
            Some(_) => None,
        }
    }

    fn chosen(
        self,
        hardware: &Hardware,
        bandwidth: Option<Bandwidth>,
        blocked: Option<&(Tier, Obstacle)>,
        has_drafter: bool,
    ) -> TierChoice {
        let mut reason = format!("{}: {}", self.tier, self.portrait(hardware, bandwidth));
        if !has_drafter {
            reason += ", without a drafter, for which there is no memory";
        }
        if let Some((larger, obstacle)) = blocked {
            reason += &format!("; {}", obstacle.sentence(*larger));
        }
        self.into_choice(hardware, reason, Vec::new(), has_drafter, false)
    }

    fn forced(
        self,
        hardware: &Hardware,
        bandwidth: Option<Bandwidth>,
        usable_bytes: u64,
    ) -> Result<TierChoice> {
        if self.needed_bytes() > usable_bytes {
            return Err(Error::TierDoesNotFit {
                tier: self.tier,
                needed_bytes: self.needed_bytes(),
                usable_bytes,
                memory_bytes: hardware.memory_bytes,
                context_len: CONTEXT_LEN,
            });
        }
        let reason = format!("{}, as forced: {}", self.tier, self.portrait(hardware, bandwidth));
        let obstacle = self.obstacle(hardware, usable_bytes);
        let warnings = obstacle.iter().map(|obstacle| obstacle.sentence(self.tier)).collect();
        Ok(self.into_choice(hardware, reason, warnings, true, true))
    }

    /// `AMD EPYC with 23.5 GiB and 25.3 GB/s decodes Qwen2.5-… at up to 23 tokens/s`.
    fn portrait(&self, hardware: &Hardware, bandwidth: Option<Bandwidth>) -> String {
        let machine = format!("{} with {}", hardware.chip.name, MemorySize(hardware.memory_bytes));
        match (bandwidth, self.tokens_per_s) {
            (Some(bandwidth), Some(tokens_per_s)) => format!(
                "{machine} and {:.1} GB/s decodes {} at up to {tokens_per_s:.0} tokens/s",
                bandwidth.gb_per_s, self.target.title
            ),
            _ => format!("{machine} runs {}", self.target.title),
        }
    }

    fn into_choice(
        self,
        hardware: &Hardware,
        reason: String,
        mut warnings: Vec<String>,
        has_drafter: bool,
        is_forced: bool,
    ) -> TierChoice {
        let needed_bytes = if has_drafter { self.needed_bytes() } else { self.target_bytes() };
        if needed_bytes > hardware.available_bytes {
            warnings.push(format!(
                "the models need {} of memory and only {} are free now: close other programs",
                MemorySize(needed_bytes),
                MemorySize(hardware.available_bytes)
            ));
        }
        TierChoice {
            tier: self.tier,
            is_forced,
            reason,
            warnings,
            target: self.target.name.clone(),
            drafter: self.drafter.filter(|_| has_drafter).map(|drafter| drafter.name.clone()),
            speculator: self.spec.speculator,
            uses_npu: self.tier == Tier::Elite && hardware.npu.is_some(),
            estimated_tokens_per_s: self.tokens_per_s,
            needed_bytes,
        }
    }
}

impl Obstacle {
    fn sentence(&self, tier: Tier) -> String {
        match self {
            Self::Chip { generation } => format!("{tier} needs an Apple M{generation} or later"),
            Self::Memory { gib } => format!("{tier} needs {gib} GiB of memory"),
            Self::Fit { needed_bytes, usable_bytes } => format!(
                "{tier} needs {} for its models, and {} can be used",
                MemorySize(*needed_bytes),
                MemorySize(*usable_bytes)
            ),
            Self::Speed { tokens_per_s, floor, title } => {
                format!("{tier}'s {title} would decode {tokens_per_s:.0} tokens/s, and wants {floor:.0}")
            }
            Self::UnknownSpeed => format!("{tier} needs a measured memory bandwidth"),
        }
    }
}

/// Weights and KV cache of a model.
fn memory_bytes(entry: &Entry) -> u64 {
    entry.bytes() + entry.kv_bytes_per_token * CONTEXT_LEN as u64
}

#[cfg(test)]
mod tests;
