//! Small blobs waiting to be asked for, many in one request.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p_identity::PeerId;

use super::ItemId;

/// Items of one request, at most (`transfer::MAX_MANY`).
const MAX_ITEMS: usize = cardume_transfer::message::MAX_MANY;
/// Expected bytes of one request, at most: as many as a piece has, so that a window of either takes the same memory.
const MAX_BYTES: u64 = 1024 * 1024;
/// Expected bytes below which splitting a rest over several peers costs more round trips than it saves.
const MIN_BYTES: u64 = 256 * 1024;
/// Items looked at for one request: with many refused by this peer, the rest is looked at next time.
const MAX_LOOK: usize = 4 * MAX_ITEMS;

#[derive(Debug)]
struct Item {
    expected: u64,
    /// Peers that do not have it.
    refused: BTreeSet<PeerId>,
    /// Whether it stands in the queue, not on its way.
    open: bool,
}

/// The items not yet here; those not on their way either stand in `open`.
#[derive(Debug, Default)]
pub(super) struct Pool {
    items: BTreeMap<ItemId, Item>,
    open: VecDeque<ItemId>,
    open_bytes: u64,
}

impl Pool {
    pub(super) fn add(&mut self, id: ItemId, expected: u64) {
        let item = Item {
            expected,
            refused: BTreeSet::new(),
            open: true,
        };
        if self.items.insert(id, item).is_none() {
            self.open.push_back(id);
            self.open_bytes = self.open_bytes.saturating_add(expected);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes the next items for `peer`, leaving others their share.
    pub(super) fn take(&mut self, peer: &PeerId, peers: usize) -> Vec<ItemId> {
        let budget = (self.open_bytes / peers.max(1) as u64).clamp(MIN_BYTES, MAX_BYTES);
        let mut taken = Vec::new();
        let mut bytes = 0u64;
        let mut passed = Vec::new();
        for _ in 0..self.open.len().min(MAX_LOOK) {
            let Some(id) = self.open.pop_front() else { break };
            let Some(item) = self.items.get_mut(&id).filter(|item| item.open) else {
                continue;
            };
            if item.refused.contains(peer) {
                passed.push(id);
                continue;
            }
            if taken.len() == MAX_ITEMS || (!taken.is_empty() && bytes.saturating_add(item.expected) > budget)
            {
                self.open.push_front(id);
                break;
            }
            item.open = false;
            bytes = bytes.saturating_add(item.expected);
            taken.push(id);
        }
        self.open.extend(passed);
        self.open_bytes = self.open_bytes.saturating_sub(bytes);
        taken
    }

    /// Puts an item back that is not on its way any more.
    pub(super) fn reopen(&mut self, id: ItemId) {
        if let Some(item) = self.items.get_mut(&id)
            && !item.open
        {
            item.open = true;
            self.open_bytes = self.open_bytes.saturating_add(item.expected);
            self.open.push_front(id);
        }
    }

    /// Takes back an item that was open again, as an answer with it has come after all.
    pub(super) fn arrived(&mut self, id: ItemId) {
        if let Some(item) = self.items.get_mut(&id)
            && std::mem::take(&mut item.open)
        {
            self.open_bytes = self.open_bytes.saturating_sub(item.expected);
        }
    }

    /// Notes that `peer` does not have an item.
    pub(super) fn refuse(&mut self, id: ItemId, peer: PeerId) {
        if let Some(item) = self.items.get_mut(&id) {
            item.refused.insert(peer);
        }
    }

    /// Forgets who refused what, so that fetchers that have more by now are asked again.
    pub(super) fn forgive(&mut self) {
        for item in self.items.values_mut() {
            item.refused.clear();
        }
    }

    /// Takes an item off the list: it is here, or goes another way.
    pub(super) fn remove(&mut self, id: ItemId) -> bool {
        self.items.remove(&id).is_some()
    }
}
