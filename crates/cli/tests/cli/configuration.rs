//! Flags, environment and configuration file: which of them wins, and what is said of mistakes.

use serde_json::Value;

use super::common::{Ran, Sandbox};

const FILE: &str = ".config/nano-reasoning/config.json";

/// What `info` refuses of a configuration file, without the folder's name.
fn refusal(text: &str) -> String {
    let sandbox = Sandbox::new();
    let path = sandbox.write(FILE, text);
    sandbox.run("info").refusal(1).replace(path.to_str().unwrap(), "config.json")
}

#[test]
fn mistakes_in_the_file_are_named_with_their_line() {
    insta::assert_snapshot!(refusal("{\n  \"generation\": {\n    \"temprature\": 1\n  }\n}"), @"config.json:3: unknown key 'generation.temprature', did you mean 'generation.temperature'?; allowed here: maxTokens, temperature, draftCount");
    insta::assert_snapshot!(refusal("{\n  \"sampling\": {}\n}"), @"config.json:2: unknown key 'sampling'; allowed here: hardware, models, generation, training");
    insta::assert_snapshot!(refusal("{\n  \"generation\": {\n    \"maxTokens\": \"many\"\n  }\n}"), @r#"config.json:3: generation.maxTokens is "many"; wanted a whole number from 1 to 1000000"#);
    insta::assert_snapshot!(refusal("{\"generation\": {\n\"temperature\": 7}}"), @"config.json:2: generation.temperature is 7; wanted a number from 0 to 2");
    insta::assert_snapshot!(refusal("{\"hardware\": {\n\"forceTier\": \"prp\"}}"), @r#"config.json:2: hardware.forceTier is "prp"; wanted "compact", "entry", "pro", "elite" or null for the automatic pick, did you mean 'pro'?"#);
    insta::assert_snapshot!(refusal("{\"training\": {\n\n\"enabled\": 1}}"), @"config.json:3: training.enabled is 1; wanted true or false");
    insta::assert_snapshot!(refusal("{\"training\": []}"), @"config.json:1: training is []; wanted an object { … }");
    insta::assert_snapshot!(refusal("{\n\"training\": {},\n}"), @"config.json:3:1: trailing comma");
    insta::assert_snapshot!(refusal("[]"), @"config.json:1:0: invalid type: sequence, expected an object { … }");
}

#[test]
fn every_command_that_answers_reads_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write(FILE, "{\"x\": 1}");
    for command in ["generate x", "chat", "benchmark", "info"] {
        let refusal = sandbox.run(command).refusal(1);
        assert!(refusal.contains("config.json:1: unknown key 'x'"), "{command}: {refusal}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.run("info --config absent.json").refusal(1);
    assert_eq!(refusal, "there is no configuration file absent.json, which --config names");
    let ran = sandbox.command("info").env("NANO_REASONING_CONFIG", "/absent.json").output().unwrap();
    assert_eq!(
        Ran::of(ran).refusal(1),
        "there is no configuration file /absent.json, which NANO_REASONING_CONFIG names"
    );
}

#[test]
fn bad_variables_are_named_with_what_is_allowed() {
    let sandbox = Sandbox::new();
    for (name, value, wanted) in [
        (
            "NANO_REASONING_LOG_LEVEL",
            "loud",
            "NANO_REASONING_LOG_LEVEL is 'loud'; wanted off, error, warn, info, debug or trace",
        ),
        ("NANO_REASONING_DEBUG", "2", "NANO_REASONING_DEBUG is '2'; wanted 0 or 1"),
    ] {
        for command in ["info", "models", "pull smollm2-135m", "generate x"] {
            let ran = Ran::of(sandbox.command(command).env(name, value).output().unwrap());
            assert_eq!(ran.refusal(1), wanted, "{command}");
        }
    }
    let ran = Ran::of(sandbox.command("models").env("NANO_REASONING_CACHE", "/dev/null/x").output().unwrap());
    assert!(ran.printed().ends_with("in /dev/null/x\n"));
    let ran = Ran::of(sandbox.command("models").env_remove("HOME").output().unwrap());
    assert!(ran.refusal(1).starts_with("HOME is not set, so there is no default for NANO_REASONING_CACHE"));
}

#[test]
fn debugging_shows_causes() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("m.gguf", "GGUF");
    let command = format!("generate x --model {}", path.display());
    let ran = Ran::of(sandbox.command(&command).env("NANO_REASONING_DEBUG", "1").output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("\n  caused by: "), "{}", ran.stderr);
}

#[test]
fn whoever_wants_the_npu_is_told_that_nothing_uses_it() {
    let sandbox = Sandbox::new();
    let said = "and this engine computes on the CPU alone; the setting is kept for engines that use an NPU";
    let ran = sandbox.ask("--npu generate 5 -t 0");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "6789\n"));
    assert_eq!(ran.stderr, format!(" WARN hardware.enableNPUOffload (--npu) is true, {said}\n"));
    assert!(sandbox.run("info --npu").printed().contains(said));
    assert_eq!(sandbox.run("info --npu=false --json").json()["warnings"], serde_json::json!([]));
    let path = sandbox.write(FILE, "{\"hardware\": {\"enableNPUOffload\": true}}");
    let warnings = &sandbox.run("info --json").json()["warnings"];
    let wanted = format!("hardware.enableNPUOffload ({}:1) is true, {said}", path.display());
    assert_eq!(*warnings, serde_json::json!([wanted]));
}

/// A setting of `info --json`, as `VALUE (SOURCE)`.
fn setting(info: &Value, section: &str, name: &str) -> String {
    let setting = &info[section][name];
    format!("{} ({})", setting["value"], setting["source"])
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let sandbox = Sandbox::new();
    let flagged = sandbox.write("flagged.json", "{\"generation\": {\"temperature\": 0.1}}");
    let named = sandbox.write("named.json", "{\"generation\": {\"temperature\": 0.2, \"draftCount\": 3}}");
    sandbox.write(FILE, "{\"generation\": {\"temperature\": 0.3}, \"hardware\": {\"forceTier\": \"entry\"}}");
    let temperature = |info: &Value| info["settings"]["temperature"]["value"].clone();

    let info = sandbox.run("info --json").json();
    assert_eq!(temperature(&info), 0.3);
    assert_eq!(info["settings"]["force_tier"]["value"], "entry");

    let with_variable = |arguments: &str| {
        Ran::of(sandbox.command(arguments).env("NANO_REASONING_CONFIG", &named).output().unwrap()).json()
    };
    let info = with_variable("info --json");
    assert_eq!(temperature(&info), 0.2);
    assert_eq!(info["settings"]["force_tier"]["value"], Value::Null);

    let info = with_variable(&format!("info --json --config {} --draft-count 7", flagged.display()));
    assert_eq!(temperature(&info), 0.1);
    insta::assert_snapshot!(setting(&info, "settings", "draft_count"), @r#"7 ("--draft-count")"#);
    insta::assert_snapshot!(setting(&info, "settings", "max_tokens"), @r#"2048 ("default")"#);
    assert_eq!(info["environment"]["config_path"]["value"], flagged.to_str().unwrap());

    let info = with_variable("info --json --draft-count 7");
    assert_eq!(info["settings"]["draft_count"]["value"], 7);
    let info = with_variable("info --json");
    assert_eq!(info["settings"]["draft_count"]["value"], 3);
    let place = setting(&info, "settings", "draft_count").replace(named.to_str().unwrap(), "named.json");
    insta::assert_snapshot!(place, @r#"3 ("named.json:1")"#);
}

#[test]
fn a_tier_that_does_not_fit_is_refused_and_never_picked() {
    let sandbox = Sandbox::new();
    let info = sandbox.run("info --json").json();
    let (needed, memory) =
        (info["tier"]["needed_bytes"].as_u64().unwrap(), info["hardware"]["memory_bytes"].as_u64().unwrap());
    assert!(needed < memory, "{needed} of {memory}");
    if memory < 20 << 30 {
        let refusal = sandbox.run("info --force-tier elite").refusal(1);
        assert!(
            refusal.starts_with("tier Elite needs ") && refusal.ends_with("force a smaller tier or none")
        );
    }
}
