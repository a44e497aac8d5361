//! Writes the golden ids of `tests/llama_cpp.rs` anew, as a llama.cpp server gives them.
//!
//! ```sh
//! llama-server -m MODEL.gguf --port 8123 &
//! cargo run -p nano-reasoning-text --example golden_ids -- MODEL.gguf 127.0.0.1:8123
//! ```

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

#[path = "../tests/golden/mod.rs"]
mod golden;
#[path = "../tests/strings/mod.rs"]
mod strings;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, server] = arguments.as_slice() else {
        return Err("usage: golden_ids MODEL.gguf HOST:PORT".into());
    };
    let name = Path::new(model).file_name().and_then(|name| name.to_str()).ok_or("the model has no name")?;
    let mut lines = String::new();
    for text in strings::strings() {
        let [as_text, parsed] = [false, true].map(|parse| ids(server, &text, parse));
        writeln!(lines, "{} {}", golden::digest(&as_text?), golden::digest(&parsed?))?;
    }
    fs::write(golden::path(name), lines)?;
    println!("wrote {}", golden::path(name).display());
    Ok(())
}

fn ids(server: &str, text: &str, parse_special: bool) -> Result<Vec<u32>, Box<dyn Error>> {
    let body = serde_json::json!({"content": text, "add_special": false, "parse_special": parse_special});
    let body = body.to_string();
    let mut connection = TcpStream::connect(server)?;
    write!(connection, "POST /tokenize HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let (_, json) = response.split_once("\r\n\r\n").ok_or("the server's answer has no body")?;
    let json: serde_json::Value = serde_json::from_str(json)?;
    Ok(serde_json::from_value(json["tokens"].clone())?)
}
