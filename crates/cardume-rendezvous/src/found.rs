//! Peers that points name, and which of them to dial. Pure: it is told the time.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use multiaddr::Multiaddr;

/// Peers that wait to be dialled; a point names as many at once.
const MAX_WAITING: usize = 64;
/// Peers that were dialled, remembered so that they are left alone for a while.
const MAX_TRIED: usize = 1024;
/// Between two dials, so that a point that names many makes no flood of them.
const SPACING: Duration = Duration::from_millis(250);
/// Head start of the lower peer id, so that two that find each other at once make one connection.
const HEAD_START: Duration = Duration::from_millis(500);
/// Dials at once.
const MAX_DIALS: usize = 4;
/// How long a peer is left alone after a dial.
const PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Waiting {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    from: Instant,
}

/// Who was found, within bounds.
#[derive(Debug)]
pub(crate) struct Found {
    local: PeerId,
    max_connections: usize,
    waiting: VecDeque<Waiting>,
    tried: HashMap<PeerId, Instant>,
    dials: HashSet<ConnectionId>,
    /// Peers that are connected since they were dialled from here.
    connected: HashSet<PeerId>,
    next_dial: Option<Instant>,
}

impl Found {
    pub(crate) fn new(local: PeerId, max_connections: usize) -> Self {
        Self {
            local,
            max_connections,
            waiting: VecDeque::new(),
            tried: HashMap::new(),
            dials: HashSet::new(),
            connected: HashSet::new(),
            next_dial: None,
        }
    }

    /// Takes in that a point names `peer`, who is not connected, at these addresses.
    pub(crate) fn named(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let is_known = self.waiting.iter().any(|waiting| waiting.peer == peer)
            || self.tried.get(&peer).is_some_and(|at| now < *at + PAUSE);
        if peer == self.local || addresses.is_empty() || is_known || self.waiting.len() >= MAX_WAITING {
            return;
        }
        let late = if self.local > peer {
            HEAD_START
        } else {
            Duration::ZERO
        };
        self.waiting.push_back(Waiting {
            peer,
            addresses,
            from: now + late,
        });
    }

    /// The next peer to dial now.
    pub(crate) fn dial(&mut self, now: Instant) -> Option<(PeerId, Vec<Multiaddr>)> {
        if !self.has_room() || self.next_dial.is_some_and(|at| at > now) {
            return None;
        }
        let index = self.waiting.iter().position(|waiting| waiting.from <= now)?;
        let waiting = self.waiting.remove(index)?;
        self.next_dial = Some(now + SPACING);
        self.tried.retain(|_, at| now < *at + PAUSE);
        if self.tried.len() < MAX_TRIED {
            self.tried.insert(waiting.peer, now);
        }
        Some((waiting.peer, waiting.addresses))
    }

    /// When the next peer may be dialled.
    pub(crate) fn next(&self) -> Option<Instant> {
        let earliest = self.waiting.iter().map(|waiting| waiting.from).min()?;
        self.has_room()
            .then(|| self.next_dial.map_or(earliest, |at| at.max(earliest)))
    }

    pub(crate) fn dialing(&mut self, id: ConnectionId) {
        self.dials.insert(id);
    }

    pub(crate) fn established(&mut self, peer: PeerId, id: ConnectionId) {
        self.waiting.retain(|waiting| waiting.peer != peer);
        if self.dials.remove(&id) {
            self.connected.insert(peer);
        }
    }

    pub(crate) fn dial_failed(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
    }

    /// Takes in that the last connection with a peer is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
    }

    fn has_room(&self) -> bool {
        self.dials.len() < MAX_DIALS && self.connected.len() + self.dials.len() < self.max_connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Vec<Multiaddr> {
        vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()]
    }

    #[test]
    fn however_many_are_named_few_are_dialled_and_none_again_soon() {
        let mut now = Instant::now();
        let mut found = Found::new(PeerId::random(), 6);
        let peers: Vec<_> = (0..2 * MAX_WAITING).map(|_| PeerId::random()).collect();
        for peer in &peers {
            found.named(*peer, address(), now);
        }
        assert_eq!(found.waiting.len(), MAX_WAITING);
        let (mut dialled, mut next) = (Vec::new(), 0);
        while let Some(at) = found.next() {
            assert!(at >= now || next == 0);
            now = now.max(at);
            let Some((peer, _)) = found.dial(now) else { break };
            assert_eq!(found.dial(now), None, "dials are spaced");
            let id = ConnectionId::new_unchecked(next);
            next += 1;
            found.dialing(id);
            dialled.push((peer, id));
            if dialled.len() == MAX_DIALS {
                assert_eq!(found.next(), None, "so many at once");
                for (peer, id) in &dialled {
                    found.established(*peer, *id);
                }
            }
        }
        assert_eq!(dialled.len(), 6);
        let (peer, id) = dialled[5];
        found.dial_failed(id);
        found.named(peer, address(), now);
        assert!(
            found.waiting.iter().all(|waiting| waiting.peer != peer),
            "it was tried just now"
        );
        found.disconnected(&dialled[0].0);
        assert!(found.next().is_some(), "there is room again");
    }

    #[test]
    fn this_node_itself_and_who_has_no_address_are_not_dialled() {
        let (local, now) = (PeerId::random(), Instant::now());
        let mut found = Found::new(local, 6);
        found.named(local, address(), now);
        found.named(PeerId::random(), Vec::new(), now);
        assert!(found.waiting.is_empty() && found.next().is_none());
    }
}
