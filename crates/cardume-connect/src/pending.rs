//! A limit on inbound connections that have proven nothing yet, with room kept for peers we know.
//!
//! Whoever opens connections and says nothing holds a place each until the handshake's time is up. So one
//! address has a part of the places only, and the last of them are for addresses where known peers are.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
};

use cardume_behaviour::Onlooker;
use libp2p_core::Multiaddr;
use libp2p_swarm::{ConnectionDenied, ConnectionId, FromSwarm};

use crate::address::{ip, is_relayed};

/// The part of all places, as a divisor, that is for known addresses only.
const RESERVED: u32 = 4;
/// The part of all places, as a divisor, that one address may have: two of them do not fill what is reserved
/// even if both are known.
const SHARE: u32 = 8;
/// Addresses of peers met that are remembered; with more, the oldest is forgotten.
const MET: usize = 1024;

/// What one host commonly has: an IPv4 address, or the /64 of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Place {
    fn of(address: &Multiaddr) -> Option<Self> {
        Some(match ip(address).filter(|_| !is_relayed(address))? {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        })
    }

    fn is_this_host(self) -> bool {
        match self {
            Self::V4(ip) => ip.is_loopback(),
            Self::V6(prefix) => prefix == [0; 4],
        }
    }
}

/// Why an inbound connection was refused.
#[derive(Debug, thiserror::Error)]
#[error("too many inbound connections have not proven who they are yet")]
pub(crate) struct TooManyPending;

/// Counts inbound connections until they are established or have failed.
///
/// This host is one address with as many nodes as anybody likes, and so without a share.
pub struct Pending {
    limit: u32,
    held: HashMap<ConnectionId, Option<Place>>,
    counts: HashMap<Place, u32>,
    /// Where peers are that configuration names: never without a place.
    named: HashSet<Place>,
    /// Where peers were that have proven who they are, each once, the oldest first.
    met: VecDeque<Place>,
}

impl Pending {
    /// Lets `limit` connections be pending; `named` are addresses of peers that configuration names, `met`
    /// of peers we have been connected to, the best first.
    pub(crate) fn new<'a>(
        limit: u32,
        named: impl Iterator<Item = &'a Multiaddr>,
        met: impl Iterator<Item = &'a Multiaddr>,
    ) -> Self {
        let mut pending = Self {
            limit,
            held: HashMap::new(),
            counts: HashMap::new(),
            named: named.filter_map(Place::of).collect(),
            met: VecDeque::new(),
        };
        let best: Vec<_> = met.filter_map(Place::of).take(MET).collect();
        best.into_iter().rev().for_each(|place| pending.meet(place));
        pending
    }

    /// Has other limits and addresses of configuration count from now on.
    pub(crate) fn set<'a>(&mut self, limit: u32, named: impl Iterator<Item = &'a Multiaddr>) {
        self.limit = limit;
        self.named = named.filter_map(Place::of).collect();
    }

    fn take(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), TooManyPending> {
        let place = Place::of(remote);
        if !self.has_room(place) {
            return Err(TooManyPending);
        }
        if let Some(place) = place {
            *self.counts.entry(place).or_default() += 1;
        }
        self.held.insert(id, place);
        Ok(())
    }

    fn has_room(&self, place: Option<Place>) -> bool {
        let all = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let Some(place) = place else {
            return all < self.open_to_strangers();
        };
        let here = self.counts.get(&place).copied().unwrap_or(0);
        let in_share = here < (self.limit / SHARE).max(1);
        let is_named = self.named.contains(&place);
        let open = if is_named || self.met.contains(&place) {
            self.limit
        } else {
            self.open_to_strangers()
        };
        (all < open && (in_share || place.is_this_host())) || (is_named && in_share)
    }

    fn open_to_strangers(&self) -> u32 {
        self.limit - self.limit / RESERVED
    }

    fn free(&mut self, id: ConnectionId) {
        let Some(place) = self.held.remove(&id).flatten() else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&place);
            }
        }
    }

    fn meet(&mut self, place: Place) {
        self.met.retain(|known| *known != place);
        if self.met.len() == MET {
            self.met.pop_front();
        }
        self.met.push_back(place);
    }
}

impl Onlooker for Pending {
    type Event = Infallible;

    fn on_pending_inbound(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        self.take(id, remote).map_err(ConnectionDenied::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.free(established.connection_id);
                if let Some(place) = Place::of(established.endpoint.get_remote_address()) {
                    self.meet(place);
                }
            }
            FromSwarm::ListenFailure(failure) => self.free(failure.connection_id),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit of 16: two for each address, twelve for strangers.
    fn pending(named: &[Multiaddr], met: &[Multiaddr]) -> Pending {
        Pending::new(16, named.iter(), met.iter())
    }

    fn at(network: &str, host: usize) -> Multiaddr {
        format!("/ip4/{network}.{host}/tcp/4011").parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// Takes what strangers can get, from as many addresses as that takes.
    fn fill(pending: &mut Pending) -> usize {
        (0..100)
            .filter(|&number| pending.take(id(number), &at("203.0.113", number)).is_ok())
            .count()
    }

    #[test]
    fn one_address_has_a_part_of_the_places() {
        let mut pending = pending(&[], &[]);
        let taken = (0..100).filter(|&n| pending.take(id(n), &at("192.168.1", 9)).is_ok());
        assert_eq!(taken.count(), 2);
        pending.take(id(100), &at("192.168.1", 10)).unwrap();
        pending.free(id(0));
        pending.take(id(101), &at("192.168.1", 9)).unwrap();
    }

    #[test]
    fn an_ipv6_link_is_one_address() {
        let mut pending = pending(&[], &[]);
        let on_link = |host: usize| format!("/ip6/2001:db8:0:7::{host:x}/tcp/1").parse().unwrap();
        let taken = (1..100).filter(|&n| pending.take(id(n), &on_link(n)).is_ok());
        assert_eq!(taken.count(), 2);
        let elsewhere = "/ip6/2001:db8:0:8::1/tcp/1".parse().unwrap();
        pending.take(id(100), &elsewhere).unwrap();
    }

    #[test]
    fn strangers_leave_room_for_peers_that_were_met() {
        let mut pending = pending(&[], &[at("198.51.100", 1), at("198.51.100", 2)]);
        assert_eq!(fill(&mut pending), 12);
        (100..102).for_each(|n| pending.take(id(n), &at("198.51.100", 1)).unwrap());
        pending.take(id(102), &at("198.51.100", 1)).unwrap_err();
        (103..105).for_each(|n| pending.take(id(n), &at("198.51.100", 2)).unwrap());
        pending.take(id(105), &at("198.51.100", 3)).unwrap_err();
        (0..12).for_each(|n| pending.free(id(n)));
        pending.take(id(106), &at("198.51.100", 3)).unwrap();
    }

    #[test]
    fn a_named_peer_finds_a_place_whatever_others_hold() {
        let known = [1, 2, 3, 4].map(|host| at("198.51.100", host));
        let mut pending = pending(&[at("192.0.2", 1)], &known);
        assert_eq!(fill(&mut pending), 12);
        let mut next = (100..).map(id);
        for address in &known {
            let _ = pending.take(next.next().unwrap(), address);
            let _ = pending.take(next.next().unwrap(), address);
        }
        assert_eq!(pending.held.len(), 16);
        pending.take(id(200), &at("192.0.2", 1)).unwrap();
        pending.take(id(201), &at("192.0.2", 1)).unwrap();
        pending.take(id(202), &at("192.0.2", 1)).unwrap_err();
    }

    #[test]
    fn nodes_of_this_host_share_no_address() {
        let mut pending = pending(&[], &[]);
        let taken = (0..100).filter(|&n| pending.take(id(n), &at("127.0.0", 1)).is_ok());
        assert_eq!(taken.count(), 12);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_over_is_forgotten() {
        let mut pending = pending(&[], &[]);
        for number in 0..10_000_u32 {
            let place = Place::V4(Ipv4Addr::from_bits(0x0b00_0000 + number));
            pending.meet(place);
            pending.meet(place);
        }
        assert_eq!(pending.met.len(), MET);
        assert_eq!(fill(&mut pending), 12);
        (0..100).for_each(|n| pending.free(id(n)));
        assert!(pending.held.is_empty() && pending.counts.is_empty());
    }
}
