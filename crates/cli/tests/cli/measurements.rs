//! `info` and `benchmark` for programs: what they print is JSON and has what was promised.

use serde_json::Value;

use super::common::Sandbox;

#[track_caller]
fn has(json: &Value, keys: &[&str]) {
    for key in keys {
        let value = key.split('.').fold(json, |value, key| &value[key]);
        assert!(!value.is_null(), "no {key} in {json:#}");
    }
}

#[test]
fn info_has_machine_tier_and_settings() {
    let json = Sandbox::new().run("--model qwen2.5-coder-1.5b --strategy lora info --json").json();
    has(
        &json,
        &[
            "version",
            "hardware.chip.name",
            "hardware.n_cores",
            "hardware.n_performance_cores",
            "hardware.memory_bytes",
            "hardware.simd",
            "bandwidth.gb_per_s",
            "isa",
            "n_threads",
            "tier.tier",
            "tier.reason",
            "tier.target",
            "environment.cache_dir.value",
            "environment.log_level.source",
        ],
    );
    for name in [
        "force_tier",
        "gpu_utilization_target",
        "enable_npu_offload",
        "target_model_id",
        "drafter_model_id",
        "max_tokens",
        "temperature",
        "draft_count",
        "is_training_enabled",
        "strategy",
        "learning_rate",
        "batch_size",
        "buffer_capacity",
    ] {
        has(&json, &[&format!("settings.{name}.source")]);
    }
    assert_eq!(json["settings"]["max_tokens"]["value"], 2048);
    assert_eq!(json["settings"]["learning_rate"]["value"], 5e-4);
    assert_eq!(json["settings"]["learning_rate"]["source"], "default for adapters on a head");
    assert_eq!(json["settings"]["draft_count"]["value"], 16);
    assert_eq!(json["target_is_here"], false);
}

#[test]
fn verify_cost_has_a_row_for_each_number_of_tokens() {
    let json = Sandbox::new().ask("benchmark --verify-cost --iterations 2 --context 32 --json").json();
    let rows = json["verify_cost"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    for (row, n_tokens) in rows.iter().zip(1..) {
        assert_eq!(row["n_tokens"], n_tokens);
        let (ms, ratio) = (row["ms"].as_f64().unwrap(), row["ratio"].as_f64().unwrap());
        let wanted = ms / rows[0]["ms"].as_f64().unwrap();
        assert!(ms > 0.0 && (ratio - wanted).abs() < 1e-9 * wanted, "{row}");
    }
    assert_eq!((&json["n_cached_tokens"], &json["iterations"]), (&32.into(), &2.into()));
}

#[test]
fn a_benchmark_has_speeds_of_both_ways_to_decode() {
    let json = Sandbox::new().ask("benchmark --iterations 2 -m 4 --json").json();
    has(
        &json,
        &[
            "standard.tokens_per_second",
            "prefill_tokens_per_second.median",
            "first_token_ms.median",
            "read_gb_per_s.max",
            "token_over_read",
        ],
    );
    assert!(json.as_object().unwrap().contains_key("speculative"));
    assert_eq!((&json["n_threads"], &json["n_decode_tokens"]), (&1.into(), &4.into()));
}

/// What the keys are said to mean.
const DOCUMENTED: &str = include_str!("../../../../docs/json.md");

/// The keys of an object, all of them documented.
#[track_caller]
fn documented(json: &Value) -> Vec<&str> {
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    for key in &keys {
        assert!(DOCUMENTED.contains(&format!("`{key}`")), "{key} is not documented");
    }
    keys
}

#[test]
fn a_comparison_has_the_documented_keys() {
    let sandbox = Sandbox::new();
    let prompts = "{\"id\": 1, \"task\": \"code\", \"turns\": [\"3\"]}\n\
                   {\"id\": 2, \"task\": \"chat\", \"turns\": [\"a\"]}\n";
    let path = sandbox.write("prompts.jsonl", prompts);
    let arguments = format!("benchmark --compare --prompts {} -m 80 --json", path.display());
    let json = sandbox.ask(&format!("--drafter ngram --fixed-draft {arguments}")).json();
    assert_eq!(
        documented(&json),
        [
            "device",
            "identical_output",
            "iterations",
            "max_tokens",
            "model",
            "n_answers",
            "n_prompts",
            "n_threads",
            "speculative",
            "speedup",
            "standard",
            "tasks",
            "temperature",
        ]
    );
    assert_eq!(json["identical_output"], true);
    for task in ["code", "chat"] {
        assert_eq!(
            documented(&json["tasks"][task]),
            ["identical_output", "n_answers", "speculative", "speedup", "standard"]
        );
    }
    let (standard, speculative) = (&json["standard"], &json["speculative"]);
    assert_eq!(
        documented(standard),
        [
            "acceptance_rate",
            "decode_s",
            "mean_accepted_length",
            "n_tokens",
            "prefill_tokens_per_second",
            "tokens_per_second",
        ]
    );
    assert_eq!((&standard["n_tokens"], &speculative["n_tokens"]), (&86.into(), &86.into()));
    assert_eq!(standard["acceptance_rate"], Value::Null);
    assert_eq!(standard["mean_accepted_length"], 1.0);
    assert!(speculative["acceptance_rate"].as_f64().unwrap() > 0.2, "{json:#}");
    assert!(speculative["mean_accepted_length"].as_f64().unwrap() > 1.5, "{json:#}");
}

#[test]
fn a_comparison_says_what_became_of_drafts_and_where_the_time_went() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("prompts.jsonl", "{\"id\": 2, \"task\": \"chat\", \"turns\": [\"a\"]}\n");
    let arguments = format!("benchmark --compare --prompts {} -m 120 --json", path.display());
    let json = sandbox.ask(&format!("--drafter ngram --fixed-draft {arguments}")).json();
    let drafts = &json["tasks"]["chat"]["speculative"];
    assert_eq!(
        documented(drafts),
        [
            "acceptance_rate",
            "acceptance_rate_per_position",
            "decode_s",
            "drafters",
            "mean_accepted_length",
            "n_accepted_tokens",
            "n_draft_tokens",
            "n_drafts",
            "n_tokens",
            "prefill_tokens_per_second",
            "time_share",
            "tokens_per_second",
        ]
    );
    let number = |json: &Value| json.as_f64().unwrap_or_else(|| panic!("{drafts:#}"));
    let (n_accepted, n_drafted) = (number(&drafts["n_accepted_tokens"]), number(&drafts["n_draft_tokens"]));
    assert!(n_accepted > 60.0 && number(&drafts["n_drafts"]) >= 5.0, "{drafts:#}");
    assert!((number(&drafts["acceptance_rate"]) - n_accepted / n_drafted).abs() < 1e-9);
    let positions = drafts["acceptance_rate_per_position"].as_array().unwrap();
    assert_eq!(positions.len(), 16);
    assert!(positions.iter().all(|rate| (0.0..=1.0).contains(&number(rate))), "{drafts:#}");
    let [ngram] = &drafts["drafters"].as_array().unwrap()[..] else { panic!("{drafts:#}") };
    assert_eq!(
        documented(ngram),
        ["acceptance_rate", "draft_s", "n_accepted", "n_drafts", "n_proposed", "name", "share_of_accepted"]
    );
    assert_eq!((&ngram["name"], &ngram["share_of_accepted"]), (&"ngram".into(), &1.0.into()));
    assert_eq!(documented(&drafts["time_share"]), ["draft", "other", "sample", "verify"]);
    let total: f64 = drafts["time_share"].as_object().unwrap().values().map(number).sum();
    assert!((total - 1.0).abs() < 1e-9 && number(&drafts["time_share"]["verify"]) > 0.0, "{drafts:#}");
}

#[test]
fn prompts_of_a_file_are_told_by_task() {
    let sandbox = Sandbox::new();
    let prompts = "{\"id\": 1, \"task\": \"code\", \"turns\": [\"3\", \"6\"]}\n\
                   {\"id\": 2, \"task\": \"chat\", \"turns\": [\"a\"]}\n";
    let path = sandbox.write("prompts.jsonl", prompts);
    let json = sandbox.ask(&format!("benchmark --prompts {} -m 8 --json", path.display())).json();
    assert_eq!((&json["n_prompts"], &json["n_answers"]), (&2.into(), &3.into()));
    assert_eq!(json["tasks"]["code"]["standard"]["n_tokens"], 6 + 3);
    assert_eq!(json["tasks"]["chat"]["standard"]["n_tokens"], 8);
    let path = sandbox.write("bad.jsonl", format!("{prompts}{{\"id\": 3}}\n"));
    let refusal = sandbox.ask(&format!("benchmark --prompts {}", path.display())).refusal(1);
    assert!(refusal.contains("bad.jsonl:3: missing field `task`"), "{refusal}");
}

#[test]
fn a_context_that_the_model_has_not_is_refused_with_the_most_it_has() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.ask("benchmark --verify-cost --context 2000000").refusal(1);
    insta::assert_snapshot!(refusal, @"the model has a context of 1048576 tokens: --context 1048560 is the most here");
    let refusal = sandbox.ask("benchmark --context 20").refusal(1);
    insta::assert_snapshot!(refusal, @"16 tokens of prompt and 64 decoded ones do not fit the context of 20; take a larger --context or a smaller --max-tokens");
}

#[test]
fn models_are_listed_for_programs() {
    let list = Sandbox::new().run("models list --json").json();
    for model in list.as_array().unwrap() {
        has(model, &["name", "title", "role", "license", "bytes", "state"]);
        assert_eq!(model["state"], "absent", "{model}");
    }
}
