//! The one `NetworkBehaviour` around every driver.
use std::task::{Context, Poll};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use tokio::sync::mpsc;

use crate::{Command, Driver, Mailbox, ToSwarmOf};

/// Turns of one `poll` before the task yields; without it, a feature that is always busy would keep the
/// connections of all others from being polled.
const TURNS: usize = 64;

/// A driver as a behaviour of the swarm.
pub struct Driven<D: Driver> {
    inner: D::Inner,
    driver: D,
    commands: mpsc::Receiver<D::Command>,
}

impl<D: Driver> Driven<D> {
    /// Puts `driver` around `inner`, with a mailbox that holds `capacity` commands.
    ///
    /// # Panics
    /// When `capacity` is zero.
    pub fn new(inner: D::Inner, driver: D, capacity: usize) -> (Self, Mailbox<D::Command>) {
        let (mailbox, commands) = Mailbox::pair(capacity);
        (
            Self {
                inner,
                driver,
                commands,
            },
            mailbox,
        )
    }

    /// The driver.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// The driver, to be changed.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// The libp2p behaviour inside.
    pub fn inner(&self) -> &D::Inner {
        &self.inner
    }

    /// The libp2p behaviour inside, to be changed.
    pub fn inner_mut(&mut self) -> &mut D::Inner {
        &mut self.inner
    }

    /// Takes one command, if the driver is ready for one and one is there; whether something moved.
    fn take_command(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.driver.is_ready() {
            return false;
        }
        let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) else {
            return false;
        };
        if !command.is_abandoned() {
            self.driver.on_command(&mut self.inner, command);
        }
        true
    }
}

/// What one step of the inner behaviour came to.
enum Step<D: Driver> {
    Idle,
    Moved,
    Tell(ToSwarm<D::Event, THandlerInEvent<Driven<D>>>),
}

impl<D: Driver> Driven<D> {
    fn step_inner(&mut self, cx: &mut Context<'_>) -> Step<D> {
        match self.inner.poll(cx) {
            Poll::Pending => Step::Idle,
            Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                match self.driver.on_event(&mut self.inner, event) {
                    Some(event) => Step::Tell(ToSwarm::GenerateEvent(event)),
                    None => Step::Moved,
                }
            }
            Poll::Ready(action) => {
                Step::Tell(action.map_out(|_: ToSwarmOf<D::Inner>| unreachable!("events are matched above")))
            }
        }
    }
}

impl<D: Driver> NetworkBehaviour for Driven<D> {
    type ConnectionHandler = <D::Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = D::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self
            .inner
            .handle_pending_outbound_connection(id, peer, addresses, role)?;
        if let Some(peer) = peer {
            self.driver.on_dial(&mut self.inner, &peer, &mut known);
        }
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.driver.on_swarm_event(&mut self.inner, &event);
        if self.driver.sees(&event) {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        for _ in 0..TURNS {
            let mut moved = match self.step_inner(cx) {
                Step::Tell(action) => return Poll::Ready(action),
                Step::Moved => true,
                Step::Idle => false,
            };
            // Before the command, and whether or not one may be taken: see the crate's invariants.
            moved |= self.driver.poll_local(&mut self.inner, cx).is_ready();
            moved |= self.take_command(cx);
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
