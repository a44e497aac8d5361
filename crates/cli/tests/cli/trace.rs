//! What speculation says of itself: the trace, a line of JSON for each cycle, and the lines of `--stats`.

use serde_json::{Value, json};

use super::common::{Ran, Sandbox};

/// What the keys are said to mean.
const DOCUMENTED: &str = include_str!("../../../../docs/json.md");

/// The same answer however fast the machine is.
const ANSWER: &str = "--drafter ngram --fixed-draft --no-history generate a -t 0";

fn keys(json: &Value) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_trace_has_each_cycle_with_the_documented_keys() {
    let sandbox = Sandbox::new();
    let command = format!("--model {} --threads 1 {ANSWER} -m 60", sandbox.alphabet());
    let ran = Ran::of(sandbox.command(&command).env("NANO_REASONING_DEBUG", "1").output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = ran.stderr.lines().filter(|line| line.starts_with('{'));
    let cycles: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();

    // The prompt's pass gives the first token, cycles all others.
    let mut answer = vec![json!(b'b')];
    let (mut n_accepted, mut n_asked) = (0, 0);
    for cycle in &cycles {
        assert_eq!(
            keys(cycle),
            [
                "accepted",
                "asked",
                "draft",
                "draft_ms",
                "emitted",
                "plain_ms",
                "position",
                "sample_ms",
                "tokens_per_second_to_be_had",
                "value_at_hand",
                "value_expected",
                "verify_ms",
            ]
        );
        assert!(keys(cycle).iter().all(|key| DOCUMENTED.contains(&format!("`{key}`"))), "{cycle}");
        assert_eq!(cycle["position"], 1 + answer.len(), "{cycle}");
        let emitted = cycle["emitted"].as_array().unwrap();
        let accepted = cycle["accepted"].as_u64().unwrap() as usize;
        let draft = cycle["draft"].as_array().unwrap();
        assert!(accepted < emitted.len() && accepted <= draft.len(), "{cycle}");
        for node in draft {
            assert_eq!(keys(node), ["parent", "reach", "token"]);
        }
        for asked in cycle["asked"].as_array().unwrap() {
            assert_eq!(keys(asked), ["drafter", "is_probe", "ms"]);
            assert_eq!(asked["drafter"], "ngram");
            n_asked += 1;
        }
        assert!(cycle["verify_ms"].as_f64().unwrap() > 0.0, "{cycle}");
        answer.extend_from_slice(emitted);
        n_accepted += accepted;
    }
    let written: Vec<Value> = ran.stdout.trim_end().bytes().map(Value::from).collect();
    assert_eq!(answer, written);
    // From the second round of the alphabet on it is known by heart.
    assert!(n_accepted > 20 && n_asked >= cycles.len(), "{n_accepted} of {} cycles", cycles.len());
}

#[test]
fn without_the_variable_there_is_no_trace() {
    assert_eq!(Sandbox::new().ask(&format!("{ANSWER} -m 30")).printed().len(), 31);
}

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn statistics_say_what_became_of_drafts_and_where_the_time_went() {
    let ran = Sandbox::new().ask(&format!("{ANSWER} -m 120 --stats"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut lines = ran.stderr.lines().skip_while(|line| !line.starts_with("drafts  "));
    let mut next = || lines.next().unwrap_or_else(|| panic!("{}", ran.stderr));

    let line = next();
    let &[rate, n_drafted, tau, speedup] = &numbers(line)[..] else { panic!("{line}") };
    assert!(line.contains(" tokens accepted, ") && line.contains(" tokens a pass (τ), "), "{line}");
    assert!(line.ends_with(" × the plain speed") && speedup > 0.0, "{line}");

    let line = next();
    let (drafts, positions) = line.split_once("accepted by position:").unwrap();
    let &[n_drafts, n_passes, draft_len] = &numbers(drafts)[..] else { panic!("{line}") };
    // 119 tokens came from passes after the prompt's.
    assert!((tau - 119.0 / n_passes).abs() < 0.01, "{tau}, {line}");
    assert!(n_drafts <= n_passes && (draft_len - n_drafted / n_drafts).abs() < 0.06, "{line}");
    let positions = numbers(positions);
    assert_eq!(positions.len(), 8, "{line}");

    let line = next();
    assert!(line.starts_with("        ngram: asked "), "{line}");
    let &[_, n_accepted, n_proposed, _] = &numbers(line)[..] else { panic!("{line}") };
    assert!((rate - 100.0 * n_accepted / n_drafted).abs() < 0.6 && n_accepted <= n_proposed, "{line}");
    // An alphabet that comes round again is as before.
    assert!(n_accepted > 60.0 && positions[0] > 50.0, "{line}");

    let line = next();
    let &[draft, verify, sample, other] = &numbers(line)[..] else { panic!("{line}") };
    assert!(line.starts_with("        time: draft ") && line.contains(" %, verify "), "{line}");
    assert!((draft + verify + sample + other - 100.0).abs() < 0.3, "{line}");
}
