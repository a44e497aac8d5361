//! One prompt, one answer: where the prompt comes from, how long the answer is, and that it can be repeated.

use super::common::{Ran, Sandbox};

#[test]
fn the_answer_goes_to_standard_output_and_nothing_else_does() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ask("generate abc -t 0 -m 6").printed(), "defghi\n");
    assert_eq!(sandbox.ask("generate 5 -t 0").printed(), "6789\n");
    let ran = sandbox.ask("generate 5 -t 0 --stats");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "6789\n"));
    assert!(ran.stderr.starts_with("prompt      1 tokens in "), "{}", ran.stderr);
    assert!(ran.stderr.contains("ended by the model or a stop text"), "{}", ran.stderr);
}

#[test]
fn the_prompt_comes_from_arguments_a_file_or_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.write("p.txt", "x5\n");
    assert_eq!(sandbox.ask("generate two words 5 -t 0").printed(), "6789\n");
    assert_eq!(sandbox.ask("generate --file p.txt -t 0").printed(), "6789\n");
    assert_eq!(sandbox.ask("generate words --file p.txt -t 0").printed(), "6789\n");
    assert_eq!(sandbox.ask_with("generate -t 0", "x7\n").printed(), "89\n");
    assert_eq!(sandbox.ask_with("generate - -t 0", "x7\r\n").printed(), "89\n");
    assert_eq!(sandbox.ask_with("generate words --file - -t 0", "x7").printed(), "89\n");
}

#[test]
fn a_prompt_that_is_none() {
    let sandbox = Sandbox::new();
    for input in ["", " \n\t\n"] {
        assert_eq!(sandbox.ask_with("generate", input).refusal(2), "the prompt is empty");
    }
    assert_eq!(sandbox.ask_with("generate -", "").refusal(2), "the prompt is empty");
    let path = sandbox.path("absent.txt");
    let refusal = sandbox.ask(&format!("generate --file {}", path.display())).refusal(1);
    assert_eq!(refusal, format!("cannot open {}: No such file or directory (os error 2)", path.display()));
    let refusal = sandbox.ask("generate --file /").refusal(1);
    assert!(refusal.starts_with("cannot read /: "), "{refusal}");
}

#[test]
fn input_that_is_not_utf_8() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.ask_with("generate", b"caf\xe9").refusal(1);
    assert_eq!(refusal, "standard input is not UTF-8: byte 0xe9 at offset 3");
    sandbox.write("latin.txt", b"na\xefve");
    let refusal = sandbox.ask("generate --file latin.txt").refusal(1);
    assert_eq!(refusal, "latin.txt is not UTF-8: byte 0xef at offset 2");
}

#[test]
fn a_prompt_longer_than_the_context() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.ask_with("generate --context 64", "a".repeat(100)).refusal(1);
    insta::assert_snapshot!(refusal, @"100 tokens do not fit the context of 64 tokens (0 used); shorten the prompt, start a new chat or take a larger context");
    let refusal = sandbox.ask_with("generate --context 16", "a".repeat(17)).refusal(1);
    insta::assert_snapshot!(refusal, @"17 tokens do not fit the context of 16 tokens (0 used); shorten the prompt, start a new chat or take a larger context");
    let full = sandbox.ask_with("generate --context 16 -t 0", "a".repeat(14));
    assert_eq!((full.code, full.stdout.as_str()), (Some(0), "bcd\n"));
    assert_eq!(full.stderr, "(stopped, the context is full; --context sets its size)\n");
}

#[test]
fn greedy_answers_are_the_same_each_time() {
    let sandbox = Sandbox::new();
    let answers: Vec<String> = (0..2).map(|_| sandbox.ask("generate q -t 0 -m 60").printed()).collect();
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].starts_with("rstuvwxyzabc"), "{}", answers[0]);
}

#[test]
fn a_seed_gives_the_same_answer_and_another_seed_another() {
    let sandbox = Sandbox::new();
    let answer =
        |seed: u64| sandbox.ask(&format!("generate q -t 1.5 --top-k 0 --top-p 1 -m 40 --seed {seed}")).stdout;
    let first = answer(1);
    assert_eq!(answer(1), first);
    assert!((2..5).any(|seed| answer(seed) != first), "{first:?}");
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ask("generate a -t 0 -m 40 --stop xyz --stop hij").printed(), "bcdefg\n");
}

#[test]
fn a_stop_token_ends_the_answer_before_it_and_cuts_a_draft() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.ask("generate a -t 0 -m 40 --stop-token 122 --stop-token 106").printed(),
        "bcdefghi\n"
    );
    // The prompt's pass may end it, too.
    assert_eq!(sandbox.ask("generate a -t 0 --stop-token 98").printed(), "");
    // Whoever has seen the alphabet drafts beyond the token.
    let arguments =
        "--drafter ngram --fixed-draft generate abcdefghijklmnopqrstuvwxyza -t 0 --stop-token 106";
    let command = format!("--model {} --threads 1 {arguments}", sandbox.alphabet());
    let ran = Ran::of(sandbox.command(&command).env("NANO_REASONING_DEBUG", "1").output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "bcdefghi\n"), "{}", ran.stderr);
    let cycle = ran.stderr.lines().rfind(|line| line.starts_with('{')).unwrap();
    let cycle: serde_json::Value = serde_json::from_str(cycle).unwrap();
    let drafted: Vec<_> = cycle["draft"].as_array().unwrap().iter().map(|node| &node["token"]).collect();
    let place = drafted.iter().position(|token| **token == 106).unwrap_or_else(|| panic!("{cycle}"));
    assert!(place + 1 < drafted.len(), "{cycle}");
    assert_eq!(cycle["emitted"].as_array().unwrap().last().unwrap(), 106);
}

#[test]
fn a_stop_token_that_the_model_has_not_is_refused() {
    let refused = |id: &str, code| Sandbox::new().ask(&format!("generate a --stop-token {id}")).refusal(code);
    insta::assert_snapshot!(refused("257", 1), @"stop token 257 is outside the model's vocabulary; wanted an id below 257");
    assert!(refused("-1", 2).starts_with("invalid value '-1' for '--stop-token <ID>'"));
}

#[test]
fn the_configuration_file_sets_the_length() {
    let sandbox = Sandbox::new();
    let config = "{\"generation\": {\"maxTokens\": 3, \"temperature\": 0}}";
    sandbox.write(".config/nano-reasoning/config.json", config);
    assert_eq!(sandbox.ask("generate a").printed(), "bcd\n");
    assert_eq!(sandbox.ask("generate a -m 5").printed(), "bcdef\n");
}

#[test]
fn a_mistake_costs_no_loading() {
    let sandbox = Sandbox::new();
    let ran = Ran::with_input(&mut sandbox.command("generate --model ./absent.gguf"), b"");
    assert_eq!(ran.refusal(2), "the prompt is empty");
}
