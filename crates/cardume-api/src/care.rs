//! Care for what is stored: what it takes, what is broken, what has become garbage.
use cardume_content::Cid;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Broken;

/// How a repair goes about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewRepair {
    /// Write to files that the operator shares in place, too, where they have changed. For root and the node's own
    /// user.
    pub overwrite: bool,
    /// Where to ask first; each ends in `/p2p/` and a peer id.
    #[schema(value_type = Vec<String>)]
    pub peers: Vec<Multiaddr>,
}

/// What a repair has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repaired {
    /// Blobs that are all right: they were, or are again.
    pub blobs: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// Blobs that are whole again.
    pub repaired: u64,
    /// Bytes of content that came over the network for it.
    pub fetched: u64,
    /// Blobs that stay broken, and why; the first 1,000.
    pub left: Vec<Broken>,
}

/// What a collection of garbage has deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Collected {
    /// Blobs that nothing needed.
    pub blobs: u64,
    /// Bytes given back to the disk.
    pub bytes: u64,
    /// Whether there is more to do: something was being taken in all the time.
    pub more: bool,
}

/// What the store takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    /// Bytes of content of its own.
    pub data: u64,
    /// Bytes of content that lies elsewhere.
    pub in_place: u64,
    /// Bytes of hash trees and records.
    pub metadata: u64,
    /// Bytes of content and metadata it may take, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// Each root, or the one asked for.
    pub roots: Vec<Taken>,
}

/// What one root takes, in bytes unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Taken {
    /// The root.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// Its name.
    pub name: String,
    /// Number of its blobs that are here.
    pub blobs: u64,
    /// Number of its blobs that are not.
    pub missing: u64,
    /// Content in the store.
    pub data: u64,
    /// Content that lies elsewhere.
    pub in_place: u64,
    /// Hash trees and records.
    pub metadata: u64,
    /// Of data and metadata, what other roots hold too.
    pub shared: u64,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// Whether it takes things in.
    pub state: StoreState,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Bytes of content and metadata in it.
    pub used: u64,
    /// Bytes it may take, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

/// Whether the store takes things in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoreState {
    /// It does.
    Ok,
    /// Its disk has failed: it only gives, until the node is started again.
    ReadOnly,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

/// How something that configuration wants fetched stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WantedFetch {
    /// Its name in the configuration.
    pub name: String,
    /// What is wanted.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// Where it is to be.
    pub to: String,
    /// How it stands.
    pub state: WantedState,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all; 0 until known.
    pub size: u64,
    /// What keeps it from being there, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How something wanted stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WantedState {
    /// It waits: for its first look, or for the next try.
    Wanted,
    /// It is coming.
    Fetching,
    /// All of it is where it is wanted.
    Present,
    /// The last try failed; there will be another.
    Failed,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl WantedState {
    /// The stable text of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Fetching => "fetching",
            Self::Present => "present",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}
