//! Peers connected.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its peer id.
    pub peer_id: String,
    /// Its name in this node's configuration.
    pub name: Option<String>,
    /// Its address on this connection.
    #[schema(value_type = String)]
    pub address: Multiaddr,
    /// What program it says it runs.
    pub agent: Option<String>,
    /// Direct, or through a relay.
    pub path: Path,
    /// `quic`, `tcp`, `websocket`, `memory` or `other`.
    pub transport: String,
    /// Milliseconds to it and back.
    pub rtt_ms: Option<f64>,
    /// Bytes of content sent to it.
    pub sent: u64,
    /// Bytes of content received from it.
    pub received: u64,
    /// Whether this node made the connection.
    pub outbound: bool,
    /// Seconds it has been connected.
    pub connected_s: u64,
}

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Nobody between.
    Direct,
    /// Through a relay.
    Relayed,
}

/// A peer to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPeer {
    /// Its address, or `/p2p/` and its peer id where its addresses are known.
    #[schema(value_type = String)]
    pub address: Multiaddr,
}
