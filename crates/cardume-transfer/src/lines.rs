//! Over what kind of line each peer is connected.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_access::rates::Class;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionClosed, ConnectionId, behaviour::ConnectionEstablished};

/// The connections of each peer, with their classes.
type Open = HashMap<PeerId, Vec<(ConnectionId, Class)>>;

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
        let mut peers = self.lock();
        peers
            .entry(event.peer_id)
            .or_default()
            .push((event.connection_id, class));
    }

    pub(crate) fn closed(&self, event: &ConnectionClosed<'_>) {
        let mut peers = self.lock();
        if let Some(connections) = peers.get_mut(&event.peer_id) {
            connections.retain(|(id, _)| *id != event.connection_id);
            if connections.is_empty() {
                peers.remove(&event.peer_id);
            }
        }
    }

    /// The class of one connection.
    pub(crate) fn of_connection(&self, peer: &PeerId, id: ConnectionId) -> Class {
        let peers = self.lock();
        let found = peers
            .get(peer)
            .and_then(|all| all.iter().find(|(other, _)| *other == id));
        found.map_or(Class::Wan, |(_, class)| *class)
    }

    /// The class of a peer, for who does not know the connection: that of its nearest.
    pub(crate) fn of_peer(&self, peer: &PeerId) -> Class {
        let peers = self.lock();
        let classes = peers.get(peer).into_iter().flatten().map(|(_, class)| *class);
        classes.min().unwrap_or(Class::Wan)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
