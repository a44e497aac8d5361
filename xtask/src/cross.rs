//! `cargo xtask cross`: what the machines we build for but do not sit at would say.
//!
//! Type-checks the workspace for Apple's and for 64-bit Arm Linux targets, and runs the kernels' tests
//! in an emulator of Arm processors with and without the dot product extension. The standard library
//! for a target comes from the toolchain, or is built from its source, which needs an unstable flag.

use crate::{steps, workspace};
use anyhow::bail;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

const APPLE: &str = "aarch64-apple-darwin";
const LINUX: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// Where Debian's cross packages put the target's C library.
const TARGET_ROOT: &str = "/usr/aarch64-linux-gnu";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Steps to leave out
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Step {
    /// Types for macOS on Apple silicon
    CheckApple,
    /// Types for Linux on 64-bit Arm
    CheckLinux,
    /// The kernels' tests on a Cortex-A53, which has no dot product instructions
    TestNeon,
    /// The kernels' tests on a processor with every extension
    TestDotprod,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let toolchain = Toolchain::find();
    if toolchain.is_none() {
        missing.push(format!(
            "the standard library for {APPLE} and {LINUX}, or its source: \
             `rustup target add {APPLE} {LINUX}` or `apt-get install rustc-web cargo-web rust-web-src`"
        ));
    }
    if [Step::TestNeon, Step::TestDotprod].iter().any(|step| !options.skip.contains(step)) {
        let packages = [
            (in_path(EMULATOR), EMULATOR, "qemu-user"),
            (in_path(LINKER), LINKER, "gcc-aarch64-linux-gnu"),
            (
                Path::new(TARGET_ROOT).join("lib/libc.so.6").exists(),
                "Arm's C library",
                "libc6-dev-arm64-cross",
            ),
        ];
        let absent = packages.into_iter().filter(|(found, ..)| !found);
        missing.extend(absent.map(|(_, what, package)| format!("{what}: `apt-get install {package}`")));
    }
    let Some(toolchain) = toolchain.filter(|_| missing.is_empty()) else {
        bail!("this machine lacks\n{}", missing.join("\n"));
    };
    println!(
        "with {}{}",
        toolchain.rustc.display(),
        if toolchain.has_targets { "" } else { ", std from source" }
    );
    steps::run_all(&options.skip, |step| match step {
        Step::CheckApple => toolchain.check(APPLE),
        Step::CheckLinux => toolchain.check(LINUX),
        Step::TestNeon => toolchain.test("cortex-a53", "neon"),
        Step::TestDotprod => toolchain.test("max", "neon-dotprod"),
    })
}

/// A compiler that can make code for both targets.
struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    /// Whether it brings the targets' standard library; otherwise it brings the source.
    has_targets: bool,
}

impl Toolchain {
    /// The toolchain in use if it will do, else the system's.
    fn find() -> Option<Self> {
        let in_use = (std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()), workspace::cargo());
        let in_use = (PathBuf::from(in_use.0), PathBuf::from(in_use.1.get_program()));
        [in_use, ("/usr/bin/rustc".into(), "/usr/bin/cargo".into())].into_iter().find_map(|(rustc, cargo)| {
            let root = steps::output(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
            let library = Path::new(root.trim()).join("lib/rustlib");
            let has_targets = [APPLE, LINUX].iter().all(|target| library.join(target).is_dir());
            let has_source = library.join("src/rust/library/Cargo.lock").is_file();
            (has_targets || has_source).then_some(Self { rustc, cargo, has_targets })
        })
    }

    fn command(&self, subcommand: &str, target: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(workspace::root()).args([subcommand, "--target", target]);
        // A folder of its own: the compiler may be another one than that of the usual builds.
        command.env("RUSTC", &self.rustc).env("CARGO_TARGET_DIR", target_dir());
        if !self.has_targets {
            command.arg("-Zbuild-std").env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    fn check(&self, target: &str) -> anyhow::Result<()> {
        let mut command = self.command("check", target);
        let compiler = stub_compiler()?;
        for tool in ["CC", "CXX", "AR"] {
            command.env(format!("{tool}_{}", target.replace('-', "_")), &compiler);
        }
        steps::run(command.args(["--workspace"]))
    }

    /// Runs the kernels' tests on `processor`, whose best table should be `isa`.
    fn test(&self, processor: &str, isa: &str) -> anyhow::Result<()> {
        let mut command = self.command("test", LINUX);
        let variable = format!("CARGO_TARGET_{}", LINUX.replace('-', "_").to_uppercase());
        command
            .env(format!("{variable}_LINKER"), LINKER)
            .env(format!("{variable}_RUNNER"), format!("{EMULATOR} -L {TARGET_ROOT} -cpu {processor}"))
            .env("NANO_REASONING_TEST_ISA", isa)
            .args(["--package", "nano-reasoning-kernels", "--lib"]);
        steps::run(&mut command)
    }
}

fn target_dir() -> PathBuf {
    let usual = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace::root().join(usual).join("cross")
}

/// A stand-in for C compilers and archivers that makes empty files. Build scripts of dependencies call
/// them even for a type check, which links nothing.
fn stub_compiler() -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = target_dir().join("stub-compiler");
    std::fs::create_dir_all(target_dir())?;
    std::fs::write(&path, include_str!("stub_compiler.sh"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
