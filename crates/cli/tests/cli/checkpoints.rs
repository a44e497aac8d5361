//! What drafters learnt: listed, moved and removed; broken files are named.

use std::fs;

use super::common::Sandbox;

#[test]
fn there_is_nothing_before_anything_was_learnt() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run("checkpoints").printed().starts_with("nothing was learnt yet in "));
    assert_eq!(sandbox.run("checkpoints list --json").json(), serde_json::json!([]));
    let refusal = sandbox.run("checkpoints show --profile work --model m").refusal(1);
    assert_eq!(refusal, "profile 'work' has learnt nothing for m; `checkpoints list` shows all");
    assert_eq!(sandbox.run("checkpoints rm --model m").printed(), "0 checkpoints removed\n");
}

#[test]
fn a_file_that_is_no_checkpoint_is_named() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("no.safetensors");
    fs::write(&path, "nothing").unwrap();
    let refusal = sandbox.run(&format!("checkpoints import {} --model m", path.display())).refusal(1);
    assert!(refusal.contains(&path.display().to_string()), "{refusal}");
    assert!(refusal.contains("wanted a checkpoint of this program, whole"), "{refusal}");
    let refusal = sandbox.run("checkpoints import absent.safetensors --model m").refusal(1);
    assert!(refusal.contains("absent.safetensors"), "{refusal}");
    assert_eq!(sandbox.run("checkpoints list --json").json(), serde_json::json!([]));
}

#[test]
fn a_profile_is_a_plain_name() {
    let refusal = Sandbox::new().run("checkpoints rm --profile ../up --model m").refusal(1);
    assert!(refusal.starts_with("'../up' cannot be a profile's name"), "{refusal}");
}

#[test]
fn a_broken_checkpoint_is_listed_with_what_is_wrong() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path(".cache/nano-reasoning/checkpoints/profiles/default/m");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("000007.safetensors"), [0; 40]).unwrap();
    let listed = sandbox.run("checkpoints list --json").json();
    assert_eq!(listed[0]["profile"], "default");
    assert!(listed[0]["error"].as_str().unwrap().contains("000007.safetensors"), "{listed}");
    assert_eq!(sandbox.run("checkpoints rm --model m").printed(), "1 checkpoints removed\n");
    assert!(!folder.exists());
}
