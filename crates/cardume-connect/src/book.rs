//! The address book: where peers were, best first, within bounds that no peer can push.
pub(crate) mod file;
pub(crate) mod reader;

use std::collections::HashMap;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

use crate::address::{bare, is_dialable};

/// Peers remembered; more would only be strangers that somebody told us of.
pub(crate) const MAX_PEERS: usize = 4096;
/// Addresses remembered of one peer.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Failures in a row after which an address that never worked is forgotten.
const FORGET_UNPROVEN: u8 = 3;
/// Failures in a row after which an address that did work is forgotten.
const FORGET_PROVEN: u8 = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    address: Multiaddr,
    /// Written in the configuration: never forgotten.
    configured: bool,
    /// A connection was made to it.
    proven: bool,
    /// Failures since the last success.
    failures: u8,
}

impl Entry {
    fn is_hopeless(&self) -> bool {
        let limit = if self.proven {
            FORGET_PROVEN
        } else {
            FORGET_UNPROVEN
        };
        !self.configured && self.failures >= limit
    }

    /// Sorts the address to try first to the front.
    fn rank(&self) -> (u8, bool, bool) {
        (self.failures, !self.proven, !self.configured)
    }
}

#[derive(Debug, Default)]
struct Card {
    entries: Vec<Entry>,
    /// When we were last connected, in seconds since 1970; zero for never.
    seen: u64,
    /// When it was last touched, in ticks of the book.
    used: u64,
    is_connected: bool,
}

impl Card {
    fn is_configured(&self) -> bool {
        self.entries.iter().any(|e| e.configured)
    }

    fn entry(&mut self, address: &Multiaddr) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.address == *address)
    }

    /// Adds an address, at the cost of the worst one when there are too many.
    fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.entries.sort_by_key(Entry::rank);
        if self.entries.len() > MAX_ADDRESSES {
            let worst = self.entries.iter().rposition(|e| !e.configured);
            worst.map(|index| self.entries.remove(index));
        }
    }
}

/// A peer as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) peer: PeerId,
    /// Seconds since 1970.
    pub(crate) seen: u64,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// Peers and their addresses.
#[derive(Debug, Default)]
pub(crate) struct Book {
    cards: HashMap<PeerId, Card>,
    ticks: u64,
    /// Whether what the file keeps has changed since it was last asked for.
    changed: bool,
}

impl Book {
    /// Takes in what the file had kept.
    pub(crate) fn restore(&mut self, peers: Vec<Seen>) {
        for Seen {
            peer,
            seen,
            addresses,
        } in peers.into_iter().take(MAX_PEERS)
        {
            for address in addresses.iter().take(MAX_ADDRESSES) {
                self.learn(peer, address, false);
            }
            if let Some(card) = self.cards.get_mut(&peer) {
                card.seen = seen;
            }
        }
        self.changed = false;
    }

    /// Notes an address that somebody told us, or that configuration names.
    pub(crate) fn learn(&mut self, peer: PeerId, address: &Multiaddr, configured: bool) {
        let address = bare(address);
        if !configured && !is_dialable(&address) {
            return;
        }
        let card = self.touch(peer);
        match card.entry(&address) {
            Some(entry) => entry.configured |= configured,
            None => {
                card.add(Entry {
                    address,
                    configured,
                    proven: false,
                    failures: 0,
                });
                self.changed |= self.cards.get(&peer).is_some_and(|card| card.seen > 0);
            }
        }
    }

    /// Takes other addresses for those that configuration names. What was named before is now as if it had been told.
    pub(crate) fn configure<'a>(&mut self, named: impl Iterator<Item = &'a (PeerId, Multiaddr)>) {
        let entries = self.cards.values_mut().flat_map(|card| &mut card.entries);
        entries.for_each(|entry| entry.configured = false);
        named.for_each(|(peer, address)| self.learn(*peer, address, true));
    }

    /// Notes that a connection was made, and to which address when it was us who made it.
    pub(crate) fn connected(&mut self, peer: PeerId, dialled: Option<&Multiaddr>, now: u64) {
        if let Some(address) = dialled {
            self.learn(peer, address, false);
        }
        let card = self.touch(peer);
        card.seen = now;
        card.is_connected = true;
        if let Some(entry) = dialled.map(bare).and_then(|address| card.entry(&address)) {
            entry.proven = true;
            entry.failures = 0;
        }
        card.entries.sort_by_key(Entry::rank);
        self.changed = true;
    }

    /// Notes that the last connection is gone.
    pub(crate) fn parted(&mut self, peer: PeerId, now: u64) {
        if let Some(card) = self.cards.get_mut(&peer) {
            card.is_connected = false;
            card.seen = now;
            self.changed = true;
        }
    }

    /// Notes that nobody answered at `address`.
    pub(crate) fn failed(&mut self, peer: PeerId, address: &Multiaddr) {
        self.blame(peer, address, |entry| {
            entry.failures = entry.failures.saturating_add(1)
        });
    }

    /// Forgets an address where another peer was found.
    pub(crate) fn disproved(&mut self, peer: PeerId, address: &Multiaddr) {
        self.blame(peer, address, |entry| entry.failures = u8::MAX);
    }

    fn blame(&mut self, peer: PeerId, address: &Multiaddr, fault: impl FnOnce(&mut Entry)) {
        let Some(card) = self.cards.get_mut(&peer) else {
            return;
        };
        card.entry(&bare(address)).map(fault);
        let before = card.entries.len();
        card.entries.retain(|entry| !entry.is_hopeless());
        card.entries.sort_by_key(Entry::rank);
        self.changed |= card.entries.len() != before && card.seen > 0;
        if card.entries.is_empty() && card.seen == 0 {
            self.cards.remove(&peer);
        }
    }

    /// Known addresses of a peer, best first.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let entries = self.cards.get(peer).map(|card| card.entries.as_slice());
        entries
            .unwrap_or_default()
            .iter()
            .map(|e| e.address.clone())
            .collect()
    }

    /// The peers we are and were connected to, the last one first.
    pub(crate) fn seen(&self, now: u64) -> Vec<Seen> {
        let mut seen: Vec<_> = self
            .cards
            .iter()
            .filter(|(_, card)| card.seen > 0 && !card.entries.is_empty())
            .map(|(peer, card)| Seen {
                peer: *peer,
                seen: if card.is_connected { now } else { card.seen },
                addresses: card.entries.iter().map(|e| e.address.clone()).collect(),
            })
            .collect();
        seen.sort_by_key(|s| std::cmp::Reverse(s.seen));
        seen
    }

    /// What the file should keep, if that has changed since the last call.
    pub(crate) fn take_changed(&mut self, now: u64) -> Option<Vec<Seen>> {
        std::mem::take(&mut self.changed).then(|| self.seen(now))
    }

    /// Says that what was taken did not reach the file.
    pub(crate) fn put_back(&mut self) {
        self.changed = true;
    }

    /// The card of a peer, new if need be, at the cost of the one that would be missed least.
    fn touch(&mut self, peer: PeerId) -> &mut Card {
        self.ticks += 1;
        if self.cards.len() >= MAX_PEERS && !self.cards.contains_key(&peer) {
            let least = self
                .cards
                .iter()
                .min_by_key(|(_, card)| (card.is_configured(), card.is_connected, card.seen > 0, card.used))
                .map(|(peer, _)| *peer);
            least.and_then(|peer| self.cards.remove(&peer));
        }
        let card = self.cards.entry(peer).or_default();
        card.used = self.ticks;
        card
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

    #[test]
    fn an_address_that_worked_comes_first() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        (0..3).for_each(|n| book.learn(peer, &address(n), false));
        book.connected(peer, Some(&address(2)), 1);
        book.failed(peer, &address(0));
        assert_eq!(book.addresses(&peer), [address(2), address(1), address(0)]);
    }

    #[test]
    fn addresses_that_fail_again_and_again_are_forgotten() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        book.learn(peer, &address(1), false);
        book.learn(peer, &address(2), true);
        book.connected(peer, Some(&address(3)), 1);
        for _ in 0..FORGET_UNPROVEN {
            (1..=3).for_each(|n| book.failed(peer, &address(n)));
        }
        assert_eq!(book.addresses(&peer), [address(3), address(2)]);
        (0..FORGET_PROVEN).for_each(|_| book.failed(peer, &address(3)));
        assert_eq!(
            book.addresses(&peer),
            [address(2)],
            "what configuration names stays"
        );
    }

    #[test]
    fn an_address_of_somebody_else_is_forgotten_at_once() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        book.connected(peer, Some(&address(1)), 1);
        book.disproved(peer, &address(1));
        assert!(book.addresses(&peer).is_empty());
    }

    #[test]
    fn what_configuration_no_longer_names_can_be_forgotten() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        book.configure([(peer, address(1)), (peer, address(2))].iter());
        book.configure([(peer, address(2))].iter());
        for _ in 0..FORGET_UNPROVEN {
            (1..=2).for_each(|n| book.failed(peer, &address(n)));
        }
        assert_eq!(book.addresses(&peer), [address(2)]);
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let (mut book, friend, configured) = (Book::default(), PeerId::random(), PeerId::random());
        book.connected(friend, Some(&address(1)), 1);
        book.learn(configured, &address(2), true);
        for _ in 0..MAX_PEERS + 10 {
            let stranger = PeerId::random();
            (0..MAX_ADDRESSES + 5).for_each(|n| book.learn(stranger, &address(n), false));
            assert_eq!(book.addresses(&stranger).len(), MAX_ADDRESSES);
        }
        assert_eq!(book.cards.len(), MAX_PEERS);
        assert_eq!(book.addresses(&friend), [address(1)]);
        assert_eq!(book.addresses(&configured), [address(2)]);
    }

    #[test]
    fn one_address_is_kept_once_however_it_is_spelt() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        book.learn(peer, &address(1), false);
        book.learn(peer, &address(1).with_p2p(peer).unwrap(), false);
        assert_eq!(book.addresses(&peer), [address(1)]);
    }

    #[test]
    fn only_peers_we_were_connected_to_are_kept_on_disk() {
        let (mut book, friend) = (Book::default(), PeerId::random());
        book.learn(PeerId::random(), &address(1), false);
        assert_eq!(book.take_changed(9), None);
        book.connected(friend, Some(&address(2)), 7);
        let kept = Seen {
            peer: friend,
            seen: 9,
            addresses: vec![address(2)],
        };
        assert_eq!(book.take_changed(9), Some(vec![kept.clone()]));
        assert_eq!(book.take_changed(9), None);
        book.parted(friend, 11);
        assert_eq!(book.take_changed(15), Some(vec![Seen { seen: 11, ..kept }]));
    }
}
