//! Output that cannot be written: one line, exit code 1, and no half of a file.

use std::fs::{self, File};
use std::path::Path;

use super::common::{Ran, Sandbox, say_skipped};

/// The device that is always full; says so and is `None` if the system has none.
fn full_disk() -> Option<File> {
    let file = File::options().write(true).open("/dev/full").ok();
    if file.is_none() {
        say_skipped("there is no /dev/full here");
    }
    file
}

#[test]
fn a_full_disk_is_named() {
    let sandbox = Sandbox::new();
    let model = sandbox.alphabet();
    let wanted = "error: cannot write to standard output: No space left on device (os error 28)\n";
    for command in
        ["models", "info", "--help", "completions zsh", &format!("generate a -m 3 --model {model}")]
    {
        let Some(full) = full_disk() else { return };
        let ran = Ran::of(sandbox.command(command).stdout(full).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), wanted), "{command}");
    }
}

#[test]
fn a_report_that_does_not_fit_leaves_the_old_one() {
    let sandbox = Sandbox::new();
    let report = sandbox.write("report.json", "old");
    let benchmark = format!(
        "benchmark --iterations 1 -m 1 --threads 1 --model {} --json {}",
        sandbox.alphabet(),
        report.display()
    );
    // No file may grow beyond nothing.
    let script =
        format!("trap '' XFSZ; ulimit -f 0; exec {} {benchmark}", env!("CARGO_BIN_EXE_nano-reasoning"));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear().env("HOME", sandbox.path(""));
    let ran = Ran::of(shell.output().unwrap());
    let refusal = ran.refusal(1);
    assert!(refusal.starts_with(&format!("cannot write {}: File too large", report.display())), "{refusal}");
    assert_eq!(fs::read_to_string(&report).unwrap(), "old");
    assert_eq!(sandbox.names(""), [".cache", "alphabet.gguf", "report.json"]);
}

#[test]
fn a_report_goes_where_it_can() {
    let sandbox = Sandbox::new();
    let benchmark = "benchmark --iterations 1 -m 1 --json";
    let refusal = sandbox.ask(&format!("{benchmark} /absent/x.json")).refusal(1);
    assert_eq!(refusal, "cannot write /absent/x.json: No such file or directory (os error 2)");
    if Path::new("/dev/full").exists() {
        let refusal = sandbox.ask(&format!("{benchmark} /dev/full")).refusal(1);
        assert_eq!(refusal, "cannot write /dev/full: No space left on device (os error 28)");
    }
    let table = sandbox.ask(&format!("{benchmark} report.json")).printed();
    assert!(table.contains("memory bandwidth"), "{table}");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("report.json")).unwrap()).unwrap();
    assert_eq!(json["iterations"], 1);
}
