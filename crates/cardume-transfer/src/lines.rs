//! Over what kind of line each peer is connected.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_access::rates::Class;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionClosed, ConnectionId, behaviour::ConnectionEstablished};

/// The connections of each peer, with their classes.
#[derive(Debug, Default)]
struct Open {
    peers: HashMap<PeerId, Vec<(ConnectionId, Class)>>,
    /// Connections through relays.
    relayed: usize,
}

/// Open connections; shared by the driver that notes them and the streams on them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Open>>);

impl Lines {
    pub(crate) fn opened(&self, event: &ConnectionEstablished<'_>) {
        // Who comes to us through a relay has no address that says so.
        let class = if event.endpoint.is_relayed() {
            Class::Relay
        } else {
            Class::of(event.endpoint.get_remote_address())
        };
        let mut open = self.lock();
        open.relayed += usize::from(class == Class::Relay);
        open.peers
            .entry(event.peer_id)
            .or_default()
            .push((event.connection_id, class));
    }

    pub(crate) fn closed(&self, event: &ConnectionClosed<'_>) {
        let Open { peers, relayed } = &mut *self.lock();
        if let Some(connections) = peers.get_mut(&event.peer_id) {
            let is_it = |(id, _): &mut (ConnectionId, Class)| *id == event.connection_id;
            let closed = connections.extract_if(.., is_it);
            *relayed -= closed.filter(|(_, class)| *class == Class::Relay).count();
            if connections.is_empty() {
                peers.remove(&event.peer_id);
            }
        }
    }

    /// The class of one connection.
    pub(crate) fn of_connection(&self, peer: &PeerId, id: ConnectionId) -> Class {
        let open = self.lock();
        let found = open
            .peers
            .get(peer)
            .and_then(|all| all.iter().find(|(other, _)| *other == id));
        found.map_or(Class::Wan, |(_, class)| *class)
    }

    /// The class of a peer, for who does not know the connection: that of its nearest.
    pub(crate) fn of_peer(&self, peer: &PeerId) -> Class {
        let open = self.lock();
        let classes = open
            .peers
            .get(peer)
            .into_iter()
            .flatten()
            .map(|(_, class)| *class);
        classes.min().unwrap_or(Class::Wan)
    }

    /// Whether some of what a peer is asked for goes through a relay: any of its connections may carry a request.
    pub(crate) fn is_relayed(&self, peer: &PeerId) -> bool {
        let open = self.lock();
        let mut connections = open.peers.get(peer).into_iter().flatten();
        connections.any(|(_, class)| *class == Class::Relay)
    }

    /// Whether there is any connection through a relay.
    pub(crate) fn has_relayed(&self) -> bool {
        self.lock().relayed > 0
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
