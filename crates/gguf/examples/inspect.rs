//! Prints what a GGUF file holds: `cargo run -p nano-reasoning-gguf --example inspect -- model.gguf`

use std::io::{self, Write};
use std::process::ExitCode;

use nano_reasoning_gguf::{GgufFile, Value};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: inspect FILE.gguf");
        return ExitCode::from(2);
    };
    let start = std::time::Instant::now();
    let file = match GgufFile::open(&path) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    match print(&file, open_ms, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn print(file: &GgufFile, open_ms: f64, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "GGUF version {}, {} bytes, opened in {open_ms:.2} ms", file.version(), file.n_bytes())?;
    for (key, value) in file.metadata().iter() {
        match value {
            Value::Array(array) => {
                let first: Vec<_> = array.iter().take(5).collect();
                writeln!(out, "{key} = {} {}: {first:?} …", array.len(), array.element_type())?;
            }
            Value::String(text) => writeln!(out, "{key} = {:.60}", format!("{text:?}"))?,
            _ => writeln!(out, "{key} = {value:?}")?,
        }
    }
    for tensor in file.tensors() {
        writeln!(
            out,
            "{:<40} {:<6} {:>16} {:>12} bytes at {}",
            tensor.name(),
            tensor.dtype(),
            format!("{:?}", tensor.shape()),
            tensor.n_bytes(),
            tensor.range().start
        )?;
    }
    Ok(())
}
