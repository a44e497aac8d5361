use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ConfigFile> {
    ConfigFile::parse(text, Path::new("config.json"))
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn reads_every_key_and_its_line() {
    let config = parse(
        r#"{
  "hardware": { "forceTier": "Pro",
    "gpuUtilizationTarget": 0.5, "enableNPUOffload": false },
  "models": { "targetModelId": "smollm2-135m", "drafterModelId": null },
  "generation": { "maxTokens": 7, "temperature": 0, "draftCount": 0 },
  "training": { "enabled": true, "strategy": "Lora", "learningRate": 1e-4, "batchSize": 4, "bufferCapacity": 50 }
}"#,
    )
    .unwrap();
    let value = |line| Source::File { path: "config.json".into(), line };
    assert_eq!(config.force_tier, Some(Setting { value: Tier::Pro, source: value(2) }));
    assert_eq!(config.gpu_utilization_target, Some(Setting { value: 0.5, source: value(3) }));
    assert_eq!(config.target_model_id, Some(Setting { value: "smollm2-135m".into(), source: value(4) }));
    assert_eq!(config.drafter_model_id, None);
    assert_eq!(config.max_tokens, Some(Setting { value: 7, source: value(5) }));
    assert_eq!(config.temperature, Some(Setting { value: 0.0, source: value(5) }));
    assert_eq!(config.strategy, Some(Setting { value: LearningStrategy::Lora, source: value(6) }));
    assert_eq!(config.learning_rate, Some(Setting { value: 1e-4, source: value(6) }));
    assert_eq!(config.buffer_capacity, Some(Setting { value: 50, source: value(6) }));
}

#[test]
fn an_empty_file_sets_nothing() {
    for text in ["", " \n", "{}", "\u{feff}{}", "{\"hardware\":{},\"training\":{}}"] {
        assert_eq!(parse(text).unwrap(), ConfigFile::default(), "{text:?}");
    }
}

#[test]
fn names_an_unknown_key_its_line_and_what_was_meant() {
    assert_eq!(
        message("{\n  \"generation\": {\n    \"maxToken\": 5\n  }\n}"),
        "config.json:3: unknown key 'generation.maxToken', did you mean 'generation.maxTokens'?; \
         allowed here: maxTokens, temperature, draftCount"
    );
    assert_eq!(
        message("{\"genration\": {}}"),
        "config.json:1: unknown key 'genration', did you mean 'generation'?; \
         allowed here: hardware, models, generation, training"
    );
    assert!(message("{\"models\": {\"colour\":\n\n5}}").starts_with("config.json:1:"));
    assert!(message("{\"temperature\": 1}").contains("did you mean 'generation.temperature'"));
    assert!(message("{\"models\": {\"batch_size\": 1}}").contains("did you mean 'training.batchSize'"));
    assert!(!message("{\"models\": {\"colour\": 1}}").contains("did you mean"));
}

#[test]
fn names_a_bad_value_and_what_is_allowed() {
    assert_eq!(
        message("{\"generation\":\n{\"temperature\":\n 2.5}}"),
        "config.json:3: generation.temperature is 2.5; wanted a number from 0 to 2"
    );
    assert_eq!(
        message("{\"hardware\": {\"forceTier\": \"elit\"}}"),
        "config.json:1: hardware.forceTier is \"elit\"; wanted \"compact\", \"entry\", \"pro\", \"elite\" \
         or null for the automatic pick, did you mean 'elite'?"
    );
    assert_eq!(
        message("{\"training\": {\"strategy\": \"frozn\"}}"),
        "config.json:1: training.strategy is \"frozn\"; wanted \"frozen\", \"lora\", \"eagle\" or null for \
         the tier's, did you mean 'frozen'?"
    );
    for (section, member) in [
        ("training", "\"strategy\": true"),
        ("hardware", "\"forceTier\": 3"),
        ("hardware", "\"gpuUtilizationTarget\": 0"),
        ("hardware", "\"gpuUtilizationTarget\": 1.01"),
        ("hardware", "\"enableNPUOffload\": 1"),
        ("hardware", "\"enableNPUOffload\": null"),
        ("models", "\"targetModelId\": \" \""),
        ("models", "\"drafterModelId\": 5"),
        ("generation", "\"maxTokens\": 0"),
        ("generation", "\"maxTokens\": 1.5"),
        ("generation", "\"maxTokens\": -1"),
        ("generation", "\"maxTokens\": 99999999999999999999"),
        ("generation", "\"temperature\": \"hot\""),
        ("generation", "\"temperature\": 1e999"),
        ("generation", "\"draftCount\": 65"),
        ("training", "\"enabled\": \"yes\""),
        ("training", "\"learningRate\": 0"),
        ("training", "\"learningRate\": -1e-4"),
        ("training", "\"batchSize\": 1025"),
        ("training", "\"bufferCapacity\": 0"),
        ("training", "\"bufferCapacity\": [50]"),
    ] {
        let error = parse(&format!("{{\"{section}\": {{{member}}}}}")).unwrap_err();
        // 1e999 is no number to the JSON parser already.
        assert!(
            matches!(error, Error::ConfigBadValue { .. } | Error::ConfigSyntax { .. }),
            "{member}: {error}"
        );
        assert!(error.to_string().starts_with("config.json:1:"), "{error}");
    }
    assert!(message("{\"hardware\": []}").contains("hardware is []; wanted an object"));
}

#[test]
fn refuses_a_key_given_twice() {
    let text = "{\"generation\": {\"maxTokens\": 5,\n\"maxTokens\": 6}}";
    assert_eq!(message(text), "config.json:2: key 'generation.maxTokens' is given twice; keep one");
    assert!(message("{\"models\": {}, \"models\": {}}").contains("'models' is given twice"));
}

#[test]
fn names_the_place_of_a_syntax_error() {
    let text = "{\n  \"generation\": {\n    \"maxTokens\": 5,\n  }\n}";
    assert_eq!(message(text), "config.json:4:3: key must be a string");
    assert!(message("[1]").starts_with("config.json:1:"));
    let long = message(&format!("\"it stands at line 7 {}\"", "x".repeat(1000)));
    assert_eq!(
        long,
        "config.json:1:1022: invalid type: string \"it stands at line 7 xxxxxxxxxxxxxxxxxxxx…\", expected an object { … }"
    );
    assert!(message("{} x").starts_with("config.json:1:4: trailing characters"));
    assert!(message(&"[".repeat(100_000)).starts_with("config.json:1:"));
    assert!(message(&format!("{{\"models\":{}", "{\"a\":".repeat(100_000))).starts_with("config.json:1:"));
}

#[test]
fn long_and_odd_values_stay_on_one_short_line() {
    let text = format!("{{\"models\": {{\"targetModelId\": [\n\"{}\"\n]}}}}", "x".repeat(10_000));
    let message = message(&text);
    assert!(message.lines().count() == 1 && message.len() < 200, "{message}");
}

#[test]
fn loads_the_file_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let environment = |variable: &'static str| {
        let path = path.clone();
        Environment::from_lookup(move |name| match name {
            "HOME" => Some("/home/nobody".into()),
            name if name == variable => Some(path.clone().into()),
            _ => None,
        })
        .unwrap()
    };
    assert_eq!(ConfigFile::load(&environment("")).unwrap(), ConfigFile::default());
    let missing = ConfigFile::load(&environment("NANO_REASONING_CONFIG")).unwrap_err();
    assert!(missing.to_string().ends_with("which NANO_REASONING_CONFIG names"), "{missing}");
    let named =
        Setting { value: LearningStrategy::Lora, source: Source::Environment("NANO_REASONING_STRATEGY") };
    let mut set = environment("");
    set.strategy = Some(named.clone());
    assert_eq!(
        ConfigFile::load(&set).unwrap(),
        ConfigFile { strategy: Some(named), ..ConfigFile::default() }
    );
    std::fs::write(&path, "{\"generation\": {\"maxTokens\": 3}}").unwrap();
    let config = ConfigFile::load(&environment("NANO_REASONING_CONFIG")).unwrap();
    assert_eq!(config.max_tokens.unwrap().value, 3);
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let error = ConfigFile::load(&environment("NANO_REASONING_CONFIG")).unwrap_err();
    assert!(matches!(error, Error::ConfigRead { .. }), "{error}");
    std::fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
    let error = ConfigFile::load(&environment("NANO_REASONING_CONFIG")).unwrap_err();
    assert!(matches!(error, Error::ConfigTooLong { .. }), "{error}");
}

/// Any JSON, with the configuration's own keys likely.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let known: Vec<&str> =
        SECTIONS.iter().flat_map(|(section, keys)| keys.iter().copied().chain([*section])).collect();
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (0i64..100).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        proptest::sample::select(vec!["pro", "Elite", "compact"]).prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        let key =
            prop_oneof![3 => proptest::sample::select(known.clone()).prop_map(str::to_owned), 1 => ".{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_on_one_line(value in json()) {
        if let Err(error) = parse(&serde_json::to_string_pretty(&value).unwrap()) {
            let message = error.to_string();
            prop_assert!(message.starts_with("config.json:"));
            prop_assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0usize..400, byte in any::<char>()) {
        let mut text = r#"{"hardware":{"forceTier":"pro","gpuUtilizationTarget":0.85,"enableNPUOffload":true},
            "models":{"targetModelId":"a","drafterModelId":null},"generation":{"maxTokens":2048,
            "temperature":0.7,"draftCount":5},"training":{"enabled":true,"learningRate":1e-4,"batchSize":4,
            "bufferCapacity":50}}"#.to_owned();
        text.insert(at.min(text.len()), byte);
        let _ = parse(&text);
    }
}
