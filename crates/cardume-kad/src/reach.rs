//! How far this node's peers are, and which of its addresses it says to them.
use std::collections::HashMap;

use cardume_behaviour::{Listening, Scope};
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::{
    ConnectionId, FromSwarm, NetworkBehaviour as _,
    behaviour::{ExternalAddrConfirmed, ExternalAddrExpired},
};
use multiaddr::{Multiaddr, Protocol};

use crate::{
    address::{Subnet, subnet},
    config::Mode,
    inner::Dht,
    ledger::Source,
    records::MAX_ADDRESSES,
};

/// The other end of one connection.
#[derive(Debug)]
struct Remote {
    peer: PeerId,
    distance: Scope,
    range: Option<Subnet>,
}

/// Our connections and addresses, as far as the DHT's behaviour depends on them.
#[derive(Debug)]
pub(crate) struct Reach {
    mode: Mode,
    connections: HashMap<ConnectionId, Remote>,
    external: Vec<Multiaddr>,
    /// The inner behaviour is told of addresses that reach as far.
    shown: Scope,
    told_mode: Option<kad::Mode>,
    listening: Listening,
}

impl Reach {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            connections: HashMap::new(),
            external: Vec::new(),
            shown: Scope::Host,
            told_mode: None,
            listening: Listening::default(),
        }
    }

    /// How far away the farthest peer is.
    pub(crate) fn farthest(&self) -> Scope {
        self.farthest_of(|_| true)
    }

    /// How far away the farthest of those peers is.
    pub(crate) fn farthest_of(&self, which: impl Fn(&PeerId) -> bool) -> Scope {
        let of_them = self.connections.values().filter(|remote| which(&remote.peer));
        of_them.map(|remote| remote.distance).max().unwrap_or_default()
    }

    /// The addresses of ours that others are told.
    pub(crate) fn told(&self) -> Vec<Multiaddr> {
        let far = |a: &&Multiaddr| Scope::of(a) >= self.shown;
        self.external
            .iter()
            .filter(far)
            .take(MAX_ADDRESSES)
            .cloned()
            .collect()
    }

    /// Who a connected peer is to the store: itself, and the range of addresses that it comes from.
    pub(crate) fn source(&self, peer: PeerId) -> Source {
        let mut remotes = self.connections.values().filter(|remote| remote.peer == peer);
        let range = remotes.find_map(|remote| remote.range);
        Source { peer, range }
    }

    /// Whether the inner behaviour may be told.
    ///
    /// It does not learn addresses that mean nothing, or another host, where its farthest peer is: it says
    /// all that it knows to everybody.
    /// It never learns listen addresses, confirmed or not: it would say those as well, and on each of them
    /// ask an empty routing table for a way in, and warn of that.
    pub(crate) fn sees(&self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::ExternalAddrConfirmed(e) => Scope::of(e.addr) >= self.shown,
            FromSwarm::NewListenAddr(_) => false,
            _ => true,
        }
    }

    pub(crate) fn on_swarm_event(&mut self, dht: &mut Dht, event: &FromSwarm<'_>) {
        self.listening.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.connected(e.connection_id, e.peer_id, e.endpoint.get_remote_address());
            }
            FromSwarm::AddressChange(e) => {
                self.connected(e.connection_id, e.peer_id, e.new.get_remote_address())
            }
            FromSwarm::ConnectionClosed(e) => {
                self.connections.remove(&e.connection_id);
            }
            FromSwarm::ExternalAddrConfirmed(e) if !self.external.contains(e.addr) => {
                self.external.push(e.addr.clone());
            }
            FromSwarm::ExternalAddrExpired(e) => self.external.retain(|a| a != e.addr),
            _ => return,
        }
        self.settle(dht);
    }

    /// Tells the inner behaviour what has become of its mode and its addresses.
    pub(crate) fn settle(&mut self, dht: &mut Dht) {
        let mode = self.rule();
        if self.told_mode != Some(mode) {
            tracing::debug!(%mode, "the DHT's mode");
            dht.set_mode(Some(mode));
            self.told_mode = Some(mode);
        }
        let farthest = self.farthest();
        let before = std::mem::replace(&mut self.shown, farthest);
        self.replay(before, dht);
    }

    fn connected(&mut self, id: ConnectionId, peer: PeerId, remote: &Multiaddr) {
        // A link of ours is a local network, whatever addresses it has.
        let range = subnet(remote).filter(|_| !self.listening.is_on_link(remote));
        let remote = Remote {
            peer,
            distance: Scope::of_remote(remote),
            range,
        };
        self.connections.insert(id, remote);
    }

    fn rule(&self) -> kad::Mode {
        match self.mode {
            Mode::Server => kad::Mode::Server,
            Mode::Client => kad::Mode::Client,
            Mode::Auto if self.farthest() < Scope::Public => kad::Mode::Server,
            Mode::Auto if self.external.iter().any(is_public) => kad::Mode::Server,
            Mode::Auto => kad::Mode::Client,
        }
    }

    /// Takes addresses away from the inner behaviour, or gives them back, after another was shown `before`.
    fn replay(&self, before: Scope, dht: &mut Dht) {
        for addr in &self.external {
            let reach = Scope::of(addr);
            match (reach >= before, reach >= self.shown) {
                (true, false) => {
                    dht.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
                }
                (false, true) => {
                    dht.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
                }
                _ => {}
            }
        }
    }
}

/// Whether anybody can dial us there; what goes through a relay costs others, and lookups are many.
fn is_public(address: &Multiaddr) -> bool {
    Scope::of(address) == Scope::Public && !address.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests;
