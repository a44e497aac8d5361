//! llama.cpp, built once from the source distribution of a Python package that carries it.

use crate::steps;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "llama-cpp-python";
const VERSION: &str = "0.3.36";
const SHA256: &str = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e";
const PROGRAMS: [&str; 7] = [
    "llama-bench",
    "llama-batched-bench",
    "llama-speculative-simple",
    "llama-completion",
    "llama-server",
    "llama-tokenize",
    "llama-perplexity",
];

/// Its programs.
pub(super) struct LlamaCpp {
    bin: PathBuf,
}

impl LlamaCpp {
    /// Builds it unless all of its programs are there.
    ///
    /// # Errors
    /// If Python, cmake or a compiler is missing or fails.
    pub(super) fn ready() -> anyhow::Result<Self> {
        let folder = peers_folder()?.join(format!("llama-cpp-{VERSION}"));
        let source = folder.join("vendor/llama.cpp");
        let llama_cpp = Self { bin: source.join("build/bin") };
        if PROGRAMS.iter().all(|program| llama_cpp.bin.join(program).is_file()) {
            println!("llama.cpp of {PACKAGE} {VERSION} is built");
            return Ok(llama_cpp);
        }
        if !source.join("CMakeLists.txt").is_file() {
            download(&folder)?;
        }
        build(&source)?;
        Ok(llama_cpp)
    }

    /// A command that runs one of its programs.
    pub(super) fn command(&self, program: &str) -> Command {
        Command::new(self.bin.join(program))
    }
}

/// What it is, for reports.
pub(super) fn version() -> String {
    format!("llama.cpp of {PACKAGE} {VERSION}")
}

/// `peers` beside the folder of models.
pub(super) fn peers_folder() -> anyhow::Result<PathBuf> {
    let not_empty = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let project = match (not_empty("NANO_REASONING_CACHE"), not_empty("XDG_CACHE_HOME")) {
        (Some(models), _) => models.parent().map(Path::to_path_buf),
        (None, Some(cache)) => Some(cache.join("nano-reasoning")),
        (None, None) => std::env::home_dir().map(|home| home.join(".cache/nano-reasoning")),
    };
    Ok(project.context("there is no home folder")?.join("peers"))
}

fn download(folder: &Path) -> anyhow::Result<()> {
    let downloads = folder.with_file_name("dl");
    std::fs::create_dir_all(&downloads)?;
    // pip compares the digest.
    let requirements = downloads.join("requirements.txt");
    std::fs::write(&requirements, format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE, "--dest"]).arg(&downloads);
    shown(pip.args(["--require-hashes", "--requirement"]).arg(&requirements))?;
    std::fs::create_dir_all(folder)?;
    let archive = downloads.join(format!("{}-{VERSION}.tar.gz", PACKAGE.replace('-', "_")));
    let mut tar = Command::new("tar");
    shown(tar.arg("xzf").arg(archive).arg("--directory").arg(folder).arg("--strip-components=1"))
}

fn build(source: &Path) -> anyhow::Result<()> {
    if Command::new("cmake").arg("--version").output().is_err() {
        shown(Command::new("python3").args(["-m", "pip", "install", "cmake"]))?;
    }
    let build = source.join("build");
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(source).arg("-B").arg(&build);
    cmake.args(["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF"]);
    cmake.args(["-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"]);
    cmake.args(["-DLLAMA_OPENSSL=OFF", "-DGGML_CCACHE=OFF"]);
    if cfg!(target_arch = "x86_64") {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
        cmake.args(x86_64_options(&cpuinfo)?);
    }
    shown(&mut cmake)?;
    let mut cmake = Command::new("cmake");
    let n_jobs = std::thread::available_parallelism().map_or(1, usize::from);
    cmake.arg("--build").arg(&build).args(["-j", &n_jobs.to_string(), "--target"]);
    shown(cmake.args(PROGRAMS))
}

/// The processor's own vector instructions, one by one: `GGML_NATIVE` would also switch on AMX, whose
/// kernel of this version crashes on some virtual machines.
fn x86_64_options(cpuinfo: &str) -> anyhow::Result<Vec<String>> {
    let Some(flags) = cpuinfo.lines().find(|line| line.starts_with("flags")) else {
        bail!("/proc/cpuinfo lists no flags");
    };
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let options = [
        ("AVX2", "avx2"),
        ("FMA", "fma"),
        ("F16C", "f16c"),
        ("BMI2", "bmi2"),
        ("AVX512", "avx512f avx512cd avx512vl avx512dq avx512bw"),
        ("AVX512_VBMI", "avx512vbmi"),
        ("AVX512_VNNI", "avx512_vnni"),
        ("AVX512_BF16", "avx512_bf16"),
    ];
    let switch = |(option, needed): (&str, &str)| {
        let is_on = needed.split(' ').all(|flag| flags.contains(&flag));
        format!("-DGGML_{option}={}", if is_on { "ON" } else { "OFF" })
    };
    let off = ["NATIVE", "AMX_TILE", "AMX_INT8", "AMX_BF16"].map(|option| format!("-DGGML_{option}=OFF"));
    Ok(options.into_iter().map(switch).chain(off).collect())
}

fn shown(command: &mut Command) -> anyhow::Result<()> {
    println!("$ {command:?}");
    steps::run(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_on_what_the_processor_has() {
        let options = x86_64_options("processor : 0\nflags\t\t: fpu fma avx2 avx512f avx512_vnni\n").unwrap();
        let is_on = |name: &str| options.contains(&format!("-DGGML_{name}=ON"));
        assert!(is_on("FMA") && is_on("AVX2") && is_on("AVX512_VNNI"));
        assert!(!is_on("AVX512") && !is_on("BMI2") && !is_on("NATIVE"));
        assert!(x86_64_options("").is_err());
    }
}
