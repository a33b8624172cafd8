//! How the node is.
use std::collections::BTreeMap;

use cardume_content::Cid;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Membership, StoreStatus, WantedFetch};

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its peer id.
    pub peer_id: String,
    /// What it calls itself to its operator.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether it listens and its store answers.
    pub ready: bool,
    /// Addresses it listens at.
    #[schema(value_type = Vec<String>)]
    pub listen: Vec<Multiaddr>,
    /// Addresses others are known to reach it at.
    #[schema(value_type = Vec<String>)]
    pub external: Vec<Multiaddr>,
    /// Peers connected.
    pub peers: u64,
    /// Id of its network.
    pub network: String,
    /// Who may connect, and what this node has to show.
    #[serde(default)]
    pub membership: Membership,
    /// Roots in its store.
    pub roots: u64,
    /// What configuration shares, by name.
    pub shares: Vec<Share>,
    /// How the store is; missing when it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
    /// What configuration wants fetched.
    #[serde(default)]
    pub fetches: Vec<WantedFetch>,
    /// Requests that an `allow` list has denied since the start, by what they were for.
    #[serde(default)]
    pub denied: BTreeMap<String, u64>,
    /// Places that configuration has follow channels.
    #[serde(default)]
    pub follows: Vec<crate::Follow>,
    /// Operations that run.
    pub operations: u64,
    /// How fast content may go, and how fast it goes.
    pub rates: crate::Rates,
    /// How it stands with its configuration files.
    #[serde(default)]
    pub config: crate::ConfigStatus,
    /// Where its state lives.
    pub data_dir: String,
}

/// Something that configuration shares, and keeps as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// What configuration calls it.
    pub name: String,
    /// Where it lies.
    pub path: String,
    /// Its id, as it was found last.
    #[schema(value_type = Option<String>)]
    pub cid: Option<Cid>,
    /// What is being done about it.
    pub state: ShareState,
    /// Number of its files.
    pub files: u64,
    /// Bytes of them.
    pub size: u64,
    /// Who may have it; everybody, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// When its id became what it is, in seconds since 1970.
    pub last_change: Option<u64>,
    /// What its owner should know: why it failed, what was left out, or that it cannot be watched.
    pub problem: Option<String>,
}

/// What is being done about a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShareState {
    /// It waits for its turn.
    Waiting,
    /// It is being taken in.
    Hashing,
    /// It has changed, and is waited for to come to rest.
    Changing,
    /// It is shared as it was found last.
    Shared,
    /// It cannot be taken in; it is tried again.
    Failed,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

/// Which program answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Its version.
    pub version: String,
}
