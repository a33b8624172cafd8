//! A URL that each message is posted to.
use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::{Request, StatusCode};
use rustls::ClientConfig;
use sha2::Sha256;

use super::{Tally, request::Url};
use crate::{Item, Reader, Received, Webhook};

/// Pause after the first attempt that failed, doubled after each, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of a secret, at most.
const MAX_SECRET: usize = 4096;

/// A webhook, ready to be called.
pub(super) struct Hook {
    config: Webhook,
    url: Url,
    secret: Option<Vec<u8>>,
    tls: Option<Arc<ClientConfig>>,
    agent: String,
}

/// The same, if the same would be posted in the same way.
impl PartialEq for Hook {
    fn eq(&self, other: &Self) -> bool {
        (&self.config, &self.secret) == (&other.config, &other.secret)
    }
}

/// Why one attempt failed.
enum Failure {
    /// Another may do better.
    Passing(String),
    /// None will.
    Lasting(String),
}

impl Hook {
    /// Reads the files that the configuration names; the path of one that cannot be read is the error.
    pub(super) fn new(config: &Webhook, agent: &str) -> Result<Self, (PathBuf, String)> {
        let url = Url::parse(&config.url).map_err(|reason| (PathBuf::from(&config.url), reason))?;
        let secret = config.secret_file.as_ref().map(|path| {
            let failed = |reason: String| (path.clone(), reason);
            let secret = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let secret = secret.trim_ascii_end();
            if secret.is_empty() || secret.len() > MAX_SECRET {
                return Err(failed("no secret, or one of more than 4 KiB".into()));
            }
            Ok(secret.to_owned())
        });
        let tls = url
            .is_secure()
            .then(|| cardume_origin::tls_client(config.ca_file.as_deref()));
        let tls = tls.transpose().map_err(|error| (error.path, error.reason))?;
        Ok(Self {
            config: config.clone(),
            secret: secret.transpose()?,
            url,
            tls,
            agent: agent.to_owned(),
        })
    }

    /// Posts each message in turn, until the server has taken it or too many attempts have failed.
    pub(super) async fn run(&self, mut reader: Reader, tally: &Tally) {
        while let Some((item, _)) = reader.next().await {
            match item {
                Item::Lost(count) => tally.lose(count.unwrap_or(1)),
                Item::Message(message) => match self.deliver(&message, tally).await {
                    Ok(()) => tally.deliver(1),
                    Err(problem) => tally.fail(problem),
                },
            }
        }
    }

    async fn deliver(&self, message: &Received, tally: &Tally) -> Result<(), String> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let tried = tokio::time::timeout(self.config.timeout.get(), self.attempt(message)).await;
            let late = || {
                Err(Failure::Passing(format!(
                    "no answer within {:?}",
                    self.config.timeout.get()
                )))
            };
            match tried.unwrap_or_else(|_| late()) {
                Ok(()) => return Ok(()),
                Err(Failure::Lasting(problem)) => return Err(problem),
                Err(Failure::Passing(problem)) if attempt >= self.config.attempts => {
                    return Err(format!("{problem}, {attempt} times"));
                }
                Err(Failure::Passing(problem)) => tally.fail_with(problem),
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&self, message: &Received) -> Result<(), Failure> {
        let request = self.request(message).map_err(Failure::Lasting)?;
        let sent = self.url.send(self.tls.as_ref(), request).await;
        let status = sent.map_err(Failure::Passing)?.status();
        let problem = || format!("the server answers {status}");
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(problem())),
            _ if status.is_server_error() => Err(Failure::Passing(problem())),
            _ => Err(Failure::Lasting(problem())),
        }
    }

    fn request(&self, message: &Received) -> Result<Request<Full<Bytes>>, String> {
        let kind = match std::str::from_utf8(&message.data) {
            Ok(_) => "text/plain; charset=utf-8",
            Err(_) => "application/octet-stream",
        };
        let mut request = self
            .url
            .post()
            .header("user-agent", &self.agent)
            .header("content-type", kind)
            .header("connection", "close")
            // A topic may have letters that a header has not.
            .header("cardume-topic", percent(&message.topic))
            .header("cardume-from", message.from.to_string())
            .header("cardume-id", message.id.to_string());
        if let Some(secret) = &self.secret {
            request = request.header("cardume-signature", signature(secret, message));
        }
        request
            .body(Full::new(message.data.clone()))
            .map_err(|error| error.to_string())
    }
}

/// Everything but letters, digits and what stands in names of topics, as `%` and two digits.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `sha256=` and the HMAC-SHA256 of topic, author, id and data, with a line feed after each of the first three.
fn signature(secret: &[u8], message: &Received) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    let head = format!("{}\n{}\n{}\n", message.topic, message.from, message.id);
    mac.update(head.as_bytes());
    mac.update(&message.data);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_any_other_program() {
        let message = Received {
            topic: "news".into(),
            from: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
                .parse()
                .unwrap(),
            id: cardume_gossipsub::MessageId::new(&[1, 2]),
            data: "all is well".into(),
            cid: None,
        };
        // printf 'news\n12D3KooW…\n0102\nall is well' | openssl dgst -sha256 -hmac sesame
        let expected = "sha256=68922119f43208f67407ba7fae8a423b5afdfbf8537642627411381f2c61ab99";
        assert_eq!(signature(b"sesame", &message), expected);
    }

    #[test]
    fn what_a_header_has_not_is_written_in_digits() {
        assert_eq!(percent("/a b/größe\n"), "/a%20b/gr%C3%B6%C3%9Fe%0A");
    }
}
