//! How many bytes went to and came from whom.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;

/// Peers that are counted, at most; without it, every identity that a stranger makes up would stay in
/// memory. The peer with the least traffic is forgotten first.
const MAX_PEERS: usize = 4096;

/// Bytes of payload exchanged with one peer since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the peer sent us.
    pub received: u64,
    /// Bytes that we sent the peer, and that its connection took.
    pub sent: u64,
}

impl Traffic {
    fn total(self) -> u64 {
        self.received.saturating_add(self.sent)
    }

    fn add(&mut self, more: Self) {
        self.received = self.received.saturating_add(more.received);
        self.sent = self.sent.saturating_add(more.sent);
    }
}

/// The counters, shared by the driver that counts and the handles that read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    peers: HashMap<PeerId, Traffic>,
    /// With everybody, those forgotten among them: what a graph shows must not fall.
    total: Traffic,
}

impl Counters {
    pub(crate) fn received(&self, peer: PeerId, bytes: u64) {
        self.add(
            peer,
            Traffic {
                received: bytes,
                sent: 0,
            },
        );
    }

    pub(crate) fn sent(&self, peer: PeerId, bytes: u64) {
        self.add(
            peer,
            Traffic {
                received: 0,
                sent: bytes,
            },
        );
    }

    pub(crate) fn all(&self) -> Vec<(PeerId, Traffic)> {
        let counted = self.lock();
        let peers = counted.peers.iter();
        peers.map(|(peer, traffic)| (*peer, *traffic)).collect()
    }

    pub(crate) fn total(&self) -> Traffic {
        self.lock().total
    }

    fn add(&self, peer: PeerId, more: Traffic) {
        if more.total() == 0 {
            return;
        }
        let mut counted = self.lock();
        let Counted { peers, total } = &mut *counted;
        total.add(more);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            let least = peers
                .iter()
                .min_by_key(|(_, traffic)| traffic.total())
                .map(|(peer, _)| *peer);
            least.and_then(|least| peers.remove(&least));
        }
        peers.entry(peer).or_default().add(more);
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Counters are whole after every statement above, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_with_least_traffic_is_forgotten_first() {
        let counters = Counters::default();
        let (small, large) = (PeerId::random(), PeerId::random());
        counters.sent(large, 1000);
        counters.received(small, 1);
        for _ in 2..MAX_PEERS {
            counters.received(PeerId::random(), 10);
        }
        counters.received(PeerId::random(), 10);
        let all: HashMap<_, _> = counters.all().into_iter().collect();
        assert_eq!(all.len(), MAX_PEERS);
        assert!(!all.contains_key(&small));
        assert_eq!(
            all[&large],
            Traffic {
                received: 0,
                sent: 1000
            }
        );
    }

    #[test]
    fn the_total_keeps_what_forgotten_peers_had() {
        let counters = Counters::default();
        let strangers = MAX_PEERS as u64 + 100;
        for number in 1..=strangers {
            let (peer, before) = (PeerId::random(), counters.total());
            counters.sent(peer, number);
            counters.received(peer, 1);
            let now = counters.total();
            assert!(now.sent > before.sent && now.received > before.received);
        }
        assert_eq!(
            counters.total(),
            Traffic {
                received: strangers,
                sent: strangers * (strangers + 1) / 2
            }
        );
        let known = counters.all();
        assert_eq!(known.len(), MAX_PEERS);
        let sum: u64 = known.iter().map(|(_, traffic)| traffic.total()).sum();
        assert!(sum < counters.total().total(), "some are forgotten");
    }
}
