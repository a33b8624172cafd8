//! The part of the swarm that closes what must not go on.
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use cardume_behaviour::Onlooker;
use libp2p_swarm::{CloseConnection, FromSwarm, ToSwarm};

use crate::members::Members;

/// Closes the connections of peers that are no members any more.
#[derive(Debug)]
pub struct Watch(pub(crate) Arc<Members>);

impl Onlooker for Watch {
    type Event = Infallible;

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.0.connected(&established.peer_id),
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.0.disconnected(&closed.peer_id);
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        match self.0.poll_closing(cx) {
            Some(peer_id) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::All,
            }),
            None => Poll::Pending,
        }
    }
}
