use libp2p_core::{ConnectedPoint, Endpoint, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished};

use super::*;
use crate::records::tests::records;

/// A DHT, our side of it, and what the swarm would say.
struct Place {
    reach: Reach,
    dht: Dht,
}

impl Place {
    fn new(mode: Mode) -> Self {
        let dht = Dht::new(PeerId::random(), records(16, 16));
        let mut place = Self {
            reach: Reach::new(mode),
            dht,
        };
        place.reach.settle(&mut place.dht);
        place
    }

    fn tell(&mut self, event: FromSwarm<'_>) {
        self.reach.on_swarm_event(&mut self.dht, &event);
        if self.reach.sees(&event) && !matches!(event, FromSwarm::ConnectionClosed(_)) {
            self.dht.on_swarm_event(event);
        }
    }

    fn connect(&mut self, id: usize, remote: &str) {
        let endpoint = dialler(remote);
        self.tell(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn disconnect(&mut self, id: usize, remote: &str) {
        let endpoint = dialler(remote);
        self.tell(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
    }

    fn external(&mut self, address: &str) {
        let addr = &address.parse().unwrap();
        self.tell(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
    }

    /// Whether the inner behaviour knows the address: only then does forgetting it change anything.
    fn is_told(&self, address: &str) -> bool {
        let address: Multiaddr = address.parse().unwrap();
        let known = self.reach.external.contains(&address);
        known && Scope::of(&address) >= self.reach.shown
    }
}

fn dialler(remote: &str) -> ConnectedPoint {
    ConnectedPoint::Dialer {
        address: remote.parse().unwrap(),
        role_override: Endpoint::Dialer,
        port_use: PortUse::Reuse,
    }
}

#[test]
fn a_local_network_is_served_and_a_wide_one_only_from_a_public_address() {
    let mut place = Place::new(Mode::Auto);
    assert_eq!(place.dht.mode(), kad::Mode::Server);
    place.connect(1, "/ip4/192.168.1.2/tcp/4011");
    assert_eq!(place.dht.mode(), kad::Mode::Server);
    place.connect(2, "/ip4/198.51.100.7/tcp/4011");
    assert_eq!(place.dht.mode(), kad::Mode::Client);
    place.external("/ip4/192.168.1.9/tcp/4011");
    assert_eq!(place.dht.mode(), kad::Mode::Client);
    place.external("/ip4/203.0.113.9/tcp/4011");
    assert_eq!(place.dht.mode(), kad::Mode::Server);
    let addr = &"/ip4/203.0.113.9/tcp/4011".parse().unwrap();
    place.tell(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
    assert_eq!(place.dht.mode(), kad::Mode::Client);
    place.disconnect(2, "/ip4/198.51.100.7/tcp/4011");
    assert_eq!(place.dht.mode(), kad::Mode::Server);
}

#[test]
fn a_fixed_mode_stays() {
    for (mode, expected) in [
        (Mode::Server, kad::Mode::Server),
        (Mode::Client, kad::Mode::Client),
    ] {
        let mut place = Place::new(mode);
        place.external("/ip4/203.0.113.9/tcp/4011");
        place.connect(1, "/ip4/198.51.100.7/tcp/4011");
        assert_eq!(place.dht.mode(), expected);
        place.disconnect(1, "/ip4/198.51.100.7/tcp/4011");
        assert_eq!(place.dht.mode(), expected);
    }
}

#[test]
fn local_addresses_are_hidden_while_any_peer_is_on_a_wide_network() {
    let (local, public) = ("/ip4/10.0.0.9/tcp/4011", "/ip4/203.0.113.9/tcp/4011");
    let mut place = Place::new(Mode::Auto);
    place.external(local);
    place.external(public);
    assert!(place.is_told(local) && place.is_told(public));
    place.connect(1, "/ip6/2001:db8::1/udp/4011/quic-v1");
    assert!(!place.is_told(local) && place.is_told(public));
    let addr = &"/ip4/10.0.0.10/tcp/4011".parse().unwrap();
    let event = FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr });
    assert!(!place.reach.sees(&event));
    place.tell(event);
    place.disconnect(1, "/ip6/2001:db8::1/udp/4011/quic-v1");
    assert!(place.is_told(local) && place.is_told("/ip4/10.0.0.10/tcp/4011"));
}

#[test]
fn loopback_addresses_are_told_while_every_peer_is_on_this_host() {
    let (host, private) = ("/ip4/127.0.0.1/tcp/4011", "/ip4/10.0.0.9/tcp/4011");
    let mut place = Place::new(Mode::Auto);
    place.external(host);
    place.external(private);
    place.connect(1, "/ip4/127.0.0.1/tcp/4012");
    assert!(place.is_told(host) && place.is_told(private));
    place.connect(2, "/ip4/10.0.0.7/tcp/4011");
    assert!(!place.is_told(host) && place.is_told(private));
    assert_eq!(place.dht.mode(), kad::Mode::Server);
    place.disconnect(2, "/ip4/10.0.0.7/tcp/4011");
    assert!(place.is_told(host));
}
