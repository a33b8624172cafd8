//! The behaviours under the driver: libp2p's DHT, an ear for who speaks it, and a voice for announcements.
//!
//! libp2p's DHT takes a peer for a server as soon as it has asked anything, which clients do too, and says
//! nothing when the peer's list of protocols then proves otherwise. Clients would fill the routing tables
//! of everybody. So the list itself, which identify brings to every handler, is what counts here.
use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, transport::PortUse, upgrade::DeniedUpgrade};
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    handler::{ConnectionEvent, ProtocolsChange},
};
use multiaddr::Multiaddr;

use crate::{records::Records, tell::Teller};

/// libp2p's DHT on our store.
pub(crate) type Dht = kad::Behaviour<Records>;

/// All of them, composed.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub struct Inner {
    /// The DHT.
    pub(crate) dht: Dht,
    /// The ear.
    pub(crate) speakers: Speakers,
    /// The voice.
    pub(crate) teller: Teller,
}

/// Hears from each connection whether the peer answers our protocol.
#[derive(Debug)]
pub struct Speakers {
    protocol: StreamProtocol,
    heard: VecDeque<Heard>,
}

/// A peer has said which protocols it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub(crate) peer: PeerId,
    /// Whether ours is among them.
    pub(crate) speaks: bool,
}

impl Speakers {
    pub(crate) fn new(protocol: StreamProtocol) -> Self {
        Self {
            protocol,
            heard: VecDeque::new(),
        }
    }

    fn ear(&self) -> Ear {
        Ear {
            protocol: self.protocol.clone(),
            told: None,
            speaks: None,
        }
    }
}

impl NetworkBehaviour for Speakers {
    type ConnectionHandler = Ear;
    type ToSwarm = Heard;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.ear())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.ear())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, speaks: THandlerOutEvent<Self>) {
        self.heard.push_back(Heard { peer, speaks });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Heard, THandlerInEvent<Self>>> {
        match self.heard.pop_front() {
            Some(heard) => Poll::Ready(ToSwarm::GenerateEvent(heard)),
            // The swarm polls again after each event of a handler, which is all that fills the queue.
            None => Poll::Pending,
        }
    }
}

/// One connection's ear; it opens no streams and takes none.
#[derive(Debug)]
pub struct Ear {
    protocol: StreamProtocol,
    told: Option<bool>,
    speaks: Option<bool>,
}

impl ConnectionHandler for Ear {
    type FromBehaviour = Infallible;
    type ToBehaviour = bool;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), bool>> {
        match self.speaks {
            Some(speaks) if self.told != self.speaks => {
                self.told = self.speaks;
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(speaks))
            }
            // Polled again after each event, and nothing else changes it.
            _ => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade, (), ()>) {
        let ConnectionEvent::RemoteProtocolsChange(change) = event else {
            return;
        };
        let ours = |mut list: libp2p_swarm::handler::ProtocolsAdded<'_>| list.any(|p| *p == self.protocol);
        match change {
            ProtocolsChange::Added(list) => self.speaks = Some(ours(list) || self.speaks == Some(true)),
            ProtocolsChange::Removed(mut list) => {
                if list.any(|p| *p == self.protocol) {
                    self.speaks = Some(false);
                }
            }
        }
    }
}
