//! How far this node's peers are, and which of its addresses it says to them.
use std::collections::HashMap;

use cardume_behaviour::Scope;
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::{
    ConnectionId, FromSwarm, NetworkBehaviour as _,
    behaviour::{ExternalAddrConfirmed, ExternalAddrExpired},
};
use multiaddr::Multiaddr;

use crate::{address::distance, config::Mode, inner::Dht};

/// Our connections and addresses, as far as the DHT's behaviour depends on them.
#[derive(Debug)]
pub(crate) struct Reach {
    mode: Mode,
    connections: HashMap<ConnectionId, (PeerId, Scope)>,
    external: Vec<Multiaddr>,
    /// The inner behaviour is told of addresses that reach as far.
    shown: Scope,
    told: Option<kad::Mode>,
}

impl Reach {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            connections: HashMap::new(),
            external: Vec::new(),
            shown: Scope::Host,
            told: None,
        }
    }

    /// How far away the farthest peer is.
    pub(crate) fn farthest(&self) -> Scope {
        self.farthest_of(|_| true)
    }

    /// How far away the farthest of those peers is.
    pub(crate) fn farthest_of(&self, which: impl Fn(&PeerId) -> bool) -> Scope {
        let of_them = self.connections.values().filter(|(peer, _)| which(peer));
        of_them.map(|(_, distance)| *distance).max().unwrap_or_default()
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
        if self.told != Some(mode) {
            tracing::debug!(%mode, "the DHT's mode");
            dht.set_mode(Some(mode));
            self.told = Some(mode);
        }
        let farthest = self.farthest();
        let before = std::mem::replace(&mut self.shown, farthest);
        self.replay(before, dht);
    }

    fn connected(&mut self, id: ConnectionId, peer: PeerId, remote: &Multiaddr) {
        self.connections.insert(id, (peer, distance(remote)));
    }

    fn rule(&self) -> kad::Mode {
        match self.mode {
            Mode::Server => kad::Mode::Server,
            Mode::Client => kad::Mode::Client,
            Mode::Auto if self.farthest() < Scope::Public => kad::Mode::Server,
            Mode::Auto if self.external.iter().any(|a| Scope::of(a) == Scope::Public) => kad::Mode::Server,
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

#[cfg(test)]
mod tests;
