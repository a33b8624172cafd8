//! Parts of the swarm that speak no protocol of their own.
use std::{
    convert::Infallible,
    fmt,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};

/// A part of the swarm that sees connections come and go, may refuse them, and gives orders, but opens no
/// streams and takes none.
///
/// Every method runs on the swarm's task: none may block or touch the disk.
pub trait Onlooker: 'static {
    /// What the swarm's owner is told; [`Infallible`] when that is nothing.
    type Event: fmt::Debug + Send + 'static;

    /// Says whether somebody at `remote`, who has proven nothing yet, may go on.
    ///
    /// # Errors
    /// The reason why not; the connection is closed.
    fn on_pending_inbound(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        let _ = (id, remote);
        Ok(())
    }

    /// Says whether `peer` may be dialled, and where else to look for it.
    ///
    /// # Errors
    /// The reason why not; the dial fails.
    fn on_pending_outbound(&mut self, peer: Option<PeerId>) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let _ = peer;
        Ok(Vec::new())
    }

    /// Sees what the swarm tells its behaviours.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let _ = event;
    }

    /// Gives the next order to the swarm.
    ///
    /// The swarm polls again after each of its events, so that what only they change needs no waker.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::Event, Infallible>> {
        let _ = cx;
        Poll::Pending
    }
}

/// An onlooker as a behaviour of the swarm.
#[derive(Debug, Default)]
pub struct Onlooking<O>(O);

impl<O: Onlooker> Onlooking<O> {
    /// Puts `onlooker` into the swarm.
    pub fn new(onlooker: O) -> Self {
        Self(onlooker)
    }
}

impl<O> Deref for Onlooking<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.0
    }
}

impl<O> DerefMut for Onlooking<O> {
    fn deref_mut(&mut self) -> &mut O {
        &mut self.0
    }
}

impl<O: Onlooker> NetworkBehaviour for Onlooking<O> {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = O::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.on_pending_inbound(id, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: Option<PeerId>,
        _addresses: &[Multiaddr],
        _role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.on_pending_outbound(peer)
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

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}
