//! Who has asked for or served what lately, so that fetchers learn of each other.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cardume_content::Cid;
use libp2p_identity::PeerId;
use tokio::sync::watch;

/// Roots remembered; above it the one unused for longest goes.
const MAX_ROOTS: usize = 1024;
/// Peers remembered of one root.
pub(crate) const MAX_PEERS: usize = 32;
/// A peer that was not seen with it for so long has probably gone.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Peers seen with roots.
#[derive(Default)]
pub(crate) struct Known {
    roots: Mutex<HashMap<Cid, HashMap<PeerId, Instant>>>,
    changed: watch::Sender<()>,
}

impl Known {
    /// Notes that `peer` asked for `cid`, or served it.
    pub(crate) fn saw(&self, cid: Cid, peer: PeerId, now: Instant) {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if !roots.contains_key(&cid)
            && roots.len() >= MAX_ROOTS
            && let Some(oldest) = oldest(&roots, |peers| peers.values().max().copied())
        {
            roots.remove(&oldest);
        }
        let peers = roots.entry(cid).or_default();
        if !peers.contains_key(&peer)
            && peers.len() >= MAX_PEERS
            && let Some(oldest) = oldest(peers, |seen| Some(*seen))
        {
            peers.remove(&oldest);
        }
        peers.insert(peer, now);
        drop(roots);
        self.changed.send_replace(());
    }

    /// Returns what tells that somebody was seen with something.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Forgets a peer that lied.
    pub(crate) fn forget(&self, peer: &PeerId) {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        for peers in roots.values_mut() {
            peers.remove(peer);
        }
    }

    /// Peers seen with `cid` lately.
    pub(crate) fn peers(&self, cid: Cid, now: Instant) -> Vec<PeerId> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peers) = roots.get_mut(&cid) else {
            return Vec::new();
        };
        peers.retain(|_, seen| now.saturating_duration_since(*seen) < LIFETIME);
        peers.keys().copied().collect()
    }
}

impl Known {
    /// Peers that asked for `cid` or served it within the last `span`.
    pub(crate) fn lately(&self, cid: Cid, now: Instant, span: Duration) -> Vec<PeerId> {
        let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = roots.get(&cid).into_iter().flatten();
        let fresh = peers.filter(|(_, seen)| now.saturating_duration_since(**seen) < span);
        fresh.map(|(peer, _)| *peer).collect()
    }
}

fn oldest<K: Copy + std::hash::Hash + Eq, V>(
    map: &HashMap<K, V>,
    seen: impl Fn(&V) -> Option<Instant>,
) -> Option<K> {
    map.iter()
        .min_by_key(|(_, value)| seen(value))
        .map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    #[test]
    fn what_is_remembered_stays_bounded_and_fresh() {
        let known = Known::default();
        let start = Instant::now();
        let cid = Cid::blob(Hash::of(b"x"));
        for number in 0..100 {
            known.saw(cid, PeerId::random(), start + Duration::from_millis(number));
        }
        assert_eq!(known.peers(cid, start).len(), MAX_PEERS);
        assert!(known.peers(cid, start + LIFETIME * 2).is_empty());
        for number in 0..2000u32 {
            known.saw(
                Cid::blob(Hash::of(&number.to_le_bytes())),
                PeerId::random(),
                start,
            );
        }
        assert!(known.roots.lock().unwrap().len() <= MAX_ROOTS);
    }
}
