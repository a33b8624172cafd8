//! Bytes of content.
use std::ops::Range;

use bytes::Bytes;
use cardume_content::Cid;
use futures::{Stream, StreamExt};
use multiaddr::Multiaddr;
use reqwest::{Method, RequestBuilder, Response, header};

use super::{Client, ClientError};
use crate::Uploaded;

/// Which content: a CID, names below it, and where to ask first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The root.
    pub cid: Cid,
    /// Names below the root, outermost first.
    pub path: Vec<String>,
    /// Where to ask first when it is not held; each ends in `/p2p/` and a peer id.
    pub peers: Vec<Multiaddr>,
}

impl From<Cid> for Place {
    fn from(cid: Cid) -> Self {
        Self {
            cid,
            path: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl Place {
    /// Adds what the address of the place does not say.
    pub(super) fn onto(&self, request: RequestBuilder) -> RequestBuilder {
        let path = (!self.path.is_empty()).then(|| ("path", self.path.join("/")));
        let peers = self.peers.iter().map(|peer| ("peer", peer.to_string()));
        request.query(&path.into_iter().chain(peers).collect::<Vec<_>>())
    }
}

/// Which bytes of a file. A range that ends after the file ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// From this byte on.
    From(u64),
    /// These bytes; the end is not among them. Must not be empty.
    Within(Range<u64>),
    /// As many bytes at the end.
    Last(u64),
}

impl ByteRange {
    fn header(&self) -> String {
        match self {
            Self::From(start) => format!("bytes={start}-"),
            Self::Within(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
            Self::Last(count) => format!("bytes=-{count}"),
        }
    }
}

/// Bytes of a file as they arrive, each verified by the daemon.
///
/// It has all come when [`chunk`](Self::chunk) says `None`; a connection lost before is an error.
#[derive(Debug)]
pub struct Body {
    response: Response,
}

impl Body {
    /// Bytes that will come.
    pub fn len(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Whether nothing will come.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the bytes stop before the end; the daemon's log says why.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(ClientError::reading)
    }

    /// The bytes as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + 'static {
        self.response
            .bytes_stream()
            .map(|chunk| chunk.map_err(ClientError::reading))
    }
}

impl Client {
    /// Bytes of the file at `place`, all of it without a `range`; fetched as they are needed.
    ///
    /// # Errors
    /// `not_found` when no peer has it, `usage` when it is a directory, `limit` when the range begins after the end.
    pub async fn content(&self, place: &Place, range: Option<ByteRange>) -> Result<Body, ClientError> {
        let mut request = place.onto(self.request(Method::GET, &["v1", "content", &place.cid.to_string()]));
        if let Some(range) = range {
            request = request.header(header::RANGE, range.header());
        }
        let response = self.send(request).await?;
        Ok(Body { response })
    }

    /// Puts the bytes of one file into the daemon's store.
    ///
    /// # Errors
    /// `no_space` when the disk or the quota has no room.
    pub async fn upload<S, E>(&self, body: S) -> Result<Uploaded, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let request = self
            .request(Method::POST, &["v1", "content"])
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap_stream(body));
        self.json(request).await
    }
}
