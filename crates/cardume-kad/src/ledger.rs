//! Who brought what: the fair shares of a bounded store.
use std::collections::{BTreeSet, HashMap};

use libp2p_identity::PeerId;
use libp2p_kad::KBucketDistance as Distance;

use crate::address::Subnet;

/// Who brought an entry, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) peer: PeerId,
    /// The public range of addresses it came from; a peer of a local network has none.
    pub(crate) range: Option<Subnet>,
}

/// What each source has brought, farthest last, and which source has brought the most.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sources: HashMap<Source, BTreeSet<(Distance, Vec<u8>)>>,
    weights: BTreeSet<(usize, Source)>,
    peers: HashMap<PeerId, usize>,
    ranges: HashMap<Subnet, BTreeSet<(usize, PeerId)>>,
    range_counts: HashMap<Subnet, usize>,
    range_weights: BTreeSet<(usize, Subnet)>,
    total: usize,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.total
    }

    /// What the peer has brought, wherever it came from.
    pub(crate) fn count(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).copied().unwrap_or(0)
    }

    /// What came from the range of addresses.
    pub(crate) fn count_of_range(&self, range: Option<Subnet>) -> usize {
        range
            .and_then(|r| self.range_counts.get(&r).copied())
            .unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, source: Source, distance: Distance, key: &[u8]) {
        let entries = self.sources.entry(source).or_default();
        let before = entries.len();
        if entries.insert((distance, key.to_vec())) {
            self.weigh(source, before, before + 1);
        }
    }

    pub(crate) fn remove(&mut self, source: Source, distance: Distance, key: &[u8]) {
        let Some(entries) = self.sources.get_mut(&source) else {
            return;
        };
        let before = entries.len();
        if entries.remove(&(distance, key.to_vec())) {
            if before == 1 {
                self.sources.remove(&source);
            }
            self.weigh(source, before, before - 1);
        }
    }

    /// Whose entry gives way to a new one of `source` in a full store: the farthest one of the source with
    /// the most, unless `source` would then itself have as many. A range of addresses with more than
    /// `part` gives way to all others first.
    ///
    /// So the shares tend to be equal: one peer with ten thousand entries takes no room from a hundred
    /// peers with ten, and neither do ten thousand names of one party with one entry each.
    pub(crate) fn victim(&self, source: Source, part: usize) -> Option<(Source, Vec<u8>)> {
        let crowd = self.range_weights.last();
        let crowd = crowd.filter(|(count, range)| *count > part && source.range != Some(*range));
        let heaviest = if let Some((_, range)) = crowd {
            let (_, peer) = self.ranges.get(range)?.last()?;
            Source {
                peer: *peer,
                range: Some(*range),
            }
        } else {
            let (most, heaviest) = self.weights.last()?;
            if *most <= self.count(&source.peer) + 1 {
                return None;
            }
            *heaviest
        };
        let (_, key) = self.sources.get(&heaviest)?.last()?;
        Some((heaviest, key.clone()))
    }

    fn weigh(&mut self, source: Source, before: usize, after: usize) {
        replace(&mut self.weights, source, before, after);
        change(&mut self.peers, source.peer, before, after);
        self.total = self.total + after - before;
        let Some(range) = source.range else {
            return;
        };
        let peers = self.ranges.entry(range).or_default();
        replace(peers, source.peer, before, after);
        if peers.is_empty() {
            self.ranges.remove(&range);
        }
        let (was, is) = change(&mut self.range_counts, range, before, after);
        replace(&mut self.range_weights, range, was, is);
    }
}

/// Moves one name in a set by weight; a weight of nothing is not in it.
fn replace<T: Ord + Copy>(weights: &mut BTreeSet<(usize, T)>, name: T, before: usize, after: usize) {
    weights.remove(&(before, name));
    if after > 0 {
        weights.insert((after, name));
    }
}

/// Moves one name's count by the difference; what it was and is.
fn change<T: Eq + std::hash::Hash + Copy>(
    counts: &mut HashMap<T, usize>,
    name: T,
    before: usize,
    after: usize,
) -> (usize, usize) {
    let count = counts.entry(name).or_default();
    let was = *count;
    let is = was + after - before;
    *count = is;
    if is == 0 {
        counts.remove(&name);
    }
    (was, is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p_kad::U256;

    const NO_CROWD: usize = usize::MAX;

    fn distance(n: u64) -> Distance {
        Distance(U256::from(n))
    }

    fn local() -> Source {
        Source {
            peer: PeerId::random(),
            range: None,
        }
    }

    #[test]
    fn the_heaviest_source_gives_way_with_its_farthest_entry() {
        let (greedy, modest) = (local(), local());
        let mut ledger = Ledger::default();
        for n in 0..5u64 {
            ledger.insert(greedy, distance(n), &[n as u8]);
        }
        assert_eq!(ledger.victim(modest, NO_CROWD), Some((greedy, vec![4])));
        assert_eq!(ledger.victim(greedy, NO_CROWD), None);
        ledger.remove(greedy, distance(4), &[4]);
        assert_eq!(ledger.len(), 4);
        assert_eq!(ledger.count(&greedy.peer), 4);
    }

    #[test]
    fn equal_shares_take_nothing_from_each_other() {
        let (one, other) = (local(), local());
        let mut ledger = Ledger::default();
        ledger.insert(one, distance(1), b"a");
        ledger.insert(other, distance(2), b"b");
        assert_eq!(ledger.victim(local(), NO_CROWD), None);
        ledger.remove(one, distance(1), b"a");
        ledger.remove(other, distance(2), b"b");
        assert_eq!(ledger.len(), 0);
        assert_eq!(ledger.victim(one, NO_CROWD), None);
    }

    #[test]
    fn many_names_of_one_range_give_way_to_everybody_else() {
        let range = Some(Subnet::V4([198, 51, 100]));
        let mut ledger = Ledger::default();
        let names: Vec<_> = (0..8).map(|_| Source { range, ..local() }).collect();
        for (n, name) in names.iter().enumerate() {
            ledger.insert(*name, distance(n as u64), b"key");
        }
        assert_eq!(ledger.count_of_range(range), 8);
        let (victim, _) = ledger.victim(local(), 7).unwrap();
        assert_eq!(victim.range, range);
        assert_eq!(
            ledger.victim(local(), 8),
            None,
            "the range has no more than its part"
        );
        assert_eq!(ledger.victim(names[0], 7), None, "it is a crowd itself");
        for (n, name) in names.into_iter().enumerate() {
            ledger.remove(name, distance(n as u64), b"key");
        }
        assert_eq!(ledger.count_of_range(range), 0);
        assert!(ledger.range_weights.is_empty() && ledger.ranges.is_empty() && ledger.peers.is_empty());
    }
}
