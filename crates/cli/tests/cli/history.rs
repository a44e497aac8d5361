//! Answers that are kept to draft from: shown, forgotten, and not kept where that is asked.

use super::common::Sandbox;

#[test]
fn answers_are_kept_shown_and_forgotten() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run("history").printed().starts_with("no answers are kept in "));
    sandbox.ask("generate 5 -t 0 --no-history").printed();
    assert_eq!(sandbox.run("history show --json").json(), serde_json::json!([]));
    sandbox.ask("generate 5 -t 0").printed();
    sandbox.ask("generate 7 -t 0").printed();
    let kept = sandbox.run("history show --json").json();
    assert_eq!(kept[0]["n_answers"], 2, "{kept}");
    assert!(sandbox.run("history").printed().starts_with("2 answers, "));
    sandbox.run("history clear").printed();
    assert_eq!(sandbox.run("history show --json").json(), serde_json::json!([]));
}
