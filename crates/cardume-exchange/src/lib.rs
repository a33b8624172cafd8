//! Content given and got: whom to ask, for what, how many at once, and whom to answer.
use std::{ops::Range, path::PathBuf};

use bytes::Bytes;
use cardume_content::Cid;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

/// `[exchange]` … see design: part of `[transfer]`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fetches running at once; more wait.
    pub max_fetches: usize,
    /// Peers asked at once for one fetch.
    pub max_peers: usize,
    /// Requests in flight to one peer, at most; the window follows its speed.
    pub max_window: usize,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            max_fetches: 8,
            max_peers: 16,
            max_window: 16,
        }
    }
}

#[derive(Clone)]
pub struct Handle {
    _private: (),
}

#[derive(Debug, Clone)]
pub struct FetchRequest {
    pub cid: Cid,
    /// Names below `cid`, outermost first.
    pub path: Vec<String>,
    /// Where to ask first, each ending in `/p2p/<peer>`.
    pub peers: Vec<Multiaddr>,
    pub destination: Destination,
    /// Only files whose path below the root matches one of these globs.
    pub only: Vec<String>,
    /// What to call the root in the store.
    pub name: Option<String>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the store's own data.
    Store,
    /// A file or directory that gets this name when complete. With `force`, what is there is replaced.
    Path { path: PathBuf, force: bool },
}

/// A running fetch; dropping it cancels, and leaves what came for the next try.
pub struct Fetch {
    _private: (),
}
impl Fetch {
    pub fn progress(&self) -> tokio::sync::watch::Receiver<Progress> {
        todo!()
    }
    pub async fn finished(self) -> Result<Fetched, FetchError> {
        todo!()
    }
}
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    pub phase: Phase,
    pub size: u64,
    pub done: u64,
    pub fetched: u64,
    pub files: u64,
    pub files_done: u64,
    pub sources: Vec<Source>,
}
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Waiting,
    FindingPeers,
    Manifests,
    Content,
    Placing,
    Done,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub peer: PeerId,
    pub bytes: u64,
}
#[derive(Debug, Clone)]
pub struct Fetched {
    pub cid: Cid,
    pub path: Option<PathBuf>,
    pub size: u64,
    pub fetched: u64,
    pub sources: Vec<Source>,
}

impl Handle {
    /// Starts (or resumes) a fetch.
    pub fn fetch(&self, _request: FetchRequest) -> Fetch {
        todo!()
    }
    /// Bytes of `range` of the file at `cid`/`path`, in order, verified, fetched as they are needed.
    pub async fn read(
        &self,
        _cid: Cid,
        _path: Vec<String>,
        _peers: Vec<Multiaddr>,
        _range: Range<u64>,
    ) -> Result<Reading, FetchError> {
        todo!()
    }
    /// Announces a root in the DHT and keeps it announced; every share and finished fetch is.
    pub fn announce(&self, _cid: Cid) {
        todo!()
    }
    /// Takes a root off the DHT.
    pub fn withdraw(&self, _cid: Cid) {
        todo!()
    }
}
/// Bytes arriving in order.
pub struct Reading {
    pub size: u64,
    pub range: Range<u64>,
    pub chunks: tokio::sync::mpsc::Receiver<Result<Bytes, FetchError>>,
}

#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    #[error("no peer has {cid}")]
    NotFound { cid: Cid },
    #[error("{path:?} is not in {cid}")]
    NoSuchPath { cid: Cid, path: String },
    #[error("{path} exists; use --force to replace it")]
    Exists { path: PathBuf },
    #[error("no space left at {path}")]
    NoSpace { path: PathBuf },
    #[error("limit: {0}")]
    Limit(String),
    #[error("not allowed: {0}")]
    Denied(String),
    #[error("the content is refused: {0}")]
    Refused(String),
    #[error("every source sent bytes that do not verify")]
    Corrupt,
    #[error("{path}: {reason}")]
    Io { path: PathBuf, reason: String },
    #[error("the node is stopping")]
    Closed,
    #[error("{0}")]
    Failed(String),
}
