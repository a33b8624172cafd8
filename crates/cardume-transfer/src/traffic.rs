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
}

/// The counters, shared by the driver that counts and the handles that read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<HashMap<PeerId, Traffic>>>);

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
        self.lock()
            .iter()
            .map(|(peer, traffic)| (*peer, *traffic))
            .collect()
    }

    fn add(&self, peer: PeerId, more: Traffic) {
        if more.total() == 0 {
            return;
        }
        let mut peers = self.lock();
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            let least = peers
                .iter()
                .min_by_key(|(_, traffic)| traffic.total())
                .map(|(peer, _)| *peer);
            least.and_then(|least| peers.remove(&least));
        }
        let traffic = peers.entry(peer).or_default();
        traffic.received = traffic.received.saturating_add(more.received);
        traffic.sent = traffic.sent.saturating_add(more.sent);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Traffic>> {
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
}
