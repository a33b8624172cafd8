//! Asks a daemon.
mod address;
mod calls;
mod care;
mod channel;
mod content;
mod error;
mod events;
mod log;
mod rates;
mod tokens;
mod topics;
mod tunnels;

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    address::Address,
    content::{Body, ByteRange, Place},
    error::ClientError,
    events::{Events, Feed, Received},
    log::LogEvents,
    topics::TopicEvents,
};

/// A socket on this machine that takes longer to connect to is as good as none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The daemon closes what is idle for ten seconds; a call must not meet that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the first answer of all. What takes a call and does not say who it is by then is no daemon that turns.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for an answer that waits for nothing but the daemon and its disk. Twice what the daemon gives its own parts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks a daemon. Cheap to clone.
///
/// Calls that wait for nothing but the daemon fail with `timeout` after a minute. Those that wait for peers, or carry
/// content, have no deadline: drop the future to give up. Work begun by a call goes on in the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    address: Address,
    token: Option<Token>,
}

/// A secret that no log shows.
#[derive(Clone)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Client {
    /// Makes a client of the daemon at `unix:///path/to/socket` or `http://host:port`; connects with the first call.
    ///
    /// # Errors
    /// [`ClientError::Address`] when the text is neither.
    pub fn from_address(address: &str) -> Result<Self, ClientError> {
        Self::new(address.parse()?)
    }

    /// Makes a client of the daemon at `address`; connects with the first call.
    ///
    /// # Errors
    /// [`ClientError::Address`] when the address cannot be used, or is of `https`, for which [`Self::over_tls`] is.
    pub fn new(address: Address) -> Result<Self, ClientError> {
        if let Address::Https(url) = address {
            return Err(ClientError::Address {
                address: url,
                reason: "nobody has said whom to trust".into(),
            });
        }
        Self::build(address, trusting_nobody())
    }

    /// Makes a client of the daemon at `address`, which believes whom `tls` does; connects with the first call.
    ///
    /// # Errors
    /// [`ClientError::Address`] when the address cannot be used.
    pub fn over_tls(address: Address, tls: rustls::ClientConfig) -> Result<Self, ClientError> {
        Self::build(address, tls)
    }

    fn build(address: Address, tls: rustls::ClientConfig) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls);
        let (builder, base) = match &address {
            // The host is never looked up; the daemon wants one it knows.
            Address::Unix(path) => (
                builder.unix_socket(path.as_path()),
                "http://localhost/".to_owned(),
            ),
            Address::Http(url) | Address::Https(url) => (builder, url.clone()),
        };
        let bad = |reason: String| ClientError::Address {
            address: address.to_string(),
            reason,
        };
        let base = Url::parse(&base).map_err(|error| bad(error.to_string()))?;
        let http = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            http,
            base,
            address,
            token: None,
        })
    }

    /// The same client, which shows `token` with every call, as a daemon wants it over TCP.
    #[must_use]
    pub fn with_token(self, token: String) -> Self {
        let token = Some(Token(token));
        Self { token, ..self }
    }

    /// Where the daemon is.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A request for the path made of `segments`, each escaped.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .clear()
            .extend(segments);
        let request = self.http.request(method, url);
        match &self.token {
            Some(Token(token)) => request.bearer_auth(token),
            None => request,
        }
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent {
            address: self.address.to_string(),
        }
    }

    /// Sends; an answer other than success is the problem it carries.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|error| ClientError::sending(&self.address, error))?;
        if response.status().is_success() || response.status() == reqwest::StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(ClientError::answered(response).await)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        self.send(request)
            .await?
            .json()
            .await
            .map_err(|error| match error.is_timeout() {
                true => ClientError::sending(&self.address, error),
                false => ClientError::reading(error),
            })
    }

    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, segments).timeout(ANSWER_TIMEOUT))
            .await
    }

    async fn post<B, T>(&self, segments: &[&str], body: &B) -> Result<T, ClientError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        let request = self.request(Method::POST, segments).timeout(ANSWER_TIMEOUT);
        self.send_json(request, body).await
    }

    async fn send_json<B, T>(&self, request: RequestBuilder, body: &B) -> Result<T, ClientError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        // Made here, where a path that is no text can be told from an answer that makes no sense.
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Unsendable(error.to_string()))?;
        let request = request
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body);
        self.json(request).await
    }

    async fn done(&self, method: Method, segments: &[&str]) -> Result<(), ClientError> {
        let request = self.request(method, segments).timeout(ANSWER_TIMEOUT);
        self.send(request).await.map(drop)
    }
}

/// What a client has that never speaks TLS: the HTTP library wants it all the same.
fn trusting_nobody() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// The lines of a body, each a JSON document.
fn lines<T: DeserializeOwned + 'static>(
    response: Response,
) -> impl Stream<Item = Result<T, ClientError>> + Send + 'static {
    let chunks = response.bytes_stream().boxed();
    futures::stream::unfold((chunks, Vec::new()), async |(mut chunks, mut rest)| {
        loop {
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if line.len() > 1 {
                    return Some((parse(&line), (chunks, rest)));
                }
                continue;
            }
            match chunks.next().await {
                Some(Ok(chunk)) => rest.extend_from_slice(&chunk),
                Some(Err(error)) => return Some((Err(ClientError::reading(error)), (chunks, Vec::new()))),
                None if rest.is_empty() => return None,
                None => return Some((parse(&std::mem::take(&mut rest)), (chunks, rest))),
            }
        }
    })
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(text).map_err(|error| ClientError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes calls, and never answers. In paused time, since all there is to do is to wait.
    #[tokio::test(start_paused = true)]
    async fn a_socket_that_never_answers_is_given_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let _hole = tokio::net::UnixListener::bind(&path).expect("a socket");
        let client = Client::new(Address::Unix(path)).expect("a client");
        let calls = [
            client.version().await.map(drop),
            client.status().await.map(drop),
            client.stop().await,
            client.files().await.map(drop),
            client.events(None).await.map(drop),
        ];
        for call in calls {
            let error = call.expect_err("nobody answers");
            assert!(matches!(error, ClientError::Silent { .. }), "{error}");
            assert_eq!(error.exit_status(), 6);
        }
    }
}
