//! How the node is.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Roots in its store.
    pub shares: u64,
    /// Operations that run.
    pub operations: u64,
    /// Where its state lives.
    pub data_dir: String,
}
