//! A server that speaks as much of the Hub's protocol as a download needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Serves one file, `own/model/model.gguf`, until the test's process ends; returns its address. The file's
/// sha256 is left unsaid unless given.
pub(crate) fn serve(bytes: Vec<u8>, sha256: Option<&'static str>) -> String {
    listen(move |stream| answer(stream, &bytes, sha256, None))
}

/// [`serve`], but whoever asks for the file from its start gets the second half at a byte each few milliseconds. The
/// receiver has where each request for the file started.
pub(crate) fn serve_slowly(bytes: Vec<u8>) -> (String, Receiver<usize>) {
    let (sender, starts) = mpsc::channel();
    (listen(move |stream| answer(stream, &bytes, None, Some(&sender))), starts)
}

fn listen(answer: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up early is part of the tests.
            let _ = answer(stream);
        }
    });
    address
}

fn answer(
    mut stream: TcpStream,
    bytes: &[u8],
    sha256: Option<&str>,
    starts: Option<&Sender<usize>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut start = 0;
    while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().unwrap_or(0);
        }
    }
    let listing = serde_json::json!({"sha": "c0ffee", "siblings": [
        {"rfilename": "model.gguf", "size": bytes.len(), "lfs": {"sha256": sha256, "size": bytes.len()}},
    ]})
    .to_string();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let is_file = path.ends_with("/model.gguf");
    let (status, body) = match path {
        _ if path.starts_with("/api/models/own/model") => ("200 OK".to_owned(), listing.as_bytes()),
        _ if is_file && start > 0 => {
            let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            (format!("206 Partial Content\r\n{range}"), &bytes[start..])
        }
        _ if is_file => ("200 OK".to_owned(), bytes),
        _ => ("404 Not Found".to_owned(), &b""[..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    let mut n_at_once = body.len();
    if let Some(starts) = starts.filter(|_| is_file) {
        // The test may have seen enough.
        let _ = starts.send(start);
        n_at_once = if start == 0 { body.len() / 2 } else { body.len() };
    }
    stream.write_all(&body[..n_at_once])?;
    for byte in &body[n_at_once..] {
        thread::sleep(Duration::from_millis(5));
        stream.write_all(&[*byte])?;
    }
    stream.shutdown(Shutdown::Write)?;
    // Wait for the client, so that the rest of the answer is not torn from its hands.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
