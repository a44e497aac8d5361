//! A home folder, a model and a way to run the command in them.

pub(crate) mod alphabet;
pub(crate) mod hub;
#[path = "../../../../text/tests/stored/mod.rs"]
mod stored;

pub(crate) use stored::{say_skipped, stored};

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a machine with much else to do, short enough to notice a program that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A home folder that is removed in the end.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        if let Some(bandwidth) = bandwidth() {
            fs::create_dir_all(sandbox.store()).unwrap();
            fs::write(sandbox.store().join("bandwidth.json"), bandwidth).unwrap();
        }
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the command keeps models.
    pub(crate) fn store(&self) -> PathBuf {
        self.path(".cache/nano-reasoning/models")
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The model that recites the alphabet.
    pub(crate) fn alphabet(&self) -> String {
        self.write("alphabet.gguf", alphabet::bytes()).to_str().unwrap().to_owned()
    }

    /// The command with `arguments`, split at spaces, and nothing of the user's environment.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nano-reasoning"));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("HF_HUB_OFFLINE", "1");
        command.args(arguments.split_whitespace());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// [`Self::run`], with a model to answer.
    pub(crate) fn ask(&self, arguments: &str) -> Ran {
        self.run(&format!("--model {} --threads 1 {arguments}", self.alphabet()))
    }

    /// [`Self::ask`], with text or bytes on standard input.
    pub(crate) fn ask_with(&self, arguments: &str, input: impl AsRef<[u8]>) -> Ran {
        let arguments = format!("--model {} --threads 1 {arguments}", self.alphabet());
        Ran::with_input(&mut self.command(&arguments), input.as_ref())
    }

    /// Names of all that lies in a folder, but for what the command may always leave.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        let mut child = start(command.stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = thread::spawn(move || {
            // Whoever has read enough hangs up.
            let _ = stdin.write_all(&input);
        });
        let ran = Self::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        ran
    }

    /// What it printed, after it did well and complained of nothing.
    #[track_caller]
    pub(crate) fn printed(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// Its one line of error, after it printed nothing.
    #[track_caller]
    pub(crate) fn refusal(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        let line = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "more than one line: {line}");
        line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.printed()).unwrap()
    }
}

/// Starts a command whose output is read.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a child to end.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn read_bytes(source: &mut impl Read, n_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; n_bytes];
    source.read_exact(&mut bytes).unwrap();
    bytes
}

/// How fast this machine's memory is, measured once for all sandboxes.
fn bandwidth() -> Option<&'static [u8]> {
    static BANDWIDTH: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let measured = BANDWIDTH.get_or_init(|| {
        let sandbox = Sandbox { folder: tempfile::tempdir().unwrap() };
        sandbox.run("info --threads 1").printed();
        fs::read(sandbox.store().join("bandwidth.json")).ok()
    });
    measured.as_deref()
}
