//! What the command says of itself.

use super::common::Sandbox;

/// Help, with the instruction sets of this machine left out.
fn help(arguments: &str) -> String {
    let text = Sandbox::new().run(arguments).printed();
    let lines = text.lines().map(|line| match line.split_once("[possible values: scalar") {
        Some((start, _)) => format!("{start}[possible values: …]"),
        None => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_help_is_this() {
    insta::assert_snapshot!(help("--help"));
}

#[test]
fn each_commands_help_is_this() {
    for command in [
        "chat",
        "generate",
        "info",
        "benchmark",
        "pull",
        "models",
        "history",
        "checkpoints",
        "distill",
        "completions",
    ] {
        let text = help(&format!("{command} --help"));
        // What all commands share is in the first snapshot.
        let own = text.split("Machine and model:").next().unwrap();
        insta::assert_snapshot!(command, own);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run("--version").printed(), format!("nano-reasoning {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.run("help generate").printed(), sandbox.run("generate --help").printed());
    assert!(sandbox.run("-h").printed().len() < sandbox.run("--help").printed().len());
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Sandbox::new().run(&format!("completions {shell}")).printed();
        for word in ["generate", "force-tier", "nano-reasoning"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let refusal = Sandbox::new().run("completions tcsh").refusal(2);
    assert_eq!(
        refusal,
        "invalid value 'tcsh' for '<SHELL>' [possible values: bash, elvish, fish, powershell, zsh]; \
         tip: a similar value exists: 'zsh'; see --help"
    );
}
