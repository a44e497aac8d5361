//! Signals and closed pipes while an answer is under way: what is there stays, and the exit code tells.

use std::io::Read;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::common::{Ran, Sandbox, read_bytes, start, wait};

/// An answer that does not end by itself, after its first letters came.
fn endless(sandbox: &Sandbox, arguments: &str) -> Child {
    let arguments = format!("--model {} --threads 1 --context 1000000 {arguments}", sandbox.alphabet());
    let mut child = start(&mut sandbox.command(&arguments));
    assert_eq!(read_bytes(child.stdout.as_mut().unwrap(), 5), b"bcdef");
    child
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_signal_ends_the_answer_and_keeps_what_was_said() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        let child = endless(&sandbox, "generate a -t 0 -m 1000000 --stats");
        send(&child, signal);
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        // The rest is more of the alphabet, in order, and its last line is ended.
        let text = ran.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{}", ran.stdout));
        let wanted: String = ('a'..='z').cycle().skip(6).take(text.len()).collect();
        assert_eq!(text, wanted);
        assert!(ran.stderr.contains(", stopped\n"), "{}", ran.stderr);
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let sandbox = Sandbox::new();
    let mut child = endless(&sandbox, "generate a -t 0 -m 1000000");
    send(&child, Signal::INT);
    send(&child, Signal::INT);
    assert_eq!(wait(&mut child).code(), Some(130));
}

#[test]
fn a_signal_while_a_long_prompt_is_read() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("long.txt", "ab ".repeat(200_000));
    let arguments = format!(
        "--model {} --threads 1 --context 1000000 generate --file {}",
        sandbox.alphabet(),
        path.display()
    );
    let mut child = start(&mut sandbox.command(&arguments));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    send(&child, Signal::INT);
    assert_eq!(wait(&mut child).code(), Some(130));
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "");
}

#[test]
fn whoever_reads_no_more_ends_the_answer_without_a_word() {
    let sandbox = Sandbox::new();
    let mut child = endless(&sandbox, "generate a -t 0 -m 1000000");
    drop(child.stdout.take());
    let status = wait(&mut child);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_closed_pipe_is_no_error_of_any_command() {
    let sandbox = Sandbox::new();
    let model = sandbox.alphabet();
    for command in [
        "--help".to_owned(),
        "models".to_owned(),
        "completions bash".to_owned(),
        "info".to_owned(),
        "info --json".to_owned(),
        format!("generate a --model {model}"),
        format!("benchmark --iterations 1 -m 1 --model {model}"),
    ] {
        let mut child = start(&mut sandbox.command(&command));
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn nobody_to_tell_an_error_is_no_panic() {
    let sandbox = Sandbox::new();
    let mut child = start(&mut sandbox.command("generate x --model ./absent.gguf"));
    drop(child.stderr.take());
    assert_eq!(wait(&mut child).code(), Some(1));
}

#[test]
fn nobody_to_read_the_trace_is_no_panic() {
    let sandbox = Sandbox::new();
    let command = format!("generate a -t 0 -m 8 --threads 1 --model {}", sandbox.alphabet());
    let mut child = start(sandbox.command(&command).env("NANO_REASONING_DEBUG", "1"));
    drop(child.stderr.take());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!((wait(&mut child).code(), stdout.as_str()), (Some(0), "bcdefghi\n"));
}
