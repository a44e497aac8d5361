//! A chat whose lines come from a pipe.

use std::io::{Read, Write};
use std::process::Stdio;

use rustix::process::Signal;

use super::common::{Sandbox, read_bytes, start, wait};
use super::signals::send;

#[test]
fn lines_are_answered_until_the_end() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ask_with("chat -t 0", "5\n\n  \n7\n").printed(), "6789\n89\n");
    assert_eq!(sandbox.ask_with("-t 0", "x 5").printed(), "6789\n");
    assert_eq!(sandbox.ask_with("chat", "").printed(), "");
}

#[test]
fn commands_are_obeyed_and_not_answered() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ask_with("chat -t 0", "/help\n5\n/stats\n/clear\n/clera\n/quit\n7\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "6789\n"));
    for said in [
        "/help    this list\n",
        "1 answer\nprompts     1 tokens",
        "(a new conversation)\n",
        "there is no command /clera; /help lists them\n",
    ] {
        assert!(ran.stderr.contains(said), "no {said:?} in {}", ran.stderr);
    }
    assert_eq!(sandbox.ask_with("chat -t 0", "/exit\n7\n").printed(), "");
}

#[test]
fn a_conversation_goes_on_and_clear_forgets_it() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ask_with("chat -t 0", "5\n7\n/stats\n/clear\n7\n/stats\n");
    assert_eq!(ran.stdout, "6789\n89\n89\n");
    // The second prompt is 5 6789 7, of which all but the last were there already.
    let stats: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("prompts")).collect();
    let counts: Vec<Vec<&str>> = stats.iter().map(|line| line.split_whitespace().collect()).collect();
    insta::assert_debug_snapshot!(counts.iter().map(|words| words[1]).collect::<Vec<_>>(), @r#"
    [
        "2",
        "3",
    ]
    "#);
}

#[test]
fn statistics_of_each_answer_if_wanted() {
    let ran = Sandbox::new().ask_with("chat -t 0 --stats", "5\n");
    assert_eq!(ran.stdout, "6789\n");
    assert!(ran.stderr.contains("answer      4 tokens in"), "{}", ran.stderr);
}

#[test]
fn a_line_that_is_not_utf_8_is_named() {
    let ran = Sandbox::new().ask_with("chat -t 0", b"5\n\xff\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "6789\n"));
    assert_eq!(ran.stderr, "error: standard input is not UTF-8: byte 0xff at offset 2\n");
}

#[test]
fn a_line_longer_than_the_context_is_refused() {
    let ran = Sandbox::new().ask_with("chat -t 0 --context 64", format!("5\n{}\n", "a".repeat(100)));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "6789\n"));
    insta::assert_snapshot!(ran.stderr.trim_end(), @"error: 105 tokens do not fit the context of 64 tokens (0 used); shorten the prompt, start a new chat or take a larger context");
}

#[test]
fn old_turns_make_room() {
    let lines = "a\n".repeat(12);
    let ran = Sandbox::new().ask_with("chat -t 0 --context 64 -m 10", lines);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "bcdefghijk\n".repeat(12).as_str()));
    assert!(ran.stderr.contains("forgotten; /clear starts anew)"), "{}", ran.stderr);
}

/// Where nobody types, a signal ends the program as it would any other.
#[test]
fn a_signal_ends_a_chat_from_a_pipe() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        let arguments =
            format!("--model {} --threads 1 --context 1000000 -t 0 -m 1000000", sandbox.alphabet());
        let mut child = start(sandbox.command(&arguments).stdin(Stdio::piped()));
        child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
        assert_eq!(read_bytes(child.stdout.as_mut().unwrap(), 4), b"bcde");
        send(&child, signal);
        assert_eq!(wait(&mut child).code(), Some(code));
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let wanted: String = ('f'..='z').chain('a'..='e').cycle().take(rest.len() - 1).collect();
        assert_eq!(rest, wanted + "\n");
    }
}

#[test]
fn a_signal_at_the_prompt_ends_a_chat_from_a_pipe() {
    let sandbox = Sandbox::new();
    let arguments = format!("--model {} --threads 1 -t 0", sandbox.alphabet());
    let mut child = start(sandbox.command(&arguments).stdin(Stdio::piped()));
    child.stdin.as_mut().unwrap().write_all(b"7\n").unwrap();
    assert_eq!(read_bytes(child.stdout.as_mut().unwrap(), 3), b"89\n");
    send(&child, Signal::TERM);
    assert_eq!(wait(&mut child).code(), Some(143));
}
