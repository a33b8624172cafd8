//! What is asked of the exchange, and what it tells.
use std::{ops::Range, path::PathBuf, time::Duration};

use bytes::Bytes;
use cardume_content::{Cid, Kind, Link, Manifest};
use cardume_origin::Address;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

use crate::FetchError;

/// Content to be got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The root of the content.
    pub cid: Cid,
    /// Names below `cid`, outermost first.
    pub path: Vec<String>,
    /// Where to ask first, each ending in `/p2p/<peer>`.
    pub peers: Vec<Multiaddr>,
    /// Where it is on the web, for when no peer helps: see [`origins`].
    pub origins: Vec<Address>,
    /// Where it goes.
    pub destination: Destination,
    /// Files that lie below this directory already get a further name there, and are not copied: only where nobody writes
    /// to them.
    pub link_within: Option<PathBuf>,
    /// Only files whose path below the root matches one of these globs; all, if there is none.
    pub only: Vec<String>,
    /// What to call the root in the store; by default, the destination's name.
    pub name: Option<String>,
    /// Who may have what comes, as words of an `allow` list; everybody if not set.
    pub allow: Option<Vec<String>>,
    /// How long to look for somebody who has it; by default, `[exchange] find_timeout`.
    pub deadline: Option<Duration>,
    /// Whether it goes on by itself after the node was stopped or killed.
    pub persist: bool,
}

/// Where a link says that its content is on the web: of a file, the file itself; of a directory, what its entries are
/// in. One that cannot be read is left out.
pub fn origins(link: &Link) -> Vec<Address> {
    let parsed = link
        .origins
        .iter()
        .filter_map(|origin| origin.parse::<Address>().ok());
    let name = link.name.clone().unwrap_or_else(|| link.cid.to_string());
    parsed
        .map(|origin| match link.cid.kind() {
            Kind::Blob if origin.is_directory() => origin.below([name.as_str()]),
            _ => origin,
        })
        .collect()
}

impl FetchRequest {
    /// Asks for all of `cid`, once.
    pub const fn new(cid: Cid, destination: Destination) -> Self {
        Self {
            cid,
            path: Vec::new(),
            peers: Vec::new(),
            origins: Vec::new(),
            destination,
            link_within: None,
            only: Vec::new(),
            name: None,
            allow: None,
            deadline: None,
            persist: false,
        }
    }
}

/// Where fetched content goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the store's own data.
    Store,
    /// A file or directory that gets this name when complete. With `force`, what is there is replaced.
    Path {
        /// Absolute; its parent exists.
        path: PathBuf,
        /// Whether something that is there is replaced.
        force: bool,
    },
}

/// How far a fetch is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of all wanted files; 0 until known.
    pub size: u64,
    /// Bytes that are here, verified: fetched now, fetched before, or held already.
    pub done: u64,
    /// Bytes of content that came over the network in this fetch.
    pub fetched: u64,
    /// … of them from a web server; those of a large file are verified only when all of it is here.
    pub origin: u64,
    /// Bytes that another node has read from a web server, which this one waits for.
    pub elsewhere: u64,
    /// Wanted files.
    pub files: u64,
    /// Files that are complete.
    pub files_done: u64,
    /// Who sent how much, the most first.
    pub sources: Vec<Source>,
}

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for its turn.
    #[default]
    Waiting,
    /// Looking for somebody who has it.
    FindingPeers,
    /// Reading directories.
    Manifests,
    /// Fetching files.
    Content,
    /// Giving everything its name.
    Placing,
    /// Complete.
    Done,
}

/// A peer that content came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Who.
    pub peer: PeerId,
    /// Bytes of verified content.
    pub bytes: u64,
}

/// What a fetch brought.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What was got: the root asked for, or what `path` names below it.
    pub cid: Cid,
    /// Where it lies, if not in the store.
    pub path: Option<PathBuf>,
    /// Bytes of all files.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of content that came over the network in this fetch.
    pub fetched: u64,
    /// … of them from a web server.
    pub origin: u64,
    /// Who sent how much, the most first.
    pub sources: Vec<Source>,
}

/// What a CID and a path below it name.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The file's or directory's own id.
    pub cid: Cid,
    /// Bytes of the file, or of all files below the directory (as it says itself).
    pub size: u64,
    /// Whether the file may be run.
    pub executable: bool,
    /// The entries, if it is a directory.
    pub manifest: Option<Manifest>,
}

/// Bytes arriving in order.
///
/// Dropping it stops the fetching that goes on for it.
#[derive(Debug)]
pub struct Reading {
    /// Bytes of the whole file.
    pub size: u64,
    /// What will arrive: the range asked for, clamped to the size.
    pub range: Range<u64>,
    /// Verified bytes; ends after the last, or after an error.
    pub chunks: tokio::sync::mpsc::Receiver<Result<Bytes, FetchError>>,
}

/// A fetch that is under way or waits for its turn.
#[derive(Debug, Clone)]
pub struct Running {
    /// Names it until the node stops.
    pub id: u64,
    /// What was asked for.
    pub request: FetchRequest,
    /// How far it is.
    pub progress: tokio::sync::watch::Receiver<Progress>,
}
