//! One question to a program that answers HTTP on a unix socket: no library, so that little but its answer is timed.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The method and the path.
    pub what: (&'a str, &'a str),
    /// More fields of the head, each as `name: value`.
    pub fields: &'a [&'a str],
    /// What goes with it.
    pub body: Option<&'a Value>,
}

impl<'a> Question<'a> {
    /// Asks what is at `path`.
    pub fn get(path: &'a str) -> Self {
        Self {
            what: ("GET", path),
            fields: &[],
            body: None,
        }
    }

    /// Asks at `socket`, and returns the answer; `null` if there is nothing in it.
    ///
    /// # Errors
    ///
    /// If nobody answers, or not with success, or not with JSON.
    pub fn ask(&self, socket: &Path) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        let (method, path) = self.what;
        let body = self.body.map(Value::to_string).unwrap_or_default();
        // HTTP/1.0 (RFC 1945): the answer ends where the stream ends, and comes in one part.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        for field in self.fields {
            head.extend([field, "\r\n"]);
        }
        if self.body.is_some() {
            head.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?;
        ensure!(
            status.starts_with('2'),
            "{method} {path}: {status}: {}",
            body.trim()
        );
        match body.trim() {
            "" => Ok(Value::Null),
            text => Ok(serde_json::from_str(text)?),
        }
    }
}
