//! The seam between a networking feature and the swarm.
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use std::{
    fmt,
    task::{Context, Poll},
};
use tokio::sync::{mpsc, oneshot};

/// Iterations of one `poll` before the task yields.
const POLL_BUDGET: usize = 64;

/// Work asked of a driver.
pub trait Command: Send + 'static {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
}

pub trait Driver: Send + 'static {
    type Inner: NetworkBehaviour;
    type Command: Command;
    type Event: fmt::Debug + Send + 'static;

    /// Whether another command may be taken; `false` leaves commands in the channel.
    fn is_ready(&self) -> bool;
    fn on_command(&mut self, inner: &mut Self::Inner, command: Self::Command);
    fn on_event(
        &mut self,
        inner: &mut Self::Inner,
        event: <Self::Inner as NetworkBehaviour>::ToSwarm,
    ) -> Option<Self::Event>;
    fn on_swarm_event(&mut self, _inner: &mut Self::Inner, _event: &FromSwarm<'_>) {}
    /// Finishes work already taken: answers that are due, callers that have gone, timers.
    ///
    /// Polled before the commands and never gated by [`is_ready`](Self::is_ready). `Ready` when
    /// something moved, so that it is polled again.
    fn poll_local(&mut self, _inner: &mut Self::Inner, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

pub struct Driven<D: Driver> {
    inner: D::Inner,
    driver: D,
    commands: mpsc::Receiver<D::Command>,
}

impl<D: Driver> Driven<D> {
    pub fn new(inner: D::Inner, driver: D, capacity: usize) -> (Self, Mailbox<D::Command>) {
        let (sender, commands) = mpsc::channel(capacity);
        (
            Self {
                inner,
                driver,
                commands,
            },
            Mailbox { sender },
        )
    }
    pub fn driver(&self) -> &D {
        &self.driver
    }
    pub fn inner_mut(&mut self) -> &mut D::Inner {
        &mut self.inner
    }
}

pub struct Mailbox<C> {
    sender: mpsc::Sender<C>,
}
impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("the feature is not running")]
pub struct Closed;

impl<C> Mailbox<C> {
    pub async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> C) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(command(reply)).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
    pub async fn send(&self, command: C) -> Result<(), Closed> {
        self.sender.send(command).await.map_err(|_| Closed)
    }
    pub fn test_pair(capacity: usize) -> (Self, mpsc::Receiver<C>) {
        let (sender, r) = mpsc::channel(capacity);
        (Self { sender }, r)
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
        addrs: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(id, peer, addrs, role)
    }
    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, addr, role, port)
    }
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.driver.on_swarm_event(&mut self.inner, &event);
        self.inner.on_swarm_event(event);
    }
    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        for _ in 0..POLL_BUDGET {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    if let Some(event) = self.driver.on_event(&mut self.inner, event) {
                        return Poll::Ready(ToSwarm::GenerateEvent(event));
                    }
                    continue;
                }
                Poll::Ready(action) => return Poll::Ready(action.map_out(|_| unreachable!("handled above"))),
                Poll::Pending => {}
            }
            if self.driver.poll_local(&mut self.inner, cx).is_ready() {
                continue;
            }
            if self.driver.is_ready()
                && let Poll::Ready(Some(command)) = self.commands.poll_recv(cx)
            {
                if !command.is_abandoned() {
                    self.driver.on_command(&mut self.inner, command);
                }
                continue;
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
