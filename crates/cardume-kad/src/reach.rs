//! Where this node is: on a local network or a wide one, and which of its addresses it says there.
use std::collections::HashMap;

use libp2p_kad as kad;
use libp2p_swarm::{
    ConnectionId, FromSwarm, NetworkBehaviour as _,
    behaviour::{ExternalAddrConfirmed, ExternalAddrExpired},
};
use multiaddr::Multiaddr;

use crate::{address::is_local, config::Mode, inner::Dht};

/// Our connections and addresses, as far as the DHT's behaviour depends on them.
#[derive(Debug)]
pub(crate) struct Reach {
    mode: Mode,
    connections: HashMap<ConnectionId, bool>,
    wide: usize,
    external: Vec<Multiaddr>,
    hidden: bool,
    told: Option<kad::Mode>,
}

impl Reach {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            connections: HashMap::new(),
            wide: 0,
            external: Vec::new(),
            hidden: false,
            told: None,
        }
    }

    /// Whether any peer is connected over a public address.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide > 0
    }

    /// Whether the inner behaviour may be told.
    ///
    /// On a wide network it does not learn addresses of a local one, for it would say them to strangers.
    /// It never learns listen addresses, confirmed or not: it would say those as well, and on each of them
    /// ask an empty routing table for a way in, and warn of that.
    pub(crate) fn sees(&self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::ExternalAddrConfirmed(e) => !(self.hidden && is_local(e.addr)),
            FromSwarm::NewListenAddr(_) => false,
            _ => true,
        }
    }

    pub(crate) fn on_swarm_event(&mut self, dht: &mut Dht, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.connected(e.connection_id, e.endpoint.get_remote_address());
            }
            FromSwarm::AddressChange(e) => self.connected(e.connection_id, e.new.get_remote_address()),
            FromSwarm::ConnectionClosed(e) => {
                if self.connections.remove(&e.connection_id) == Some(true) {
                    self.wide -= 1;
                }
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
        if self.hidden != self.is_wide() {
            self.hidden = self.is_wide();
            self.replay(dht);
        }
    }

    fn connected(&mut self, id: ConnectionId, remote: &Multiaddr) {
        let wide = !is_local(remote);
        let before = self.connections.insert(id, wide);
        self.wide -= usize::from(before == Some(true));
        self.wide += usize::from(wide);
    }

    fn rule(&self) -> kad::Mode {
        match self.mode {
            Mode::Server => kad::Mode::Server,
            Mode::Client => kad::Mode::Client,
            Mode::Auto if !self.is_wide() => kad::Mode::Server,
            Mode::Auto if self.external.iter().any(|a| !is_local(a)) => kad::Mode::Server,
            Mode::Auto => kad::Mode::Client,
        }
    }

    /// Takes local addresses away from the inner behaviour, or gives them back.
    fn replay(&self, dht: &mut Dht) {
        for addr in self.external.iter().filter(|a| is_local(a)) {
            dht.on_swarm_event(if self.hidden {
                FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr })
            } else {
                FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr })
            });
        }
    }
}

#[cfg(test)]
mod tests;
