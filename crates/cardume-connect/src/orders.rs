//! What the driver asks of the swarm: dials and closes, as a behaviour that does nothing else.
use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dial_opts::DialOpts, dummy,
};

/// Hands orders to the swarm in turn.
#[derive(Default)]
pub struct Behaviour {
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Behaviour {
    pub(crate) fn dial(&mut self, opts: DialOpts) {
        self.pending.push_back(ToSwarm::Dial { opts });
    }

    pub(crate) fn close(&mut self, peer_id: PeerId, connection: CloseConnection) {
        self.pending
            .push_back(ToSwarm::CloseConnection { peer_id, connection });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
