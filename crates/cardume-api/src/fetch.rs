//! Getting content: what is asked for, and what comes of it.
use std::path::PathBuf;

use cardume_content::Cid;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Source;

/// Content to get from peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFetch {
    /// A link, or a CID, each with or without a path below it.
    pub link: String,
    /// Names below the link's own path, divided by `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Absolute path that the file or directory gets when complete; into the store if not given.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<PathBuf>,
    /// Replace what is at the destination.
    #[serde(default)]
    pub force: bool,
    /// Answer only when what was fetched is on the disk for good, and not as soon as it is verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sync: bool,
    /// Of a directory, only files whose path below it matches one of these globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What to call it in the store; the link's name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to ask first, besides the link's own peers; each ends in `/p2p/` and a peer id.
    #[schema(value_type = Vec<String>)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Multiaddr>,
}

/// Content that has been fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fetched {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// Where it lies, unless in the store.
    pub path: Option<String>,
    /// Bytes of all its files.
    pub size: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Bytes of content that came over the network this time.
    pub fetched: u64,
    /// … of them from a web server.
    #[serde(default)]
    pub origin: u64,
    /// Who sent how much.
    pub sources: Vec<Source>,
}
