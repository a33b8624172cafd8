//! libp2p's gossipsub, told who is who.
use std::{
    borrow::Cow,
    task::{Context, Poll},
};

use cardume_behaviour::Scope;
use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr, multiaddr::Protocol, transport::PortUse};
use libp2p_gossipsub as gossipsub;
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
    behaviour::{AddressChange, ConnectionClosed, ConnectionEstablished},
};

use crate::gate::{Filter, Gate, Transform};

/// libp2p's gossipsub with our gate.
pub(crate) type Gossipsub = gossipsub::Behaviour<Transform, Filter>;

/// The inner behaviour of the driver.
///
/// Says to the [`Gate`] from whom things come, drops what is too much, and hides addresses on private networks and of relays from the score:
/// many peers may share one of those, and none is to blame for the others.
pub struct Mesh {
    pub(crate) gossipsub: Gossipsub,
    pub(crate) gate: Gate,
}

impl Mesh {
    pub(crate) fn new(gossipsub: Gossipsub, gate: Gate) -> Self {
        Self { gossipsub, gate }
    }
}

/// What the score may know of the other end of a connection.
fn shown(endpoint: &ConnectedPoint) -> Cow<'_, ConnectedPoint> {
    let address = endpoint.get_remote_address();
    let is_relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
    if Scope::of(address) == Scope::Public && !is_relayed {
        return Cow::Borrowed(endpoint);
    }
    let mut hidden = endpoint.clone();
    hidden.set_remote_address(Multiaddr::empty());
    Cow::Owned(hidden)
}

impl NetworkBehaviour for Mesh {
    type ConnectionHandler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gossipsub
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gossipsub
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let endpoint = &*shown(event.endpoint);
                let event = ConnectionEstablished { endpoint, ..event };
                self.gossipsub
                    .on_swarm_event(FromSwarm::ConnectionEstablished(event));
            }
            FromSwarm::ConnectionClosed(event) => {
                if event.remaining_established == 0 {
                    self.gate.forget(&event.peer_id);
                }
                let endpoint = &*shown(event.endpoint);
                let event = ConnectionClosed { endpoint, ..event };
                self.gossipsub.on_swarm_event(FromSwarm::ConnectionClosed(event));
            }
            FromSwarm::AddressChange(event) => {
                let (old, new) = (&*shown(event.old), &*shown(event.new));
                let event = AddressChange { old, new, ..event };
                self.gossipsub.on_swarm_event(FromSwarm::AddressChange(event));
            }
            event => self.gossipsub.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if !self.gate.reads(peer) {
            return;
        }
        self.gate.set_from(Some(peer));
        self.gossipsub.on_connection_handler_event(peer, id, event);
        self.gate.set_from(None);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<gossipsub::Event, THandlerInEvent<Self>>> {
        self.gossipsub.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_sees_public_addresses_and_no_others() {
        let table = [
            ("/ip4/198.51.100.1/tcp/1", true),
            ("/ip4/192.168.1.9/udp/1/quic-v1", false),
            ("/ip4/127.0.0.1/tcp/1", false),
            ("/ip4/198.51.100.1/tcp/1/p2p-circuit", false),
        ];
        for (address, is_shown) in table {
            let address: Multiaddr = address.parse().unwrap();
            let endpoint = ConnectedPoint::Dialer {
                address: address.clone(),
                role_override: Endpoint::Dialer,
                port_use: PortUse::Reuse,
            };
            let seen = shown(&endpoint).get_remote_address().clone();
            assert_eq!(seen == address, is_shown, "{address}");
        }
    }
}
