//! SmolLM2-135M, if it is here: the command with a model that makes sense.

use super::common::{Ran, Sandbox, stored};

/// What the command prints with SmolLM2 as its model.
fn ask(arguments: &str, input: &str) -> Option<Ran> {
    let path = stored("smollm2-135m-instruct-q4_1.gguf", "smollm2-135m")?;
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
