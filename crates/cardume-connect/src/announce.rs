//! Tells the swarm which of our addresses others can dial: what we listen on, and what configuration names.
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};

use crate::address::{bare, is_dialable};

/// Confirms configured and listen addresses as external.
///
/// A host that has a public address on an interface is reachable there as far as it can know; one
/// behind a NAT has private addresses only, which are told to private networks only.
pub struct Behaviour {
    configured: HashSet<Multiaddr>,
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Behaviour {
    pub(crate) fn new(configured: &[Multiaddr]) -> Self {
        let configured: HashSet<_> = configured.iter().map(bare).collect();
        Self {
            pending: configured
                .iter()
                .cloned()
                .map(ToSwarm::ExternalAddrConfirmed)
                .collect(),
            configured,
        }
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

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(new) if is_dialable(new.addr) => {
                self.pending
                    .push_back(ToSwarm::ExternalAddrConfirmed(bare(new.addr)));
            }
            FromSwarm::ExpiredListenAddr(expired) => {
                let address = bare(expired.addr);
                if !self.configured.contains(&address) {
                    self.pending.push_back(ToSwarm::ExternalAddrExpired(address));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
