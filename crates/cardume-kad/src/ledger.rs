//! Who brought what: the fair shares of a bounded store.
use std::collections::{BTreeSet, HashMap};

use libp2p_identity::PeerId;
use libp2p_kad::KBucketDistance as Distance;

/// What each source has brought, farthest last, and which source has brought the most.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sources: HashMap<PeerId, BTreeSet<(Distance, Vec<u8>)>>,
    weights: BTreeSet<(usize, PeerId)>,
    total: usize,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.total
    }

    pub(crate) fn count(&self, source: &PeerId) -> usize {
        self.sources.get(source).map_or(0, BTreeSet::len)
    }

    pub(crate) fn insert(&mut self, source: PeerId, distance: Distance, key: &[u8]) {
        let entries = self.sources.entry(source).or_default();
        let before = entries.len();
        if entries.insert((distance, key.to_vec())) {
            self.total += 1;
            self.weights.remove(&(before, source));
            self.weights.insert((before + 1, source));
        }
    }

    pub(crate) fn remove(&mut self, source: PeerId, distance: Distance, key: &[u8]) {
        let Some(entries) = self.sources.get_mut(&source) else {
            return;
        };
        let before = entries.len();
        if entries.remove(&(distance, key.to_vec())) {
            self.total -= 1;
            self.weights.remove(&(before, source));
            if before > 1 {
                self.weights.insert((before - 1, source));
            } else {
                self.sources.remove(&source);
            }
        }
    }

    /// Whose entry gives way to a new one of `source` in a full store: the farthest one of the source with
    /// the most, unless `source` would then itself have as many.
    ///
    /// So the shares tend to be equal: one peer with ten thousand entries takes no room from a hundred
    /// peers with ten.
    pub(crate) fn victim(&self, source: &PeerId) -> Option<(PeerId, Vec<u8>)> {
        let (most, heaviest) = self.weights.last()?;
        if *most <= self.count(source) + 1 {
            return None;
        }
        let (_, key) = self.sources.get(heaviest)?.last()?;
        Some((*heaviest, key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p_kad::U256;

    fn distance(n: u64) -> Distance {
        Distance(U256::from(n))
    }

    #[test]
    fn the_heaviest_source_gives_way_with_its_farthest_entry() {
        let (greedy, modest) = (PeerId::random(), PeerId::random());
        let mut ledger = Ledger::default();
        for n in 0..5u64 {
            ledger.insert(greedy, distance(n), &[n as u8]);
        }
        assert_eq!(ledger.victim(&modest), Some((greedy, vec![4])));
        assert_eq!(ledger.victim(&greedy), None);
        ledger.remove(greedy, distance(4), &[4]);
        assert_eq!(ledger.len(), 4);
        assert_eq!(ledger.count(&greedy), 4);
    }

    #[test]
    fn equal_shares_take_nothing_from_each_other() {
        let (one, other) = (PeerId::random(), PeerId::random());
        let mut ledger = Ledger::default();
        ledger.insert(one, distance(1), b"a");
        ledger.insert(other, distance(2), b"b");
        assert_eq!(ledger.victim(&PeerId::random()), None);
        ledger.remove(one, distance(1), b"a");
        ledger.remove(other, distance(2), b"b");
        assert_eq!(ledger.len(), 0);
        assert_eq!(ledger.victim(&one), None);
    }
}
