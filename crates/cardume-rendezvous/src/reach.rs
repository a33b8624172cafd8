//! How far this node's peers are, where they come from, and which of its addresses it says to them.
use std::{collections::HashMap, net::IpAddr};

use cardume_behaviour::Scope;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionId, FromSwarm};
use multiaddr::{Multiaddr, Protocol};

/// Addresses that are told, and believed of one peer.
pub(crate) const MAX_ADDRESSES: usize = 16;
/// Longer addresses are left out: no transport of ours needs as much.
const MAX_LENGTH: usize = 256;

/// Addresses that one party commonly has: one of IPv4, a /56 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    V4([u8; 4]),
    V6([u8; 7]),
}

impl Range {
    /// That of a connection; none of what has no IP address.
    pub(crate) fn of(remote: &Multiaddr) -> Option<Self> {
        let ip = match remote.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        Some(match ip {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        })
    }
}

#[derive(Debug)]
struct Remote {
    peer: PeerId,
    distance: Scope,
    range: Option<Range>,
}

/// Our connections and addresses.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    connections: HashMap<ConnectionId, Remote>,
    external: Vec<Multiaddr>,
}

impl Reach {
    /// Takes in a change; whether our addresses are others now.
    pub(crate) fn on_swarm_event(&mut self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let address = e.endpoint.get_remote_address();
                let remote = Remote {
                    peer: e.peer_id,
                    distance: if e.endpoint.is_relayed() {
                        Scope::Public
                    } else {
                        Scope::of_remote(address)
                    },
                    range: Range::of(address).filter(|_| !e.endpoint.is_relayed()),
                };
                self.connections.insert(e.connection_id, remote);
                false
            }
            FromSwarm::ConnectionClosed(e) => {
                self.connections.remove(&e.connection_id);
                false
            }
            FromSwarm::ExternalAddrConfirmed(e) if !self.external.contains(e.addr) => {
                self.external.push(e.addr.clone());
                true
            }
            FromSwarm::ExternalAddrExpired(e) => {
                self.external.retain(|address| address != e.addr);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.values().any(|remote| remote.peer == *peer)
    }

    /// How far away `peer` is: the farthest that its connections say.
    pub(crate) fn distance(&self, peer: &PeerId) -> Scope {
        let its = self.connections.values().filter(|remote| remote.peer == *peer);
        its.map(|remote| remote.distance).max().unwrap_or(Scope::Public)
    }

    pub(crate) fn range(&self, connection: ConnectionId) -> Option<Range> {
        self.connections.get(&connection)?.range
    }

    /// Our addresses that mean something to whoever asks a point that is as far away, the farthest first.
    pub(crate) fn told(&self, distance: Scope) -> Vec<Multiaddr> {
        let reach = |address: &&Multiaddr| Scope::of(address) >= distance && address.len() <= MAX_LENGTH;
        let mut told: Vec<_> = self.external.iter().filter(reach).cloned().collect();
        told.sort_by_key(|address| std::cmp::Reverse(Scope::of(address)));
        told.truncate(MAX_ADDRESSES);
        told
    }
}

/// The addresses of `peer`, of those that a point at this distance names, that can be dialled; without its id.
pub(crate) fn believable(peer: &PeerId, named: &[Multiaddr], distance: Scope) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for address in named {
        let mut address = address.clone();
        if let Some(Protocol::P2p(id)) = address.iter().last() {
            if id != *peer {
                continue;
            }
            address.pop();
        }
        if is_dialable(&address) && Scope::of(&address) >= distance && !addresses.contains(&address) {
            addresses.push(address);
        }
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
    }
    addresses
}

/// Whether an address can be dialled at all, and printed.
fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        Some(Protocol::Ip6(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        Some(Protocol::Memory(port)) => return port != 0,
        _ => false,
    };
    let port = matches!(parts.next(), Some(Protocol::Tcp(1..) | Protocol::Udp(1..)));
    let is_printable = || address.to_string().bytes().all(|byte| byte.is_ascii_graphic());
    host && port && address.len() <= MAX_LENGTH && is_printable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_that_reach_as_far_are_told_and_believed() {
        let (near, far) = (
            address("/ip4/192.168.1.2/tcp/1"),
            address("/ip4/198.51.100.2/tcp/1"),
        );
        let reach = Reach {
            external: vec![address("/ip4/127.0.0.1/tcp/1"), near.clone(), far.clone()],
            ..Reach::default()
        };
        assert_eq!(reach.told(Scope::Public), std::slice::from_ref(&far));
        assert_eq!(reach.told(Scope::Private), [far.clone(), near.clone()]);
        let peer = PeerId::random();
        let named = [
            near.clone(),
            far.clone().with_p2p(peer).unwrap(),
            far.clone(),
            address("/ip4/198.51.100.3/tcp/1")
                .with_p2p(PeerId::random())
                .unwrap(),
            address("/ip4/0.0.0.0/tcp/1"),
            address("/ip4/198.51.100.4/tcp/0"),
            address("/dns4/\u{1b}[2J/tcp/1"),
        ];
        assert_eq!(
            believable(&peer, &named, Scope::Public),
            std::slice::from_ref(&far)
        );
        assert_eq!(believable(&peer, &named, Scope::Private), [near, far]);
        let many: Vec<_> = (1..40)
            .map(|n| address(&format!("/ip4/198.51.100.2/tcp/{n}")))
            .collect();
        assert_eq!(believable(&peer, &many, Scope::Public).len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_range_is_what_one_party_has() {
        let range = |text: &str| Range::of(&address(text));
        assert_eq!(
            range("/ip4/192.0.2.1/tcp/1"),
            range("/ip4/192.0.2.1/udp/9/quic-v1")
        );
        assert_ne!(range("/ip4/192.0.2.1/tcp/1"), range("/ip4/192.0.2.2/tcp/1"));
        assert_eq!(
            range("/ip6/2001:db8:0:7::1/tcp/1"),
            range("/ip6/2001:db8:0:8::1/tcp/1")
        );
        assert_eq!(range("/memory/1"), None);
    }
}
