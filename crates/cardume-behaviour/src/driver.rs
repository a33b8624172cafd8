//! What a networking feature is.
use std::{
    fmt,
    task::{Context, Poll},
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{FromSwarm, NetworkBehaviour};

/// The event type of a behaviour.
pub type ToSwarmOf<B> = <B as NetworkBehaviour>::ToSwarm;

/// Work asked of a driver.
pub trait Command: Send + 'static {
    /// Whether nobody waits for the answer any more.
    ///
    /// Usually `reply.is_closed()` of the oneshot sender in the command. A command that wants no answer
    /// is never abandoned.
    fn is_abandoned(&self) -> bool;
}

/// A networking feature around one libp2p behaviour.
///
/// Every method runs on the swarm's task: none may block, touch the disk, or hash more than a few
/// kilobytes.
pub trait Driver: Send + 'static {
    /// The libp2p behaviour that speaks the protocol.
    type Inner: NetworkBehaviour;
    /// What callers ask for.
    type Command: Command;
    /// What the swarm's owner is told; [`Infallible`](std::convert::Infallible) when that is nothing.
    type Event: fmt::Debug + Send + 'static;

    /// Whether another command may be taken; `false` leaves commands in the mailbox.
    ///
    /// Asked in every turn, so it is enough to compare two numbers; nothing needs to be woken when the
    /// answer changes in one of the other methods.
    fn is_ready(&self) -> bool;

    /// Takes one command, whose caller was still there a moment ago.
    fn on_command(&mut self, inner: &mut Self::Inner, command: Self::Command);

    /// Takes one event of the inner behaviour; what it returns goes to the swarm's owner.
    fn on_event(&mut self, inner: &mut Self::Inner, event: ToSwarmOf<Self::Inner>) -> Option<Self::Event>;

    /// Sees what the swarm tells its behaviours, before the inner behaviour does.
    fn on_swarm_event(&mut self, inner: &mut Self::Inner, event: &FromSwarm<'_>) {
        let _ = (inner, event);
    }

    /// Whether the inner behaviour is told of this event of the swarm.
    ///
    /// For what is optional, such as addresses of peers or of ours that must not be used or told.
    /// Behaviours count connections and dials, so events about those must always pass.
    fn sees(&mut self, event: &FromSwarm<'_>) -> bool {
        let _ = event;
        true
    }

    /// Takes from `addresses`, at which the inner behaviour would dial `peer`, those that it should not.
    fn on_dial(&mut self, inner: &mut Self::Inner, peer: &PeerId, addresses: &mut Vec<Multiaddr>) {
        let _ = (inner, peer, addresses);
    }

    /// Finishes work already taken: answers that are due, callers that have gone, timers.
    ///
    /// Polled before the commands and never gated by [`is_ready`](Self::is_ready). `Ready` when something
    /// moved, so that it is polled again; `Pending` only after everything in it has registered its waker.
    fn poll_local(&mut self, inner: &mut Self::Inner, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (inner, cx);
        Poll::Pending
    }
}
