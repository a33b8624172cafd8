//! Who a node is connected to.
use std::{path::PathBuf, time::Duration};

use cardume_behaviour::Closed;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

/// `[connect]`
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Multiaddrs with `/p2p/<peer>` to join the network at.
    #[schemars(with = "Vec<String>")]
    pub bootstrap: Vec<Multiaddr>,
    pub max_connections: u32,
    pub max_inbound: u32,
    pub max_outbound: u32,
    pub max_pending_inbound: u32,
    pub max_pending_outbound: u32,
    pub max_per_peer: u32,
    /// Inbound connections from one address (IPv4) or /56 (IPv6); private and loopback addresses are exempt.
    pub max_per_address: u32,
    pub idle_timeout: cardume_units::Duration,
    pub dial_timeout: cardume_units::Duration,
    /// Resident memory above which new connections are refused.
    pub memory_ceiling: cardume_units::Size,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: vec![],
            max_connections: 384,
            max_inbound: 256,
            max_outbound: 128,
            max_pending_inbound: 32,
            max_pending_outbound: 64,
            max_per_peer: 4,
            max_per_address: 8,
            idle_timeout: cardume_units::Duration::from_secs(60),
            dial_timeout: cardume_units::Duration::from_secs(10),
            memory_ceiling: cardume_units::Size::mib(1024),
        }
    }
}

/// `[peer.NAME]`: a peer that configuration names.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    #[schemars(with = "String")]
    #[serde(with = "peer_id_text")]
    pub id: PeerId,
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub addresses: Vec<Multiaddr>,
    /// Stay connected: dial again, with back-off, whenever the connection is lost.
    #[serde(default)]
    pub keep: bool,
    #[serde(default)]
    pub groups: Vec<String>,
}
mod peer_id_text {
    use super::PeerId;
    pub(super) fn serialize<S: serde::Serializer>(id: &PeerId, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }
    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<PeerId, D::Error> {
        let s = <String as serde::Deserialize>::deserialize(d)?;
        s.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Clone)]
pub struct Handle {
    _private: (),
}
impl Handle {
    /// Connects to `peer` at `addresses` and those already known; at once if connected.
    pub async fn connect(&self, _peer: PeerId, _addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
        todo!()
    }
    /// Dials an address whose peer may be unknown; returns who answered.
    pub async fn dial(&self, _address: Multiaddr) -> Result<PeerId, ConnectError> {
        todo!()
    }
    /// Closes all connections; whether there was one.
    pub async fn disconnect(&self, _peer: PeerId) -> Result<bool, Closed> {
        todo!()
    }
    /// Refuses a peer until restart: cuts it off and denies its connections.
    pub async fn block(&self, _peer: PeerId) -> Result<(), Closed> {
        todo!()
    }
    pub async fn unblock(&self, _peer: PeerId) -> Result<(), Closed> {
        todo!()
    }
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Closed> {
        todo!()
    }
    pub async fn addresses(&self) -> Result<Addresses, Closed> {
        todo!()
    }
    /// Known addresses of a peer, best first.
    pub async fn addresses_of(&self, _peer: PeerId) -> Result<Vec<Multiaddr>, Closed> {
        todo!()
    }
    /// Peers as they connect and disconnect; a slow reader is told it lagged.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<PeerEvent> {
        todo!()
    }
}
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub peer: PeerId,
    pub address: Multiaddr,
    pub outbound: bool,
    pub agent: Option<String>,
    pub protocols: Vec<String>,
    pub rtt: Option<Duration>,
    pub connections: u32,
    pub connected_for: Duration,
}
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    pub listen: Vec<Multiaddr>,
    pub external: Vec<Multiaddr>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    Connected(PeerId),
    /** Speaks these protocols. */
    Identified {
        peer: PeerId,
        agent: String,
        protocols: Vec<String>,
    },
    Disconnected(PeerId),
}
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("no address of {0} is known")]
    NoAddress(PeerId),
    #[error("nobody answered: {0}")]
    Failed(String),
    #[error("refused: {0}")]
    Denied(String),
    #[error("another peer answered: {found}")]
    WrongPeer { found: PeerId },
}
