//! Speaks no protocol; its only say is whether an idle connection stays.
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use libp2p_core::upgrade::DeniedUpgrade;
use libp2p_swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol, handler::ConnectionEvent};

/// Keeps its connection alive while the node has few.
pub struct Handler {
    connections: Arc<AtomicUsize>,
    idle: usize,
}

impl Handler {
    pub(super) fn new(connections: Arc<AtomicUsize>, idle: usize) -> Self {
        Self { connections, idle }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.connections.load(Ordering::Relaxed) <= self.idle
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_connection_event(&mut self, _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade>) {}
}
