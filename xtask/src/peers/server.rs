//! llama.cpp's server: it applies a file's chat template, tokenizes and answers, without loading anew.

use super::{Bench, Model};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const CONTEXT: &str = "4096";
const START: Duration = Duration::from_secs(300);
const ANSWER: Duration = Duration::from_secs(600);

/// A running server; it ends with this value.
pub(super) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts it and waits until the model is loaded.
    ///
    /// # Errors
    /// If it ends or takes too long.
    pub(super) fn start(bench: &Bench, model: &Model) -> anyhow::Result<Self> {
        Self::start_with(bench, model, &[])
    }

    /// As [`Self::start`], with further arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn start_with(bench: &Bench, model: &Model, arguments: &[String]) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = bench.theirs.command("llama-server");
        command.arg("-m").arg(&model.path).args(["-t", &bench.n_threads.to_string(), "-c", CONTEXT]);
        command.args(["-np", "1", "--jinja", "--no-ui", "--host", "127.0.0.1"]);
        bench.commands.note(command.args(arguments));
        command.args(["--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let mut server = Self { process, port };
        let started = Instant::now();
        while server.request("GET", "/health", "").is_err() {
            if let Some(status) = server.process.try_wait()? {
                bail!("{command:?} ended with {status}");
            }
            if started.elapsed() > START {
                bail!("{command:?} is not ready after {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// A user's message as the model's chat template puts it, up to where the answer begins.
    ///
    /// # Errors
    /// If the server refuses.
    pub(super) fn apply_template(&self, message: &str) -> anyhow::Result<String> {
        let request = json!({ "messages": [{ "role": "user", "content": message }] });
        let reply = self.post("/apply-template", &request)?;
        Ok(reply["prompt"].as_str().context("the server's template gives no text")?.to_owned())
    }

    /// Token ids; special tokens in `text` are special.
    ///
    /// # Errors
    /// If the server refuses.
    pub(super) fn tokenize(&self, text: &str) -> anyhow::Result<Vec<u64>> {
        let reply = self.post("/tokenize", &json!({ "content": text }))?;
        let tokens = reply["tokens"].as_array().context("the server gives no tokens")?;
        Ok(tokens.iter().filter_map(Value::as_u64).collect())
    }

    /// The greedy continuation of a prompt.
    ///
    /// # Errors
    /// If the server refuses.
    pub(super) fn complete(&self, prompt: &str, n_tokens: usize) -> anyhow::Result<String> {
        let request =
            json!({ "prompt": prompt, "n_predict": n_tokens, "temperature": 0, "cache_prompt": false });
        let reply = self.post("/completion", &request)?;
        Ok(reply["content"].as_str().context("the server gives no text")?.to_owned())
    }

    /// A request with a body, and what the server says to it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(super) fn post(&self, path: &str, request: &Value) -> anyhow::Result<Value> {
        let body = self.request("POST", path, &request.to_string())?;
        serde_json::from_str(&body).with_context(|| format!("reading the server's reply to {path}"))
    }

    /// One request on a connection of its own, as HTTP/1.0: the reply's body ends with the connection.
    fn request(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply);
        let (head, body) = reply.split_once("\r\n\r\n").context("the server's reply is cut off")?;
        if head.split(' ').nth(1) != Some("200") {
            bail!("{path}: {} {body}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
