//! A limit on inbound connections from one place, which a single host cannot get round by changing its key.
use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
};

use cardume_behaviour::{Listening, Onlooker, Scope};
use libp2p_core::Multiaddr;
use libp2p_swarm::{ConnectionDenied, ConnectionId, FromSwarm};

use crate::address::ip;

/// Customers that one IPv6 site may look like before they count as one source.
const CUSTOMERS: u32 = 8;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// The /56 that a provider gives one customer.
    Customer([u8; 7]),
    /// The /48 that a provider gives one site, which has 256 of those.
    Site([u8; 6]),
}

impl Source {
    /// Everything that a connection counts for; nothing for this host and private networks.
    fn of(remote: &Multiaddr) -> Vec<Self> {
        match ip(remote).filter(|_| Scope::of(remote) == Scope::Public) {
            Some(IpAddr::V4(ip)) => vec![Self::V4(ip)],
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                vec![
                    Self::Customer([a, b, c, d, e, f, g]),
                    Self::Site([a, b, c, d, e, f]),
                ]
            }
            None => Vec::new(),
        }
    }
}

/// Why an inbound connection was refused.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} inbound connections from one place")]
pub(crate) struct TooManyFromSource {
    limit: u32,
}

/// Counts inbound connections, from the first packet on, and refuses those above the limit.
///
/// Neighbours on a link of ours are exempt like private networks, whatever addresses the link has.
pub struct Limits {
    limit: u32,
    held: HashMap<ConnectionId, Vec<Source>>,
    counts: HashMap<Source, u32>,
    listening: Listening,
}

impl Limits {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            held: HashMap::new(),
            counts: HashMap::new(),
            listening: Listening::default(),
        }
    }

    /// Has `limit` count from now on; connections there are stay.
    pub(crate) fn set(&mut self, limit: u32) {
        self.limit = limit;
    }

    fn take(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), TooManyFromSource> {
        if self.listening.is_on_link(remote) {
            return Ok(());
        }
        let sources = Source::of(remote);
        for source in &sources {
            let limit = self.limit_of(*source);
            if self.counts.get(source).copied().unwrap_or(0) >= limit {
                return Err(TooManyFromSource { limit });
            }
        }
        if !sources.is_empty() {
            sources
                .iter()
                .for_each(|source| *self.counts.entry(*source).or_default() += 1);
            self.held.insert(id, sources);
        }
        Ok(())
    }

    fn free(&mut self, id: ConnectionId) {
        for source in self.held.remove(&id).into_iter().flatten() {
            if let Entry::Occupied(mut count) = self.counts.entry(source) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    fn limit_of(&self, source: Source) -> u32 {
        match source {
            Source::V4(_) | Source::Customer(_) => self.limit,
            Source::Site(_) => self.limit.saturating_mul(CUSTOMERS),
        }
    }
}

impl Onlooker for Limits {
    type Event = Infallible;

    fn on_pending_inbound(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        self.take(id, remote).map_err(ConnectionDenied::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.free(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.free(failure.connection_id),
            event => self.listening.on_swarm_event(&event),
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::transport::ListenerId;
    use libp2p_swarm::NewListenAddr;

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn one_address_is_refused_above_its_limit_and_served_again_when_one_closes() {
        let mut limits = Limits::new(2);
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
        let mut limits = Limits::new(2);
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
        let mut limits = Limits::new(1);
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
    fn one_ipv6_site_cannot_pass_for_a_crowd_of_customers() {
        let mut limits = Limits::new(1);
        let customer = |number: usize| address(&format!("/ip6/2001:db8:0:{number:x}00::1/tcp/1"));
        (0..8).for_each(|number| limits.take(id(number), &customer(number)).unwrap());
        limits.take(id(8), &customer(8)).unwrap_err();
        limits.free(id(0));
        limits.take(id(9), &customer(8)).unwrap();
    }

    #[test]
    fn neighbours_on_our_own_link_have_no_limit() {
        let mut limits = Limits::new(0);
        let (neighbour, ours) = (
            address("/ip4/203.0.113.9/tcp/1"),
            address("/ip4/203.0.113.1/tcp/1"),
        );
        limits.take(id(1), &neighbour).unwrap_err();
        limits.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr {
            listener_id: ListenerId::next(),
            addr: &ours,
        }));
        limits.take(id(1), &neighbour).unwrap();
        limits
            .take(id(2), &address("/ip4/198.51.100.9/tcp/1"))
            .unwrap_err();
    }

    #[test]
    fn private_networks_and_this_host_have_no_limit() {
        let mut limits = Limits::new(0);
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
