//! What others have announced: within bounds for each peer, each key, each range of addresses, and in all.
use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use libp2p_identity::PeerId;
use libp2p_kad::{KBucketKey, ProviderRecord, RecordKey as Key};

use super::{Refused, clamp, distance, share};
use crate::{
    address::Subnet,
    config::MAX_KEY,
    journal::{Change, Journal},
    ledger::{Ledger, Source},
};

/// Providers kept of one key, the closest to it; an answer carries no more.
const PROVIDERS_PER_KEY: usize = 20;

/// Providers of one key from one public range of addresses: names close to a key are free, ranges are not.
const RANGE_AT_KEY: usize = PROVIDERS_PER_KEY / 4;

/// Addresses kept of one provider, so that twenty fit into one message.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// Bytes of one address; longer ones are not dialled by anybody.
const MAX_ADDRESS: usize = 256;

/// Bytes of keys and addresses in all: without it 16,384 records of the largest size would be 50 MiB.
const MAX_BYTES: usize = 16 << 20;

/// One provider of a key, and where the announcement came from.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    pub(crate) record: ProviderRecord,
    pub(crate) range: Option<Subnet>,
}

impl Announcement {
    pub(crate) fn source(&self) -> Source {
        Source {
            peer: self.record.provider,
            range: self.range,
        }
    }

    fn bytes(&self) -> usize {
        let addresses: usize = self.record.addresses.iter().map(|a| a.len()).sum();
        self.record.key.as_ref().len() + addresses
    }
}

/// The providers of each key.
#[derive(Debug)]
pub(crate) struct Announced {
    local: PeerId,
    limit: usize,
    by_key: HashMap<Key, Vec<Announcement>>,
    bytes: usize,
    pub(super) shares: Ledger,
}

impl Announced {
    pub(super) fn new(local: PeerId, limit: usize) -> Self {
        Self {
            local,
            limit,
            by_key: HashMap::new(),
            bytes: 0,
            shares: Ledger::default(),
        }
    }

    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = &ProviderRecord> {
        self.by_key.get(key).into_iter().flatten().map(|one| &one.record)
    }

    /// Takes a provider that announced itself, if there is room for it.
    pub(super) fn offer(&mut self, mut new: Announcement, journal: &mut Journal) -> Result<(), Refused> {
        if new.record.provider == self.local {
            return Err(Refused::Ours);
        }
        if new.record.key.as_ref().len() > MAX_KEY {
            return Err(Refused::TooLarge);
        }
        new.record.expires = Some(clamp(new.record.expires)?);
        new.record.addresses.retain(|a| a.len() <= MAX_ADDRESS);
        new.record.addresses.truncate(MAX_ADDRESSES);
        let (key, source) = (new.record.key.clone(), new.source());
        // What it said before gives way to what it says now, and comes back if that is not taken.
        let before = self.take(&key, &source.peer);
        if let Err(error) = self.make_room(&new, journal) {
            if let Some(before) = before {
                self.put(before);
            }
            return Err(error);
        }
        self.put(new.clone());
        journal.push(Change::PutProvider(new));
        Ok(())
    }

    /// Forgets what has expired by `now`.
    pub(super) fn expire(&mut self, now: Instant, journal: &mut Journal) {
        let over: Vec<_> = self
            .by_key
            .values()
            .flatten()
            .filter(|one| one.record.is_expired(now))
            .map(|one| (one.record.key.clone(), one.record.provider))
            .collect();
        for (key, peer) in over {
            self.drop(&key, &peer, journal);
        }
    }

    pub(super) fn drop(&mut self, key: &Key, peer: &PeerId, journal: &mut Journal) {
        if self.take(key, peer).is_some() {
            journal.push(Change::DropProvider(key.clone(), *peer));
        }
    }

    fn make_room(&mut self, new: &Announcement, journal: &mut Journal) -> Result<(), Refused> {
        let source = new.source();
        let of_range = self.shares.count_of_range(source.range);
        if self.shares.count(&source.peer) >= share(self.limit) || of_range >= range_share(self.limit) {
            return Err(Refused::Share);
        }
        self.make_room_at_key(new, journal)?;
        while self.shares.len() >= self.limit || self.bytes + new.bytes() > MAX_BYTES {
            let victim = self.shares.victim(source, share(self.limit));
            let (victim, key) = victim.ok_or(Refused::Full)?;
            self.drop(&Key::from(key), &victim.peer, journal);
        }
        Ok(())
    }

    /// Only the closest providers of a key are kept, and few of one range of addresses, so that a crowd
    /// cannot push out those near it by names made for the purpose.
    fn make_room_at_key(&mut self, new: &Announcement, journal: &mut Journal) -> Result<(), Refused> {
        let Some(all) = self.by_key.get(&new.record.key) else {
            return Ok(());
        };
        let of_range = |one: &&Announcement| one.range.is_some() && one.range == new.range;
        let crowded = all.iter().filter(of_range).count() >= RANGE_AT_KEY;
        if !crowded && all.len() < PROVIDERS_PER_KEY {
            return Ok(());
        }
        let rivals: HashSet<_> = if crowded {
            all.iter()
                .filter(of_range)
                .map(|one| one.record.provider)
                .collect()
        } else {
            all.iter().map(|one| one.record.provider).collect()
        };
        let target = KBucketKey::new(new.record.key.clone());
        let distance = |peer: &PeerId| KBucketKey::from(*peer).distance(&target);
        let farthest = rivals.into_iter().max_by_key(distance).ok_or(Refused::Full)?;
        if distance(&farthest) <= distance(&new.record.provider) {
            return Err(Refused::Farther);
        }
        self.drop(&new.record.key, &farthest, journal);
        Ok(())
    }

    fn put(&mut self, one: Announcement) {
        let key = one.record.key.clone();
        self.bytes += one.bytes();
        self.shares
            .insert(one.source(), distance(&self.local, &key), key.as_ref());
        self.by_key.entry(key).or_default().push(one);
    }

    fn take(&mut self, key: &Key, peer: &PeerId) -> Option<Announcement> {
        let all = self.by_key.get_mut(key)?;
        let at = all.iter().position(|one| one.record.provider == *peer)?;
        let one = all.swap_remove(at);
        if all.is_empty() {
            self.by_key.remove(key);
        }
        self.bytes -= one.bytes();
        self.shares
            .remove(one.source(), distance(&self.local, key), key.as_ref());
        Some(one)
    }
}

/// What one range of addresses may have: the operator of many nodes in one range is not shut out by it.
fn range_share(limit: usize) -> usize {
    share(limit).max(limit / 2)
}
