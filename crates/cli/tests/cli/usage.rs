//! Wrong arguments: exit code 2 and one line that names flag, value and what is allowed.

use super::common::Sandbox;

#[track_caller]
fn refused(arguments: &str, wanted: &str) {
    let refusal = Sandbox::new().run(arguments).refusal(2);
    assert!(refusal.starts_with(wanted), "{arguments}: {refusal}\nwanted {wanted}");
}

#[test]
fn unknown_flags_and_commands_are_named() {
    refused("generate --tempreature 1 x", "unexpected argument '--tempreature' found; tip: a similar");
    refused("info --stats", "unexpected argument '--stats' found");
    refused("genrate x", "unrecognized subcommand 'genrate'; tip: a similar subcommand exists: 'generate'");
    refused("--modle x", "unexpected argument '--modle' found; tip: a similar argument exists: '--model'");
    refused("pull", "the following required arguments were not provided: <MODEL>; see --help");
    refused("models rm", "the following required arguments were not provided: <MODEL>; see --help");
}

#[test]
fn numbers_out_of_range_are_named_with_the_range() {
    for (arguments, wanted) in [
        ("-t 2.1", "--temperature is 2.1; wanted a number from 0 to 2"),
        ("-t -1", "--temperature is -1; wanted a number from 0 to 2"),
        ("-t NaN", "--temperature is NaN; wanted a number from 0 to 2"),
        ("-m 0", "--max-tokens is 0; wanted a whole number from 1 to 1000000"),
        ("--draft-count 65", "--draft-count is 65; wanted a whole number from 0 (no speculation) to 64"),
        ("--learning-rate 0", "--learning-rate is 0; wanted a number above 0 and at most 1"),
        ("--batch-size 0", "--batch-size is 0; wanted a whole number from 1 to 1024"),
        ("--buffer-capacity 0", "--buffer-capacity is 0; wanted a whole number from 1 to 1000000"),
        ("--gpu-utilization 1.5", "--gpu-utilization is 1.5; wanted a number above 0 and at most 1"),
        ("--top-p 1.5", "invalid value '1.5' for '--top-p <P>': wanted a number from 0 to 1"),
        ("--min-p -1", "invalid value '-1' for '--min-p <P>': wanted a number from 0 to 1"),
        ("--repeat-penalty 0", "invalid value '0' for '--repeat-penalty <X>': wanted a number from 0.01 to"),
        ("--threads 0", "invalid value '0' for '--threads <N>': wanted a whole number from 1"),
        ("--context 0", "invalid value '0' for '--context <TOKENS>': wanted a whole number from 1"),
    ] {
        refused(&format!("generate x {arguments}"), wanted);
    }
}

#[test]
fn words_that_are_no_numbers_are_named() {
    for (arguments, wanted) in [
        ("-t warm", "invalid value 'warm' for '--temperature <T>'"),
        ("-m many", "invalid value 'many' for '--max-tokens <N>'"),
        ("-m 1.5", "invalid value '1.5' for '--max-tokens <N>'"),
        ("-m -1", "invalid value '-1' for '--max-tokens <N>'"),
        ("--top-k -1", "invalid value '-1' for '--top-k <K>'"),
        ("--seed x", "invalid value 'x' for '--seed <N>'"),
        ("--npu=maybe", "invalid value 'maybe' for '--npu[=<BOOL>]' [possible values: true, false]"),
        ("--isa avx9", "invalid value 'avx9' for '--isa <NAME>' [possible values: scalar"),
        (
            "--force-tier huge",
            "invalid value 'huge' for '--force-tier <TIER>' [possible values: compact, entry, pro, elite]",
        ),
    ] {
        refused(&format!("generate x {arguments}"), wanted);
    }
}

#[test]
fn a_flag_wants_its_value() {
    refused("generate x --seed", "a value is required for '--seed <N>' but none was supplied");
    refused("generate x -m 1 -m 2", "the argument '--max-tokens <N>' cannot be used multiple times");
    refused("benchmark --verify-cost --prompts x", "the argument '--verify-cost' cannot be used with");
}

#[test]
fn a_head_in_the_making_needs_a_folder_and_something_to_learn_from() {
    refused("distill", "the following required arguments were not provided: --out <FOLDER>; see --help");
    refused(
        "distill --out x --collect-only",
        "there is nothing to collect; give --prompts or --self-prompted",
    );
    refused(
        "distill --out x --draft-len 17",
        "invalid value '17' for '--draft-len <N>': wanted a whole number from 1",
    );
    refused(
        "distill --out x --passes 2 --steps 3",
        "the argument '--passes <N>' cannot be used with '--steps <N>'",
    );
}

#[test]
fn a_strategy_is_one_of_those_there_are() {
    refused("info --strategy lore", "invalid value 'lore' for '--strategy <NAME>'");
    refused(
        "benchmark --adapt --prompts /dev/null --held-out /dev/null --strategy frozen",
        "--strategy is frozen; --adapt wants lora or eagle: it measures what gradients bring",
    );
}

#[test]
fn a_chart_is_refused_before_anything_is_measured() {
    let adapt = "benchmark --adapt --prompts p.jsonl --held-out h.jsonl --plot";
    let wanted = "invalid value 'a.png' for '--plot <FILE.svg>': charts are not written as .png; wanted a name that ends";
    refused(&format!("{adapt} a.png"), wanted);
    let wanted = "invalid value 'a.jpg' for '--plot <FILE.svg>': its ending is .jpg; wanted a name that ends with .svg";
    refused(&format!("{adapt} a.jpg"), wanted);
    refused("benchmark --plot a.svg", "the following required arguments were not provided");
    let refusal = Sandbox::new().run(&format!("{adapt} absent/a.svg")).refusal(1);
    assert_eq!(refusal, "cannot write absent/a.svg: there is no folder absent");
}
