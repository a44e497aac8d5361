//! A server that speaks as much of the Hub's protocol as a download needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Serves one file, `own/model/model.gguf`, until the test's process ends; returns its address. The file's
/// sha256 is left unsaid unless given.
pub(crate) fn serve(bytes: Vec<u8>, sha256: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up early is part of the tests.
            let _ = answer(stream, &bytes, sha256);
        }
    });
    address
}

fn answer(mut stream: TcpStream, bytes: &[u8], sha256: Option<&str>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let listing = serde_json::json!({"sha": "c0ffee", "siblings": [
        {"rfilename": "model.gguf", "size": bytes.len(), "lfs": {"sha256": sha256, "size": bytes.len()}},
    ]})
    .to_string();
    let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
        path if path.starts_with("/api/models/own/model") => ("200 OK", listing.as_bytes()),
        path if path.ends_with("/model.gguf") => ("200 OK", bytes),
        _ => ("404 Not Found", &b""[..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    stream.shutdown(Shutdown::Write)?;
    // Wait for the client, so that the rest of the answer is not torn from its hands.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
