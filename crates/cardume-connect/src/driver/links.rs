//! Who is connected, how, and what is known of them.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identify as identify;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionClosed, ConnectionId, behaviour::ConnectionEstablished};

use crate::{Path, PeerEvent, PeerInfo, address::bare, text::tame};

/// Protocols of one peer that are shown; more than any implementation has.
const MAX_PROTOCOLS: usize = 64;

struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    path: Path,
    outbound: bool,
    since: Instant,
    unanswered: u32,
}

#[derive(Default)]
struct Link {
    /// The oldest first; never empty.
    connections: Vec<Connection>,
    rtt: Option<Duration>,
    agent: Option<String>,
    protocols: Vec<String>,
}

/// Connected peers.
#[derive(Default)]
pub(super) struct Links {
    peers: HashMap<PeerId, Link>,
}

impl Links {
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether it is the first connection with this peer.
    pub(super) fn established(&mut self, event: &ConnectionEstablished<'_>) -> bool {
        let link = self.peers.entry(event.peer_id).or_default();
        let path = if event.endpoint.is_relayed() {
            Path::Relayed
        } else if link.connections.iter().any(|other| other.path == Path::Relayed) {
            Path::Punched
        } else {
            Path::Direct
        };
        link.connections.push(Connection {
            id: event.connection_id,
            path,
            address: bare(event.endpoint.get_remote_address()),
            outbound: event.endpoint.is_dialer(),
            since: Instant::now(),
            unanswered: 0,
        });
        link.connections.len() == 1
    }

    /// How the best connection with this peer gets there.
    pub(super) fn path(&self, peer: &PeerId) -> Option<Path> {
        let connections = &self.peers.get(peer)?.connections;
        connections.iter().map(|connection| connection.path).min()
    }

    /// Whether it was the last connection with this peer.
    pub(super) fn closed(&mut self, event: &ConnectionClosed<'_>) -> bool {
        let Some(link) = self.peers.get_mut(&event.peer_id) else {
            return false;
        };
        link.connections.retain(|c| c.id != event.connection_id);
        link.connections.is_empty() && self.peers.remove(&event.peer_id).is_some()
    }

    pub(super) fn answered(&mut self, peer: PeerId, id: ConnectionId, rtt: Duration) {
        if let Some(link) = self.peers.get_mut(&peer) {
            link.rtt = Some(rtt);
        }
        if let Some(connection) = self.connection(peer, id) {
            connection.unanswered = 0;
        }
    }

    /// Notes an unanswered ping; how many there were in a row.
    pub(super) fn unanswered(&mut self, peer: PeerId, id: ConnectionId) -> u32 {
        let Some(connection) = self.connection(peer, id) else {
            return 0;
        };
        connection.unanswered += 1;
        connection.unanswered
    }

    /// Notes what a peer says of itself; an event when that is new.
    pub(super) fn identified(&mut self, peer: PeerId, info: &identify::Info) -> Option<PeerEvent> {
        let link = self.peers.get_mut(&peer)?;
        let agent = tame(&info.agent_version);
        let protocols: Vec<_> = info
            .protocols
            .iter()
            .take(MAX_PROTOCOLS)
            .map(|p| tame(p.as_ref()))
            .collect();
        if link.agent.as_ref() == Some(&agent) && link.protocols == protocols {
            return None;
        }
        link.agent = Some(agent.clone());
        link.protocols.clone_from(&protocols);
        Some(PeerEvent::Identified {
            peer,
            agent,
            protocols,
        })
    }

    pub(super) fn peers(&self) -> Vec<PeerInfo> {
        let info = |(peer, link): (&PeerId, &Link)| {
            let best = link.connections.iter().min_by_key(|connection| connection.path)?;
            let oldest = link.connections.first()?;
            Some(PeerInfo {
                peer: *peer,
                address: best.address.clone(),
                path: best.path,
                outbound: best.outbound,
                agent: link.agent.clone(),
                protocols: link.protocols.clone(),
                rtt: link.rtt,
                connections: u32::try_from(link.connections.len()).unwrap_or(u32::MAX),
                connected_for: oldest.since.elapsed(),
            })
        };
        self.peers.iter().filter_map(info).collect()
    }

    fn connection(&mut self, peer: PeerId, id: ConnectionId) -> Option<&mut Connection> {
        self.peers
            .get_mut(&peer)?
            .connections
            .iter_mut()
            .find(|c| c.id == id)
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::{ConnectedPoint, Endpoint, transport::PortUse};

    use super::*;

    #[test]
    fn an_answer_makes_up_for_pings_without_one() {
        let (mut links, peer, id) = (Links::default(), PeerId::random(), ConnectionId::new_unchecked(1));
        let endpoint = ConnectedPoint::Dialer {
            address: "/ip4/10.0.0.1/tcp/4011".parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let is_first = links.established(&ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        });
        assert!(is_first);
        assert_eq!(links.unanswered(peer, id), 1);
        links.answered(peer, id, Duration::from_millis(3));
        assert_eq!(links.unanswered(peer, id), 1);
        assert_eq!(links.unanswered(peer, id), 2);
        assert_eq!(links.peers()[0].rtt, Some(Duration::from_millis(3)));
        assert_eq!(links.unanswered(peer, ConnectionId::new_unchecked(2)), 0);
    }
}
