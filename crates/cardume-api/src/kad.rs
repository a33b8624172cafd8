//! The distributed hash table.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How this node takes part in the DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kad {
    /// Whether it answers others.
    pub server: bool,
    /// Peers in its routing table.
    pub peers: u64,
    /// Keys it announces.
    pub provided: u64,
    /// Records of others that it keeps.
    pub records: u64,
    /// Lookups that run.
    pub queries: u64,
}

/// A peer that has some content, or was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Its peer id.
    pub peer_id: String,
    /// Where it may be reached.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<Multiaddr>,
}
