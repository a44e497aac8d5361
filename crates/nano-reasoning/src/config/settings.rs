//! The values in force: flag, else file, else the tier's default, each with its source.

use serde::Serialize;

use super::{ConfigFile, LearningStrategy, Overrides, Setting, Source};
use crate::Result;
use crate::store::Catalogue;
use crate::tier::{Tier, TierChoice};

/// Longest draft where nobody set one: longer ones cost more in a pass than they bring.
const DRAFT_COUNT: u32 = 16;

/// The values in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The tier forced, if any.
    pub force_tier: Setting<Option<Tier>>,
    /// Share of the machine that all programs together may take while training goes on: of the processors, here.
    pub gpu_utilization_target: Setting<f64>,
    /// Whether a neural accelerator is used.
    pub enable_npu_offload: Setting<bool>,
    /// The target: a name of the catalogue, a path or an id of the Hub.
    pub target_model_id: Setting<String>,
    /// The draft model, as the target; `None` for none.
    pub drafter_model_id: Setting<Option<String>>,
    /// Longest answer, in tokens.
    pub max_tokens: Setting<u32>,
    /// Sampling temperature; 0 is greedy.
    pub temperature: Setting<f64>,
    /// Longest draft, in tokens, of which the cost model takes what pays; 0 turns speculation off.
    pub draft_count: Setting<u32>,
    /// Whether gradients change the drafter while it runs.
    pub is_training_enabled: Setting<bool>,
    /// What of it they change; [`LearningStrategy::Frozen`] where training is off.
    pub strategy: Setting<LearningStrategy>,
    /// Step size of learning; where nobody set one, what suits who learns, once [`crate::Machine`] knows that.
    pub learning_rate: Setting<f64>,
    /// Rejections learnt from in one step.
    pub batch_size: Setting<u32>,
    /// Rejections kept to learn from.
    pub buffer_capacity: Setting<u32>,
}

/// One value for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingRow {
    /// The key, as the configuration file writes it: `generation.maxTokens`.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// The tier that flags or file force. It must be known before [`crate::tier::choose`], whose choice
/// [`Settings::resolve`] then takes defaults from.
pub fn forced_tier(overrides: &Overrides, file: &ConfigFile) -> Setting<Option<Tier>> {
    let forced = given("--force-tier", &overrides.force_tier, &file.force_tier);
    forced.map_or(Setting::default_of(None), |tier| tier.map(Some))
}

impl Settings {
    /// The values in force on a machine with that choice of tier.
    ///
    /// The drafter is the one that the catalogue gives the target, unless it is set; a target that is in
    /// no catalogue has none, as another vocabulary would be of no use to it.
    ///
    /// # Errors
    /// [`crate::Error::BadOverride`] if an override is out of range.
    pub fn resolve(
        overrides: &Overrides,
        file: &ConfigFile,
        choice: &TierChoice,
        catalogue: &Catalogue,
    ) -> Result<Self> {
        overrides.check()?;
        let (o, f) = (overrides, file);
        let tier = Source::Tier(choice.tier);
        let target_model_id = given("--model", &o.target_model_id, &f.target_model_id)
            .unwrap_or_else(|| Setting { value: choice.target.clone(), source: tier.clone() });
        let default_drafter = || match catalogue.find(&target_model_id.value) {
            Some(entry) if entry.name == choice.target => {
                Setting { value: choice.drafter.clone(), source: tier.clone() }
            }
            Some(entry) => Setting::default_of(entry.drafter.clone()),
            None => Setting::default_of(None),
        };
        let (is_training_enabled, strategy) = training(o, f, choice);
        let longest = Source::DefaultFor("the longest draft that the cost model may pick");
        Ok(Self {
            force_tier: forced_tier(o, f),
            gpu_utilization_target: given(
                "--gpu-utilization",
                &o.gpu_utilization_target,
                &f.gpu_utilization_target,
            )
            .unwrap_or_else(|| Setting::default_of(0.85)),
            enable_npu_offload: given("--npu", &o.enable_npu_offload, &f.enable_npu_offload)
                .unwrap_or_else(|| Setting { value: choice.uses_npu, source: tier.clone() }),
            drafter_model_id: given("--drafter-model", &o.drafter_model_id, &f.drafter_model_id)
                .map_or_else(default_drafter, |drafter| drafter.map(Some)),
            max_tokens: given("--max-tokens", &o.max_tokens, &f.max_tokens)
                .unwrap_or_else(|| Setting::default_of(2048)),
            temperature: given("--temperature", &o.temperature, &f.temperature)
                .unwrap_or_else(|| Setting::default_of(0.7)),
            draft_count: given("--draft-count", &o.draft_count, &f.draft_count)
                .unwrap_or(Setting { value: DRAFT_COUNT, source: longest }),
            is_training_enabled,
            strategy,
            learning_rate: given("--learning-rate", &o.learning_rate, &f.learning_rate)
                .unwrap_or_else(|| Setting::default_of(1e-4)),
            batch_size: given("--batch-size", &o.batch_size, &f.batch_size)
                .unwrap_or_else(|| Setting::default_of(4)),
            buffer_capacity: given("--buffer-capacity", &o.buffer_capacity, &f.buffer_capacity)
                .unwrap_or_else(|| Setting::default_of(50)),
            target_model_id,
        })
    }

    /// All values for people to read, in the order of the configuration file.
    pub fn rows(&self) -> Vec<SettingRow> {
        vec![
            row("hardware.forceTier", &self.force_tier, |tier| tier.map_or("none", Tier::name).to_owned()),
            row("hardware.gpuUtilizationTarget", &self.gpu_utilization_target, f64::to_string),
            row("hardware.enableNPUOffload", &self.enable_npu_offload, bool::to_string),
            row("models.targetModelId", &self.target_model_id, String::clone),
            row("models.drafterModelId", &self.drafter_model_id, |id| {
                id.clone().unwrap_or_else(|| "none".to_owned())
            }),
            row("generation.maxTokens", &self.max_tokens, u32::to_string),
            row("generation.temperature", &self.temperature, f64::to_string),
            row("generation.draftCount", &self.draft_count, u32::to_string),
            row("training.enabled", &self.is_training_enabled, bool::to_string),
            row("training.strategy", &self.strategy, LearningStrategy::to_string),
            row("training.learningRate", &self.learning_rate, |rate| format!("{rate:e}")),
            row("training.batchSize", &self.batch_size, u32::to_string),
            row("training.bufferCapacity", &self.buffer_capacity, u32::to_string),
        ]
    }
}

/// Whether there is training, and what it changes: the same question asked twice, so that each answers the other.
fn training(
    overrides: &Overrides,
    file: &ConfigFile,
    choice: &TierChoice,
) -> (Setting<bool>, Setting<LearningStrategy>) {
    let enabled = given("--training", &overrides.is_training_enabled, &file.is_training_enabled);
    let strategy = given("--strategy", &overrides.strategy, &file.strategy);
    let of_tier = LearningStrategy::of(choice.speculator);
    let source = Source::Tier(choice.tier);
    match (enabled, strategy) {
        (None, None) => {
            (Setting { value: of_tier.trains(), source: source.clone() }, Setting { value: of_tier, source })
        }
        (None, Some(strategy)) => (strategy.clone().map(LearningStrategy::trains), strategy),
        (Some(enabled), None) => {
            let strategy = match enabled.value {
                false => enabled.clone().map(|_| LearningStrategy::Frozen),
                true if of_tier.trains() => Setting { value: of_tier, source },
                // Whoever turns on what the tier leaves off gets the cheapest.
                true => enabled.clone().map(|_| LearningStrategy::Lora),
            };
            (enabled, strategy)
        }
        // Training that is off stays off, unless the strategy comes from a stronger source.
        (Some(enabled), Some(strategy))
            if enabled.value || strategy.source.strength() > enabled.source.strength() =>
        {
            (strategy.clone().map(LearningStrategy::trains), strategy)
        }
        (Some(enabled), Some(_)) => (enabled.clone(), enabled.map(|_| LearningStrategy::Frozen)),
    }
}

/// The flag's value, else the file's.
fn given<T: Clone>(
    flag: &'static str,
    overridden: &Option<T>,
    file: &Option<Setting<T>>,
) -> Option<Setting<T>> {
    let overridden = overridden.clone().map(|value| Setting { value, source: Source::Flag(flag) });
    overridden.or_else(|| file.clone())
}

fn row<T>(key: &'static str, setting: &Setting<T>, show: impl FnOnce(&T) -> String) -> SettingRow {
    SettingRow { key, value: show(&setting.value), source: setting.source.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tier::Speculator;

    fn choice() -> TierChoice {
        TierChoice {
            tier: Tier::Pro,
            is_forced: false,
            reason: String::new(),
            warnings: Vec::new(),
            target: "qwen2.5-7b".to_owned(),
            drafter: Some("qwen2.5-0.5b".to_owned()),
            speculator: Speculator::AdaptiveLora,
            uses_npu: false,
            estimated_tokens_per_s: None,
            needed_bytes: 0,
        }
    }

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse(text, Path::new("c.json")).unwrap()
    }

    fn resolve(overrides: &Overrides, text: &str) -> Settings {
        Settings::resolve(overrides, &file(text), &choice(), Catalogue::builtin()).unwrap()
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let rows = resolve(&Overrides::default(), "{}").rows();
        let shown: Vec<String> =
            rows.iter().map(|row| format!("{}={} ({})", row.key, row.value, row.source)).collect();
        assert_eq!(
            shown,
            [
                "hardware.forceTier=none (default)",
                "hardware.gpuUtilizationTarget=0.85 (default)",
                "hardware.enableNPUOffload=false (tier Pro)",
                "models.targetModelId=qwen2.5-7b (tier Pro)",
                "models.drafterModelId=qwen2.5-0.5b (tier Pro)",
                "generation.maxTokens=2048 (default)",
                "generation.temperature=0.7 (default)",
                "generation.draftCount=16 (default for the longest draft that the cost model may pick)",
                "training.enabled=true (tier Pro)",
                "training.strategy=lora (tier Pro)",
                "training.learningRate=1e-4 (default)",
                "training.batchSize=4 (default)",
                "training.bufferCapacity=50 (default)",
            ]
        );
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let overrides = Overrides { max_tokens: Some(7), ..Overrides::default() };
        let text =
            "{\"generation\": {\"maxTokens\": 9,\n\"temperature\": 0.1},\"training\":{\"enabled\":false}}";
        let settings = resolve(&overrides, text);
        assert_eq!(settings.max_tokens, Setting { value: 7, source: Source::Flag("--max-tokens") });
        let from_file = |line| Source::File { path: "c.json".into(), line };
        assert_eq!(settings.temperature, Setting { value: 0.1, source: from_file(2) });
        assert_eq!(settings.is_training_enabled, Setting { value: false, source: from_file(2) });
        assert_eq!(settings.batch_size, Setting::default_of(4));
    }

    #[test]
    fn training_and_its_strategy_answer_each_other() {
        let shown = |training: Option<bool>, strategy: Option<LearningStrategy>, text: &str, speculator| {
            let overrides = Overrides { is_training_enabled: training, strategy, ..Overrides::default() };
            let choice = TierChoice { speculator, ..choice() };
            let settings = Settings::resolve(&overrides, &file(text), &choice, Catalogue::builtin()).unwrap();
            let (enabled, strategy) = (settings.is_training_enabled, settings.strategy);
            assert_eq!(enabled.value, strategy.value.trains());
            format!("{} ({}), {} ({})", enabled.value, enabled.source, strategy.value, strategy.source)
        };
        let (frozen, lora) = (Some(LearningStrategy::Frozen), Some(LearningStrategy::Lora));
        let (of_entry, of_pro) = (Speculator::Frozen, Speculator::AdaptiveLora);
        assert_eq!(shown(None, None, "", of_entry), "false (tier Pro), frozen (tier Pro)");
        assert_eq!(shown(None, None, "", Speculator::FullEagle), "true (tier Pro), eagle (tier Pro)");
        assert_eq!(shown(None, lora, "", of_entry), "true (--strategy), lora (--strategy)");
        assert_eq!(shown(None, frozen, "", of_pro), "false (--strategy), frozen (--strategy)");
        assert_eq!(shown(Some(true), None, "", of_entry), "true (--training), lora (--training)");
        assert_eq!(shown(Some(true), None, "", of_pro), "true (--training), lora (tier Pro)");
        assert_eq!(shown(Some(false), None, "", of_pro), "false (--training), frozen (--training)");
        assert_eq!(shown(Some(true), frozen, "", of_pro), "false (--strategy), frozen (--strategy)");
        assert_eq!(shown(Some(false), lora, "", of_pro), "false (--training), frozen (--training)");
        let off = "{\"training\":{\"enabled\":false}}";
        assert_eq!(shown(None, lora, off, of_pro), "true (--strategy), lora (--strategy)");
        let on_file = "{\"training\":{\"strategy\":\"lora\"}}";
        assert_eq!(shown(Some(false), None, on_file, of_pro), "false (--training), frozen (--training)");
        assert_eq!(shown(None, None, on_file, of_entry), "true (c.json:1), lora (c.json:1)");
    }

    #[test]
    fn the_drafter_goes_with_the_target() {
        let target = |name: &str| Overrides { target_model_id: Some(name.into()), ..Overrides::default() };
        let drafter = |overrides: &Overrides, text| resolve(overrides, text).drafter_model_id;
        let coder = drafter(&target("qwen2.5-coder-1.5b"), "{}");
        assert_eq!(coder, Setting::default_of(Some("qwen2.5-coder-0.5b".to_owned())));
        assert_eq!(drafter(&target("./my.gguf"), "{}"), Setting::default_of(None));
        assert_eq!(drafter(&target("smollm2-135m"), "{}"), Setting::default_of(None));
        let own = drafter(&target("./my.gguf"), "{\"models\":{\"drafterModelId\":\"./small.gguf\"}}");
        assert_eq!(own.value.as_deref(), Some("./small.gguf"));
        assert_eq!(drafter(&target("Qwen2.5-7B"), "{}").source, Source::Tier(Tier::Pro));
    }

    #[test]
    fn the_forced_tier_is_the_flags_or_the_files() {
        let compact = file("{\"hardware\":{\"forceTier\":\"compact\"}}");
        assert_eq!(forced_tier(&Overrides::default(), &compact).value, Some(Tier::Compact));
        let flag = Overrides { force_tier: Some(Tier::Elite), ..Overrides::default() };
        assert_eq!(forced_tier(&flag, &compact).source, Source::Flag("--force-tier"));
        assert_eq!(forced_tier(&Overrides::default(), &file("")), Setting::default_of(None));
    }

    #[test]
    fn overrides_out_of_range_are_refused() {
        let refused = |overrides: Overrides| {
            let error = Settings::resolve(&overrides, &file(""), &choice(), Catalogue::builtin());
            error.unwrap_err().to_string()
        };
        assert_eq!(
            refused(Overrides { temperature: Some(f64::NAN), ..Overrides::default() }),
            "--temperature is NaN; wanted a number from 0 to 2"
        );
        assert_eq!(
            refused(Overrides { max_tokens: Some(0), ..Overrides::default() }),
            "--max-tokens is 0; wanted a whole number from 1 to 1000000"
        );
    }
}
