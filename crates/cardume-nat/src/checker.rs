//! An AutoNAT server that cannot be made to dial somebody else.
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p_autonat::v2::server;
use libp2p_core::{Endpoint, Multiaddr, multiaddr::Protocol, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};

/// Peers dialled back at once: each of them makes us open a connection for the price of a message.
const MAX_DIALS: usize = 16;

/// Why somebody is not dialled back.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the peer does not come from the address that it wants dialled")]
    Elsewhere,
    #[error("too many peers are being dialled back")]
    Busy,
}

/// libp2p's server, which dials whatever it is asked to, held to the IP addresses that its clients come from.
#[derive(Default)]
pub struct Checker {
    inner: server::Behaviour,
    /// Dials of the server, from the order to the end of the attempt.
    dials: HashSet<ConnectionId>,
    /// Where each peer comes from.
    sources: HashMap<PeerId, Vec<(ConnectionId, IpAddr)>>,
}

impl Checker {
    fn check(&self, peer: Option<PeerId>, addresses: &[Multiaddr]) -> Result<(), Refused> {
        if self.dials.len() > MAX_DIALS {
            return Err(Refused::Busy);
        }
        let sources = peer.and_then(|peer| self.sources.get(&peer));
        let is_its = |address: &Multiaddr| {
            let ip = ip(address);
            ip.is_some()
                && !is_relayed(address)
                && sources.into_iter().flatten().any(|(_, own)| Some(*own) == ip)
        };
        if addresses.iter().all(is_its) {
            Ok(())
        } else {
            Err(Refused::Elsewhere)
        }
    }

    fn look(&mut self, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.dials.remove(&e.connection_id);
                let remote = e.endpoint.get_remote_address();
                if let Some(ip) = ip(remote).filter(|_| !e.endpoint.is_relayed()) {
                    self.sources
                        .entry(e.peer_id)
                        .or_default()
                        .push((e.connection_id, ip));
                }
            }
            FromSwarm::ConnectionClosed(e) => {
                if let Some(sources) = self.sources.get_mut(&e.peer_id) {
                    sources.retain(|(id, _)| *id != e.connection_id);
                    if sources.is_empty() {
                        self.sources.remove(&e.peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(e) => {
                self.dials.remove(&e.connection_id);
            }
            _ => {}
        }
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

impl NetworkBehaviour for Checker {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = server::Event;

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.contains(&id) {
            self.check(peer, addresses).map_err(ConnectionDenied::new)?;
        }
        Ok(Vec::new())
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
        self.look(&event);
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let action = std::task::ready!(self.inner.poll(cx));
        if let ToSwarm::Dial { opts } = &action {
            self.dials.insert(opts.connection_id());
        }
        Poll::Ready(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_dialled_but_at_the_address_they_come_from() {
        let (peer, id) = (PeerId::random(), ConnectionId::new_unchecked(1));
        let mut checker = Checker::default();
        checker
            .sources
            .insert(peer, vec![(id, IpAddr::from([198, 51, 100, 7]))]);
        let check = |checker: &Checker, peer, text: &str| checker.check(Some(peer), &[text.parse().unwrap()]);
        check(&checker, peer, "/ip4/198.51.100.7/udp/9/quic-v1").unwrap();
        let relayed = format!("/ip4/198.51.100.7/tcp/9/p2p/{peer}/p2p-circuit");
        for victim in [
            "/ip4/198.51.100.8/tcp/9",
            "/ip4/127.0.0.1/tcp/9",
            "/dns4/example.org/tcp/9",
            &relayed,
        ] {
            check(&checker, peer, victim).unwrap_err();
        }
        check(&checker, PeerId::random(), "/ip4/198.51.100.7/tcp/9").unwrap_err();
        checker
            .dials
            .extend((0..=MAX_DIALS).map(ConnectionId::new_unchecked));
        let busy = check(&checker, peer, "/ip4/198.51.100.7/tcp/9");
        assert!(matches!(busy, Err(Refused::Busy)));
    }
}
