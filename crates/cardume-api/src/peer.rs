//! Peers connected.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TrafficShare;

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
    /// Whether it is direct since a relay was there to arrange it.
    #[serde(default)]
    pub punched: bool,
    /// `quic`, `tcp`, `ws`, `wss`, `memory` or `other`.
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

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerDetails {
    /// Its peer id.
    pub peer_id: String,
    /// Its name in this node's configuration.
    pub name: Option<String>,
    /// Whether this node refuses it.
    pub blocked: bool,
    /// Its best connection; none when it is not connected.
    pub connection: Option<Peer>,
    /// Connections with it.
    pub connections: u32,
    /// Addresses where it may be, the likeliest first.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<Multiaddr>,
    /// Protocols it says it speaks.
    pub protocols: Vec<String>,
    /// Bytes on the open connections with it, by protocol.
    #[serde(default)]
    pub traffic: Vec<TrafficShare>,
}

/// The answer of a peer to a ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ping {
    /// Its peer id.
    pub peer_id: String,
    /// Milliseconds to it and back.
    pub rtt_ms: f64,
}

/// A peer that this node refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockedPeer {
    /// Its peer id.
    pub peer_id: String,
    /// Its name in this node's configuration.
    pub name: Option<String>,
    /// Whether the node refuses it of its own accord, for bytes that did not verify, and only until it stops.
    #[serde(default)]
    pub until_restart: bool,
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
