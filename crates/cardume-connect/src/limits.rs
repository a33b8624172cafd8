//! A limit on inbound connections from one place, which a single host cannot get round by changing its key.
use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};

use crate::address::{Scope, ip, scope};

/// Where a connection comes from: an IPv4 address, or the /56 that a provider gives one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(Ipv4Addr),
    V6([u8; 7]),
}

impl Source {
    /// `None` for sources without a limit: this host and private networks.
    fn of(remote: &Multiaddr) -> Option<Self> {
        if scope(remote) != Scope::Public {
            return None;
        }
        match ip(remote)? {
            IpAddr::V4(ip) => Some(Self::V4(ip)),
            IpAddr::V6(ip) => Some(Self::V6(prefix(ip))),
        }
    }
}

fn prefix(ip: Ipv6Addr) -> [u8; 7] {
    let [a, b, c, d, e, f, g, ..] = ip.octets();
    [a, b, c, d, e, f, g]
}

/// Why an inbound connection was refused.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} inbound connections from one address")]
pub(crate) struct TooManyFromSource {
    limit: u32,
}

/// Counts inbound connections, from the first packet on, and refuses those above the limit.
pub struct Behaviour {
    limit: u32,
    held: HashMap<ConnectionId, Source>,
    counts: HashMap<Source, u32>,
}

impl Behaviour {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            held: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    fn take(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), TooManyFromSource> {
        let Some(source) = Source::of(remote) else {
            return Ok(());
        };
        let count = self.counts.entry(source).or_default();
        if *count >= self.limit {
            return Err(TooManyFromSource { limit: self.limit });
        }
        *count += 1;
        self.held.insert(id, source);
        Ok(())
    }

    fn free(&mut self, id: ConnectionId) {
        let Some(source) = self.held.remove(&id) else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.take(id, remote).map_err(ConnectionDenied::new)
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
            FromSwarm::ConnectionClosed(closed) => self.free(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.free(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn one_address_is_refused_above_its_limit_and_served_again_when_one_closes() {
        let mut limits = Behaviour::new(2);
        let remote = address("/ip4/203.0.113.9/tcp/1");
        limits.take(id(1), &remote).unwrap();
        limits.take(id(2), &remote).unwrap();
        limits.take(id(3), &remote).unwrap_err();
        limits.take(id(4), &address("/ip4/203.0.113.10/tcp/1")).unwrap();

        limits.free(id(3));
        limits.take(id(5), &remote).unwrap_err();
        limits.free(id(1));
        limits.take(id(6), &remote).unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_closed_connections() {
        let mut limits = Behaviour::new(2);
        for number in 0..100 {
            limits
                .take(id(number), &address("/ip4/203.0.113.9/tcp/1"))
                .unwrap();
            limits.free(id(number));
        }
        assert!(limits.held.is_empty() && limits.counts.is_empty());
    }

    #[test]
    fn ipv6_is_counted_by_the_prefix_that_one_customer_has() {
        let mut limits = Behaviour::new(1);
        limits
            .take(id(1), &address("/ip6/2001:db8:0:1::1/tcp/1"))
            .unwrap();
        limits
            .take(id(2), &address("/ip6/2001:db8:0:ff::9/tcp/1"))
            .unwrap_err();
        limits
            .take(id(3), &address("/ip6/2001:db8:0:100::1/tcp/1"))
            .unwrap();
    }

    #[test]
    fn private_networks_and_this_host_have_no_limit() {
        let mut limits = Behaviour::new(0);
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.168.1.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/memory/1",
        ] {
            limits.take(id(1), &address(text)).unwrap();
        }
        limits
            .take(id(1), &address("/ip4/203.0.113.9/tcp/1"))
            .unwrap_err();
    }
}
