//! Drafters that were named are used, or the command says why not.

use super::common::{Sandbox, alphabet};

#[test]
fn a_head_that_is_asked_for_and_not_there_is_an_error() {
    let sandbox = Sandbox::new();
    let path = sandbox.alphabet();
    let refusal = sandbox.ask("--drafter head generate a").refusal(1);
    assert_eq!(
        refusal.replace(&path, "FILE"),
        "no head ships for 'FILE'; name a file or folder with --head, or use --drafter ngram"
    );
    assert!(sandbox.ask("--head ./absent.gguf generate a").refusal(1).contains("absent.gguf"));
}

#[test]
fn a_drafter_that_another_flag_leaves_out_is_an_error_of_any_command() {
    let sandbox = Sandbox::new();
    for command in ["info", "generate a"] {
        let refusal = sandbox.ask(&format!("--drafter ngram --drafter-model ./m.gguf {command}")).refusal(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal, @"--drafter-model names './m.gguf', and --drafter is 'ngram', which leaves it out; give one of them, or take --drafter model or auto");
        }
    }
}

#[test]
fn info_says_who_drafts() {
    let sandbox = Sandbox::new();
    let drafters = |arguments: &str| {
        let json = sandbox.run(&format!("--model qwen2.5-coder-1.5b info --json {arguments}")).json();
        json["drafters"].to_string()
    };
    assert_eq!(drafters(""), r#"{"has_ngram":true,"head":"shipped","model":null}"#);
    let named = drafters("--drafter-model ./m.gguf");
    assert_eq!(named, r#"{"has_ngram":true,"head":"shipped","model":"./m.gguf"}"#);
    assert_eq!(drafters("--drafter none"), r#"{"has_ngram":false,"head":null,"model":null}"#);
    let table = sandbox.run("--model qwen2.5-coder-1.5b info --drafter-model ./m.gguf").printed();
    let line = table.lines().find(|line| line.starts_with("  drafting ")).unwrap();
    let wanted = "the head that ships for the model, the draft model ./m.gguf, what was written before";
    assert!(line.ends_with(wanted), "{line}");
}

#[test]
fn a_model_named_by_the_file_gives_way_to_a_flag_with_a_word() {
    let sandbox = Sandbox::new();
    sandbox.write(".config/nano-reasoning/config.json", "{\"models\": {\"drafterModelId\": \"./m.gguf\"}}");
    let ran = sandbox.ask("--drafter ngram generate 5 -t 0");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "6789\n"));
    assert!(ran.stderr.contains("names './m.gguf', and --drafter ngram leaves it out"), "{}", ran.stderr);
    // It is not there.
    assert!(sandbox.ask("generate 5 -t 0").refusal(1).contains("m.gguf"));
}

#[test]
fn earlier_answers_that_cannot_be_read_are_left_out_with_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.write(".cache/nano-reasoning/checkpoints/history", "a file where a folder should be");
    let ran = sandbox.ask("--drafter ngram generate a -t 0 -m 60 --stats");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("bcdefghij"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("earlier answers cannot be read; drafting goes on without"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\ndrafts "), "it drafts from the answer itself: {}", ran.stderr);
}

#[test]
fn a_draft_model_with_other_ids_is_refused_with_the_first_that_differs() {
    let sandbox = Sandbox::new();
    let other = sandbox.write("other.gguf", alphabet::exchanging(b'q', b't'));
    for choice in ["", "--drafter model"] {
        let refusal =
            sandbox.ask(&format!("--drafter-model {} {choice} generate a", other.display())).refusal(1);
        assert_eq!(
            refusal.replace(other.to_str().unwrap(), "FILE"),
            format!(
                "draft model 'FILE' cannot draft for this target: token {} is \"t\" in one and \"q\" in the other; \
                 use a model of the same family",
                b'q'
            )
        );
    }
    // The same ids draft, and change no token.
    let same = sandbox.write("same.gguf", alphabet::bytes());
    let ran = sandbox.ask(&format!("--drafter-model {} generate 0 -t 0 --stats", same.display()));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "123456789\n"));
    assert!(ran.stderr.contains("\n        model: asked "), "{}", ran.stderr);
}
