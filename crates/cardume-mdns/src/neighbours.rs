//! The peers on the link, and when to dial which. Pure: it is told the time.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::config::LIFETIME;

/// Addresses kept of one peer.
const MAX_ADDRESSES: usize = 8;
/// Between two dials: four in a second, so that a flood of announcements makes no flood of dials.
const SPACING: Duration = Duration::from_millis(250);
/// Head start of the lower peer id, so that two that find each other at once make one connection.
const HEAD_START: Duration = Duration::from_millis(300);
/// The first wait before a peer is dialled again, and the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A connection that lasted as long was a good one, and the back-off starts anew.
const GOOD: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum State {
    Due(Instant),
    Dialing(ConnectionId),
    Connected(Instant),
    /// It answers as somebody else: left alone until it is announced anew.
    Wrong,
}

#[derive(Debug)]
struct Neighbour {
    addresses: Vec<Multiaddr>,
    since: Instant,
    state: State,
    wait: Duration,
}

impl Neighbour {
    fn back_off(&mut self, now: Instant) {
        self.state = State::Due(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }
}

/// Who was announced, within bounds.
#[derive(Debug)]
pub(crate) struct Neighbours {
    local: PeerId,
    max_peers: usize,
    max_connections: usize,
    peers: HashMap<PeerId, Neighbour>,
    /// No dial before this time.
    next_dial: Option<Instant>,
}

impl Neighbours {
    pub(crate) fn new(local: PeerId, max_peers: usize, max_connections: usize) -> Self {
        Self {
            local,
            max_peers,
            max_connections,
            peers: HashMap::new(),
            next_dial: None,
        }
    }

    /// Takes in an announcement that is believed; whether it is new, to be passed on.
    pub(crate) fn announced(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        is_connected: bool,
        now: Instant,
    ) -> bool {
        if peer == self.local || !self.has_room(&peer, now) {
            return false;
        }
        let late = if self.local > peer {
            HEAD_START
        } else {
            Duration::ZERO
        };
        let state = if is_connected {
            State::Connected(now)
        } else {
            State::Due(now + late)
        };
        let neighbour = self.peers.entry(peer).or_insert_with(|| Neighbour {
            addresses: Vec::new(),
            since: now,
            state,
            wait: SHORTEST,
        });
        if neighbour.addresses.contains(address) || neighbour.addresses.len() >= MAX_ADDRESSES {
            return false;
        }
        if matches!(neighbour.state, State::Wrong) {
            neighbour.back_off(now);
        }
        neighbour.addresses.push(address.clone());
        true
    }

    /// Forgets an address whose lifetime is over, and a peer without any.
    pub(crate) fn expired(&mut self, peer: PeerId, address: &Multiaddr) {
        let Some(neighbour) = self.peers.get_mut(&peer) else {
            return;
        };
        neighbour.addresses.retain(|known| known != address);
        if neighbour.addresses.is_empty() {
            self.peers.remove(&peer);
        }
    }

    pub(crate) fn connected(&mut self, peer: PeerId, now: Instant) {
        if let Some(neighbour) = self.peers.get_mut(&peer)
            && !neighbour.is_connected()
        {
            neighbour.state = State::Connected(now);
        }
    }

    /// Notes the loss of the last connection; it is made again.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) {
        let Some(neighbour) = self.peers.get_mut(&peer) else {
            return;
        };
        if matches!(neighbour.state, State::Connected(since) if now.saturating_duration_since(since) >= GOOD)
        {
            neighbour.wait = SHORTEST;
        }
        neighbour.back_off(now);
    }

    /// Notes a connection that was given up for want of use; long after, it may be worth another.
    pub(crate) fn given_up(&mut self, peer: PeerId, now: Instant) {
        if let Some(neighbour) = self.peers.get_mut(&peer) {
            neighbour.state = State::Due(now + LONGEST);
        }
    }

    pub(crate) fn dialing(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(neighbour) = self.peers.get_mut(&peer) {
            neighbour.state = State::Dialing(id);
        }
    }

    /// Notes that a dial failed; `is_other` when somebody else answered.
    pub(crate) fn failed(&mut self, peer: PeerId, id: ConnectionId, is_other: bool, now: Instant) {
        let Some(neighbour) = self.peers.get_mut(&peer) else {
            return;
        };
        if !matches!(neighbour.state, State::Dialing(dialled) if dialled == id) {
            return;
        }
        if is_other {
            neighbour.addresses.clear();
            neighbour.state = State::Wrong;
        } else {
            neighbour.back_off(now);
        }
    }

    /// Addresses of a peer.
    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |neighbour| &neighbour.addresses)
    }

    /// The peer to dial now, if any; counts as one dial.
    pub(crate) fn dial(&mut self, now: Instant) -> Option<(PeerId, Vec<Multiaddr>)> {
        if self.due()? > now {
            return None;
        }
        let (peer, neighbour) = self
            .peers
            .iter()
            .filter_map(|(peer, n)| due_of(n).map(|at| (at, peer, n)))
            .min_by_key(|(at, ..)| *at)
            .map(|(_, peer, n)| (peer, n))?;
        self.next_dial = Some(now + SPACING);
        Some((*peer, neighbour.addresses.clone()))
    }

    /// When to look again whether to dial.
    pub(crate) fn due(&self) -> Option<Instant> {
        let busy = |n: &&Neighbour| matches!(n.state, State::Connected(_) | State::Dialing(_));
        if self.peers.values().filter(busy).count() >= self.max_connections {
            return None;
        }
        let first = self.peers.values().filter_map(due_of).min()?;
        Some(self.next_dial.map_or(first, |next| next.max(first)))
    }

    /// Whether there is a place for `peer`: a free one, or that of a peer which was announced long ago
    /// and never came to anything, whatever lifetime it claimed.
    fn has_room(&mut self, peer: &PeerId, now: Instant) -> bool {
        if self.peers.contains_key(peer) || self.peers.len() < self.max_peers {
            return true;
        }
        let stale = self
            .peers
            .iter()
            .filter(|(_, n)| !n.is_connected() && now.saturating_duration_since(n.since) >= LIFETIME)
            .min_by_key(|(_, n)| n.since)
            .map(|(peer, _)| *peer);
        stale.and_then(|peer| self.peers.remove(&peer)).is_some()
    }
}

fn due_of(neighbour: &Neighbour) -> Option<Instant> {
    match neighbour.state {
        State::Due(at) if !neighbour.addresses.is_empty() => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Multiaddr {
        format!("/ip4/10.0.{}.{}/tcp/4011", number / 256, number % 256)
            .parse()
            .unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn neighbours() -> Neighbours {
        Neighbours::new(PeerId::random(), 256, 32)
    }

    #[test]
    fn a_flood_is_kept_within_bounds() {
        let (mut neighbours, now) = (neighbours(), Instant::now());
        let friend = PeerId::random();
        assert!(neighbours.announced(friend, &address(1), false, now));
        let mut passed = 0;
        for _ in 0..10_000 {
            let peer = PeerId::random();
            passed += (0..20)
                .filter(|n| neighbours.announced(peer, &address(*n), false, now))
                .count();
        }
        assert_eq!(neighbours.peers.len(), 256);
        assert_eq!(passed, 255 * MAX_ADDRESSES);
        assert_eq!(
            neighbours.addresses(&friend),
            [address(1)],
            "newcomers take nobody's place"
        );
    }

    #[test]
    fn room_taken_with_endless_lifetimes_is_given_to_others_in_time() {
        let (mut neighbours, start) = (neighbours(), Instant::now());
        let friend = PeerId::random();
        neighbours.announced(friend, &address(1), true, start);
        (0..300).for_each(|_| _ = neighbours.announced(PeerId::random(), &address(2), false, start));
        let (later, newcomer) = (start + LIFETIME, PeerId::random());
        assert!(neighbours.announced(newcomer, &address(3), false, later));
        assert_eq!(neighbours.peers.len(), 256);
        assert_eq!(
            neighbours.addresses(&friend),
            [address(1)],
            "who is connected stays"
        );
    }

    #[test]
    fn an_announcement_is_passed_on_once() {
        let (mut neighbours, now, peer) = (neighbours(), Instant::now(), PeerId::random());
        assert!(neighbours.announced(peer, &address(1), false, now));
        assert!(!neighbours.announced(peer, &address(1), false, now));
        assert!(!neighbours.announced(neighbours.local, &address(1), false, now));
    }

    #[test]
    fn no_more_than_four_dials_start_in_a_second() {
        let (mut neighbours, start) = (neighbours(), Instant::now());
        (0..100).for_each(|_| _ = neighbours.announced(PeerId::random(), &address(1), false, start));
        let mut dials = 0;
        for millisecond in 0..1000 {
            let now = start + HEAD_START + Duration::from_millis(millisecond);
            while let Some((peer, _)) = neighbours.dial(now) {
                dials += 1;
                neighbours.dialing(peer, id(dials));
            }
        }
        assert_eq!(dials, 4);
    }

    #[test]
    fn enough_connections_are_enough() {
        let mut neighbours = Neighbours::new(PeerId::random(), 256, 1);
        let now = Instant::now();
        neighbours.announced(PeerId::random(), &address(1), true, now);
        neighbours.announced(PeerId::random(), &address(2), false, now);
        assert!(neighbours.due().is_none());
    }

    #[test]
    fn failed_dials_wait_longer_each_time() {
        let (mut neighbours, mut now, peer) = (neighbours(), Instant::now(), PeerId::random());
        neighbours.announced(peer, &address(1), false, now);
        let mut waits = Vec::new();
        for number in 0..12 {
            let due = neighbours.due().unwrap();
            waits.push(due - now);
            now = due;
            assert!(neighbours.dial(now).is_some());
            neighbours.dialing(peer, id(number));
            assert!(neighbours.dial(now + SPACING).is_none(), "one dial at a time");
            neighbours.failed(peer, id(number), false, now);
        }
        assert!(waits.is_sorted() && waits.last() == Some(&LONGEST), "{waits:?}");
    }

    #[test]
    fn a_lost_connection_is_made_again() {
        let (mut neighbours, start, peer) = (neighbours(), Instant::now(), PeerId::random());
        neighbours.announced(peer, &address(1), false, start);
        neighbours.connected(peer, start);
        assert!(neighbours.due().is_none());
        let lost = start + GOOD;
        neighbours.disconnected(peer, lost);
        assert_eq!(neighbours.due(), Some(lost + SHORTEST));
        neighbours.expired(peer, &address(1));
        assert!(neighbours.due().is_none() && neighbours.peers.is_empty());
    }

    #[test]
    fn a_connection_given_up_frees_its_place_and_is_not_made_again_soon() {
        let (mut neighbours, now, peer) = (neighbours(), Instant::now(), PeerId::random());
        neighbours.announced(peer, &address(1), false, now);
        neighbours.connected(peer, now);
        neighbours.given_up(peer, now);
        assert_eq!(neighbours.due(), Some(now + LONGEST));
    }

    #[test]
    fn an_address_where_somebody_else_answers_is_not_dialled_again() {
        let (mut neighbours, now, peer) = (neighbours(), Instant::now(), PeerId::random());
        neighbours.announced(peer, &address(1), false, now);
        neighbours.dialing(peer, id(1));
        neighbours.failed(peer, id(1), true, now);
        assert!(neighbours.due().is_none() && neighbours.addresses(&peer).is_empty());
        neighbours.announced(peer, &address(2), false, now);
        assert!(neighbours.due().is_some());
    }
}
