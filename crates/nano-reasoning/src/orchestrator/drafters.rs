//! Who will draft, known before anything is loaded.

use serde::Serialize;

use super::{DrafterChoice, Speculation};
use crate::config::{Settings, Source};
use crate::{Error, Result, heads};

/// Who drafts for the target, as settings and flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Drafters {
    /// The head: `shipped`, or its file or folder.
    pub head: Option<String>,
    /// The draft model, as it was named.
    pub model: Option<String>,
    /// Whether what was written before is copied.
    pub has_ngram: bool,
}

impl Speculation {
    /// Who drafts for the model of the catalogue called `name`. Beside a head the usual draft model is left out: its
    /// step takes some ten times as long. One that somebody named drafts, too, where it pays.
    pub(super) fn drafters(&self, settings: &Settings, name: &str) -> Drafters {
        if self.is_off(settings) {
            return Drafters::default();
        }
        let may = |choice| [choice, DrafterChoice::Auto].contains(&self.drafter);
        let known = || match &self.head {
            Some(path) => Some(path.display().to_string()),
            None => heads::shipped(name).map(|_| "shipped".to_owned()),
        };
        let head = if may(DrafterChoice::Head) { known() } else { None };
        let model = &settings.drafter_model_id;
        let is_wanted = self.drafter == DrafterChoice::Model || head.is_none() || model.source.is_set();
        let model = model.value.clone().filter(|_| may(DrafterChoice::Model) && is_wanted);
        Drafters { head, model, has_ngram: may(DrafterChoice::Ngram) }
    }

    /// What the choice of a drafter leaves out although it is named in the configuration file, for people to read. Where
    /// nobody shall draft, nothing is left out by mistake.
    ///
    /// # Errors
    /// [`Error::DrafterLeftOut`] if it is named by flag, as the choice is: neither is stronger.
    pub(super) fn left_out(&self, settings: &Settings) -> Result<Option<String>> {
        let choice = self.drafter;
        if self.is_off(settings) || choice == DrafterChoice::Auto {
            return Ok(None);
        }
        if let Some(path) = self.head.as_ref().filter(|_| choice != DrafterChoice::Head) {
            let (named_by, named) = ("--head", path.display().to_string());
            return Err(Error::DrafterLeftOut { named_by, named, choice, way_out: DrafterChoice::Head });
        }
        let model = &settings.drafter_model_id;
        let Some(named) = model.value.clone().filter(|_| choice != DrafterChoice::Model) else {
            return Ok(None);
        };
        match model.source {
            Source::Flag(named_by) => {
                Err(Error::DrafterLeftOut { named_by, named, choice, way_out: DrafterChoice::Model })
            }
            ref source if source.is_set() => Ok(Some(format!(
                "models.drafterModelId ({source}) names '{named}', and --drafter {choice} leaves it out; \
                 --drafter auto or model uses it"
            ))),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{LearningStrategy, Overrides};
    use crate::{GenerationConfig, Machine};

    const SHIPPED: &str = "qwen2.5-coder-1.5b";

    fn look(file: &str, config: GenerationConfig) -> Result<Machine> {
        let folder = tempfile::tempdir().unwrap();
        let config_path = folder.path().join("config.json");
        std::fs::write(&config_path, file).unwrap();
        let cache_dir = Some(folder.path().join("models"));
        Machine::look(&GenerationConfig { config_path: Some(config_path), cache_dir, ..config })
    }

    fn config(target: &str, model: Option<&str>, speculation: Speculation) -> GenerationConfig {
        let overrides = Overrides {
            target_model_id: Some(target.to_owned()),
            drafter_model_id: model.map(str::to_owned),
            ..Overrides::default()
        };
        GenerationConfig { overrides, speculation, ..GenerationConfig::default() }
    }

    fn choosing(drafter: DrafterChoice) -> Speculation {
        Speculation { drafter, ..Speculation::default() }
    }

    /// `HEAD|MODEL|NGRAM` of what is in force.
    fn shown(file: &str, config: GenerationConfig) -> String {
        let Drafters { head, model, has_ngram } = look(file, config).unwrap().drafters;
        let or_none = |name: Option<String>| name.unwrap_or("none".to_owned());
        format!("{}|{}|{has_ngram}", or_none(head), or_none(model))
    }

    #[test]
    fn a_draft_model_that_was_named_drafts_beside_a_head() {
        let auto = || choosing(DrafterChoice::Auto);
        assert_eq!(shown("{}", config(SHIPPED, None, auto())), "shipped|none|true");
        assert_eq!(shown("{}", config(SHIPPED, Some("./m.gguf"), auto())), "shipped|./m.gguf|true");
        let file = "{\"models\": {\"drafterModelId\": \"./f.gguf\"}}";
        assert_eq!(shown(file, config(SHIPPED, None, auto())), "shipped|./f.gguf|true");
        assert_eq!(shown("{}", config("qwen2.5-3b", None, auto())), "none|qwen2.5-0.5b|true");
        let head = Speculation { head: Some("h.gguf".into()), ..auto() };
        assert_eq!(shown("{}", config("qwen2.5-3b", None, head)), "h.gguf|none|true");
    }

    #[test]
    fn a_choice_takes_one_drafter_and_none_takes_none() {
        let chosen = |choice| shown("{}", config(SHIPPED, None, choosing(choice)));
        assert_eq!(chosen(DrafterChoice::Head), "shipped|none|false");
        assert_eq!(chosen(DrafterChoice::Model), "none|qwen2.5-coder-0.5b|false");
        assert_eq!(chosen(DrafterChoice::Ngram), "none|none|true");
        assert_eq!(chosen(DrafterChoice::None), "none|none|false");
        let mut off = config(SHIPPED, Some("./m.gguf"), choosing(DrafterChoice::Ngram));
        off.overrides.draft_count = Some(0);
        assert_eq!(shown("{}", off), "none|none|false");
    }

    #[test]
    fn the_step_size_that_nobody_set_suits_who_learns() {
        let rate = |target: &str, model, strategy, file: &str| {
            let mut config = config(target, model, choosing(DrafterChoice::Auto));
            config.overrides.strategy = Some(strategy);
            let rate = look(file, config).unwrap().settings.learning_rate;
            format!("{:e}, {}", rate.value, rate.source)
        };
        use LearningStrategy::{Eagle, Frozen, Lora};
        for strategy in [Frozen, Lora] {
            assert_eq!(rate(SHIPPED, None, strategy, "{}"), "5e-4, default for adapters on a head");
        }
        assert_eq!(rate(SHIPPED, Some("./m.gguf"), Eagle, "{}"), "5e-5, default for all of a head's layer");
        assert_eq!(rate("qwen2.5-3b", None, Lora, "{}"), "3e-4, default for adapters on a draft model");
        assert_eq!(rate("./own.gguf", None, Lora, "{}"), "1e-4, default");
        let file = "{\"training\": {\"learningRate\": 0.001}}";
        assert!(rate(SHIPPED, None, Lora, file).starts_with("1e-3, /"));
    }

    #[test]
    fn two_flags_that_contradict_each_other_are_an_error_that_names_both() {
        let message = |choice, model, head: Option<&Path>| {
            let speculation = Speculation { head: head.map(Path::to_owned), ..choosing(choice) };
            look("{}", config(SHIPPED, model, speculation)).err().unwrap().to_string()
        };
        assert_eq!(
            message(DrafterChoice::Ngram, Some("./m.gguf"), None),
            "--drafter-model names './m.gguf', and --drafter is 'ngram', which leaves it out; give one of them, or take \
             --drafter model or auto"
        );
        let head = Some(Path::new("h.gguf"));
        for choice in [DrafterChoice::Ngram, DrafterChoice::Model] {
            let message = message(choice, None, head);
            assert!(message.starts_with("--head names 'h.gguf', and --drafter is '"), "{message}");
            assert!(message.ends_with("or take --drafter head or auto"), "{message}");
        }
        assert!(message(DrafterChoice::Head, Some("./m.gguf"), head).starts_with("--drafter-model names"));
    }

    #[test]
    fn a_choice_by_flag_wins_over_the_file_and_says_so() {
        let file = "{\"models\": {\"drafterModelId\": \"./f.gguf\"}}";
        let machine = look(file, config(SHIPPED, None, choosing(DrafterChoice::Ngram))).unwrap();
        assert_eq!(machine.drafters.model, None);
        let [warning] = &machine.warnings[..] else { panic!("{:?}", machine.warnings) };
        assert!(warning.contains("config.json:1) names './f.gguf', and --drafter ngram leaves it out"));
        let machine = look(file, config(SHIPPED, None, choosing(DrafterChoice::Model))).unwrap();
        assert_eq!((machine.drafters.model.as_deref(), machine.warnings.len()), (Some("./f.gguf"), 0));
    }
}
