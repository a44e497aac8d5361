//! SmolLM2-135M, if it is here: the command with a model that makes sense.

use std::fs;

use super::common::{Ran, Sandbox, stored};

const FILE: &str = "smollm2-135m-instruct-q4_1.gguf";

/// What the command prints with SmolLM2 as its model.
fn ask(arguments: &str, input: &str) -> Option<Ran> {
    let path = stored(FILE)?;
    let sandbox = Sandbox::new();
    let arguments = format!("--model {} --threads 2 {arguments}", path.display());
    Some(Ran::with_input(&mut sandbox.command(&arguments), input.as_bytes()))
}

#[test]
fn greedy_answers_are_the_same_for_every_instruction_set() {
    let prompt = "What is the capital of France?";
    let Some(first) = ask("generate -t 0 -m 24", prompt) else { return };
    let text = first.printed();
    assert!(text.split_whitespace().count() > 5, "{text}");
    assert_eq!(ask("generate -t 0 -m 24", prompt).unwrap().printed(), text);
    let scalar = ask("--isa scalar generate -t 0 -m 4", prompt).unwrap();
    assert!(text.starts_with(scalar.stdout.trim_end()), "{scalar:?}\n{text}");
}

#[test]
fn a_seed_repeats_an_answer() {
    let Some(first) = ask("generate -m 24 --seed 7", "Tell me a story.") else { return };
    assert_eq!(ask("generate -m 24 --seed 7", "Tell me a story.").unwrap().stdout, first.stdout);
    assert_ne!(ask("generate -m 24 --seed 8", "Tell me a story.").unwrap().stdout, first.stdout);
}

#[test]
fn it_reads_the_conversation_and_not_the_last_line_alone() {
    let Some(ran) = ask("chat -t 0 -m 16", "Hello!\nSay it again.\n") else { return };
    let Some(alone) = ask("chat -t 0 -m 16", "Say it again.\n") else { return };
    let (text, alone) = (ran.printed(), alone.printed());
    assert_eq!(text.trim_end().lines().count(), 2, "{text}");
    assert_ne!(text.trim_end().lines().last(), alone.trim_end().lines().last());
}

#[test]
fn learning_is_measured_and_drawn() {
    let Some(path) = stored(FILE) else { return };
    let sandbox = Sandbox::new();
    let line = |i: usize| format!("{{\"id\":{i},\"task\":\"count\",\"turns\":[\"Count to {i}.\"]}}\n");
    sandbox.write("train.jsonl", (3..8).map(line).collect::<String>());
    sandbox.write("held-out.jsonl", line(9));
    sandbox.write("chart.svg", "old");
    let adapt =
        "benchmark --adapt --prompts train.jsonl --held-out held-out.jsonl -m 12 --plot chart.svg --json";
    let ran = sandbox.run(&format!("--model {} --threads 2 {adapt}", path.display()));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["tasks"]["count"]["identical_output"], true);
    let curves = json["curves"].as_array().unwrap();
    let names: Vec<_> = curves.iter().map(|curve| curve["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["training on", "training off", "n-gram only"]);
    for curve in curves {
        assert_eq!(curve["answers"].as_array().unwrap().len(), 5);
        // The text is the same whoever drafts.
        assert_eq!(curve["answers"][4]["n_tokens_so_far"], curves[0]["answers"][4]["n_tokens_so_far"]);
    }
    let chart = fs::read_to_string(sandbox.path("chart.svg")).unwrap();
    assert!(chart.contains("smollm2-135m: what learning brings") && chart.contains("</svg>"), "{chart}");
}
