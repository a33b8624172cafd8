//! One request to a web server.
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Uri, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Where requests are posted to.
#[derive(Debug, Clone)]
pub struct Url {
    uri: Uri,
    is_secure: bool,
    host: String,
    port: u16,
}

/// Says what is wrong with a URL.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    Url::parse(text).map(drop)
}

impl Url {
    /// Reads an `http://` or `https://` URL.
    ///
    /// # Errors
    /// What is wrong with it, to be said after it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("is no URL: {error}"))?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("is no https:// or http:// URL".into()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a password in it".into());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err("names no host".into());
        }
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Self {
            is_secure,
            host,
            port,
            uri,
        })
    }

    /// Whether it needs TLS.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The head of a request to here.
    pub fn post(&self) -> hyper::http::request::Builder {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        Request::post(path).header("host", authority)
    }

    /// Sends a request on a connection of its own, and waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; the server may have taken the request.
    pub async fn send(
        &self,
        tls: Option<&Arc<ClientConfig>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| format!("{}:{}: {error}", self.host, self.port))?;
        stream.set_nodelay(true).ok();
        let Some(tls) = tls.filter(|_| self.is_secure) else {
            return exchange(stream, request).await;
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let secured = TlsConnector::from(tls.clone()).connect(name, stream).await;
        exchange(
            secured.map_err(|error| format!("{}: {error}", self.host))?,
            request,
        )
        .await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let shook = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shook.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(|error| error.to_string()),
            // The answer may have come before the end; if not, it tells why.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_requests_go_or_is_none() {
        let url = Url::parse("https://example.org/hook?a=b").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.is_secure()),
            ("example.org", 443, true)
        );
        let url = Url::parse("http://[::1]:8080").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 8080));
        for wrong in [
            "ftp://example.org",
            "example.org/hook",
            "https://",
            "https://me:pw@example.org/",
            "https://a b",
        ] {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
