//! What is kept here: ours without asking, others' within bounds.
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use cardume_behaviour::Scope;
use libp2p_identity::PeerId;
use libp2p_kad::{
    KBucketDistance as Distance, KBucketKey, ProviderRecord, Record, RecordKey as Key,
    store::{Error, RecordStore, Result},
};
use multiaddr::Multiaddr;

use self::announced::Announced;
pub(crate) use self::announced::{Announcement, MAX_ADDRESSES};
use crate::{
    config::{MAX_KEY, MAX_VALUE, TTL},
    journal::{Change, Journal},
    judge::{self, Judge},
    ledger::{Ledger, Source},
};

mod announced;

/// Keys of our own; a bound on memory (some 200 MiB), not on use.
pub(crate) const MAX_PROVIDED: usize = 1_000_000;

/// Entries that any source may have, however small the store.
const SOURCE_FLOOR: usize = 64;

/// A source's largest part of the whole store, as its divisor.
const SOURCE_PART: usize = 4;

/// Bytes of others' values in all: replication copies every value once an hour.
const MAX_VALUE_BYTES: usize = 16 << 20;

/// Untrue values of a peer, between two sweeps, after which no more of it are judged: each costs the swarm's task a
/// signature.
const MAX_UNTRUE: u32 = 8;

/// Peers whose untrue values are counted; more are there only when somebody makes up names.
const MAX_LIARS: usize = 1024;

/// How much is kept for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) providers: usize,
}

/// Why something of a remote peer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is ours")]
    Ours,
    #[error("it is too large")]
    TooLarge,
    #[error("it is not true")]
    Untrue,
    #[error("its source has brought too many that are not true")]
    Liar,
    #[error("a newer one is here")]
    Older,
    #[error("it has expired")]
    Expired,
    #[error("its source has its share")]
    Share,
    #[error("closer ones fill the place")]
    Farther,
    #[error("the store is full")]
    Full,
}

/// A value of somebody else, and who brought it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) record: Record,
    pub(crate) source: Source,
}

/// The store of one node.
pub struct Records {
    local: PeerId,
    limits: Limits,
    provided: HashSet<Key>,
    put: HashMap<Key, Record>,
    values: HashMap<Key, Held>,
    value_bytes: usize,
    value_shares: Ledger,
    announced: Announced,
    journal: Journal,
    /// Others are told addresses that reach as far.
    shown: Scope,
    judge: Arc<dyn Judge>,
    /// Untrue values since the last sweep, by who brought them.
    untrue: HashMap<PeerId, u32>,
}

impl Records {
    pub(crate) fn new(local: PeerId, limits: Limits, journal: Journal, judge: Arc<dyn Judge>) -> Self {
        Self {
            local,
            limits,
            provided: HashSet::new(),
            put: HashMap::new(),
            values: HashMap::new(),
            value_bytes: 0,
            value_shares: Ledger::default(),
            announced: Announced::new(local, limits.providers),
            journal,
            shown: Scope::Host,
            judge,
            untrue: HashMap::new(),
        }
    }

    /// Who judges values.
    pub(crate) fn judge(&self) -> Arc<dyn Judge> {
        self.judge.clone()
    }

    /// Takes in what an earlier run kept, by the same rules as when it came; nothing of it is written again.
    pub(crate) fn restore(&mut self, values: Vec<Held>, providers: Vec<Announcement>) {
        self.journal.pause(true);
        for held in values {
            if held.record.publisher == Some(self.local) {
                self.put.insert(held.record.key.clone(), held.record);
            } else if let Err(error) = self.offer_value(held.source, held.record) {
                tracing::debug!(%error, "a stored value was left out");
            }
        }
        for one in providers {
            if let Err(error) = self.offer_provider(one.source(), one.record) {
                tracing::debug!(%error, "a stored provider was left out");
            }
        }
        self.journal.pause(false);
    }

    /// Has a peer of the routing table come back after a restart, at these addresses.
    pub(crate) fn keep_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.journal.push(Change::PutPeer(peer, addresses));
    }

    /// Has a peer that left the routing table not come back.
    pub(crate) fn forget_peer(&mut self, peer: PeerId) {
        self.journal.push(Change::DropPeer(peer));
    }

    /// Notes that others have just been told of keys of ours, for the time after a restart.
    pub(crate) fn announced_now(&mut self, keys: Vec<Key>) {
        self.journal.push(Change::Announced(keys));
    }

    /// Forgets that others have ever been told of a key of ours.
    pub(crate) fn withdraw(&mut self, key: &Key) {
        self.journal.push(Change::Withdrawn(key.clone()));
    }

    /// How many keys this node provides.
    pub(crate) fn provided_keys(&self) -> usize {
        self.provided.len()
    }

    /// From now on tells others only addresses that reach as far as `scope`.
    pub(crate) fn show(&mut self, scope: Scope) {
        self.shown = scope;
    }

    /// What others have announced of a key, with every address.
    pub(crate) fn announced(&self, key: &Key) -> impl Iterator<Item = &ProviderRecord> {
        self.announced.of(key)
    }

    /// Takes a key of our own.
    pub(crate) fn provide(&mut self, key: Key) -> Result<()> {
        if self.provided.len() >= MAX_PROVIDED && !self.provided.contains(&key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.provided.insert(key);
        Ok(())
    }

    pub(crate) fn values(&self) -> usize {
        self.put.len() + self.values.len()
    }

    pub(crate) fn unsaved(&self) -> u64 {
        self.journal.lost()
    }

    /// Takes a provider that announced itself, if there is room for it.
    pub(crate) fn offer_provider(
        &mut self,
        source: Source,
        record: ProviderRecord,
    ) -> std::result::Result<(), Refused> {
        let range = source.range;
        self.announced
            .offer(Announcement { record, range }, &mut self.journal)
    }

    /// Whether a value may be put in the place of what is here: one that is judged only if it is true, and better.
    fn check(&self, key: &Key, value: &[u8]) -> std::result::Result<(), Refused> {
        if !self.judge.knows(key.as_ref()) {
            return Ok(());
        }
        let rank = self.judge.rank(key.as_ref(), value).ok_or(Refused::Untrue)?;
        let here = self.get(key);
        let is_older = here.is_some_and(|here| {
            judge::compare(&*self.judge, key.as_ref(), (rank, value), &here.value) == Ordering::Less
        });
        if is_older { Err(Refused::Older) } else { Ok(()) }
    }

    /// Checks a value of our own before it is put.
    pub(crate) fn check_own(&self, key: &Key, value: &[u8]) -> std::result::Result<(), Refused> {
        self.check(key, value)
    }

    /// The same of a value that a peer brought. What is here already is not judged again.
    fn check_of(&mut self, peer: PeerId, record: &Record) -> std::result::Result<(), Refused> {
        let ours = self.put.get(&record.key);
        if !self.judge.knows(record.key.as_ref()) {
            return if ours.is_some() {
                Err(Refused::Ours)
            } else {
                Ok(())
            };
        }
        let held = self.values.get(&record.key).map(|held| &held.record);
        match ours.or(held) {
            Some(here) if here.value == record.value => {
                return if ours.is_some() {
                    Err(Refused::Ours)
                } else {
                    Ok(())
                };
            }
            _ if self.untrue.get(&peer).is_some_and(|count| *count >= MAX_UNTRUE) => {
                return Err(Refused::Liar);
            }
            _ => {}
        }
        let checked = self.check(&record.key, &record.value);
        if checked == Err(Refused::Untrue) {
            if self.untrue.len() >= MAX_LIARS {
                self.untrue.clear();
            }
            *self.untrue.entry(peer).or_default() += 1;
        }
        checked
    }

    /// Takes a value that `source` brought, if there is room for it; the latest one wins, or the best where values are
    /// judged.
    pub(crate) fn offer_value(
        &mut self,
        source: Source,
        mut record: Record,
    ) -> std::result::Result<(), Refused> {
        if record.key.as_ref().len() > MAX_KEY || record.value.len() > MAX_VALUE {
            return Err(Refused::TooLarge);
        }
        self.check_of(source.peer, &record)?;
        record.expires = Some(clamp(record.expires)?);
        let replaces = self.values.get(&record.key).map(|held| held.source);
        let limit = self.limits.records;
        let full = self.value_shares.count(&source.peer) >= share(limit)
            || self.value_shares.count_of_range(source.range) >= share(limit).max(limit / 2);
        if replaces.map(|before| before.peer) != Some(source.peer) && full {
            return Err(Refused::Share);
        }
        let key = record.key.clone();
        self.drop_value(&key);
        // Ours only where a better one has come.
        self.put.remove(&key);
        while self.value_shares.len() >= self.limits.records
            || self.value_bytes + record.value.len() > MAX_VALUE_BYTES
        {
            let (_, victim) = self
                .value_shares
                .victim(source, share(limit))
                .ok_or(Refused::Full)?;
            self.drop_value(&Key::from(victim));
        }
        self.value_shares
            .insert(source, distance(&self.local, &key), key.as_ref());
        self.value_bytes += record.value.len();
        let held = Held { record, source };
        self.journal.push(Change::PutValue(held.clone()));
        self.values.insert(key, held);
        Ok(())
    }

    /// Forgets what has expired by `now`, and who has lied.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.untrue.clear();
        let values: Vec<_> = self
            .values
            .values()
            .filter(|held| held.record.is_expired(now))
            .map(|held| held.record.key.clone())
            .collect();
        for key in values {
            self.drop_value(&key);
        }
        let put: Vec<_> = self
            .put
            .values()
            .filter(|record| record.is_expired(now))
            .map(|record| record.key.clone())
            .collect();
        for key in put {
            self.put.remove(&key);
            self.journal.push(Change::DropValue(key));
        }
        self.announced.expire(now, &mut self.journal);
    }

    fn drop_value(&mut self, key: &Key) {
        if let Some(held) = self.values.remove(key) {
            self.value_bytes -= held.record.value.len();
            self.value_shares
                .remove(held.source, distance(&self.local, key), key.as_ref());
            self.journal.push(Change::DropValue(key.clone()));
        }
    }
}

fn distance(local: &PeerId, key: &Key) -> Distance {
    KBucketKey::from(*local).distance(&KBucketKey::new(key.clone()))
}

/// What one source may have.
fn share(limit: usize) -> usize {
    (limit / SOURCE_PART).max(SOURCE_FLOOR)
}

/// When it expires: as it says, but in 48 h at the latest.
fn clamp(expires: Option<Instant>) -> std::result::Result<Instant, Refused> {
    let now = Instant::now();
    let latest = now + TTL;
    match expires {
        Some(at) if at <= now => Err(Refused::Expired),
        Some(at) => Ok(at.min(latest)),
        None => Ok(latest),
    }
}

/// What the libp2p behaviour does with the store: our own entries, and answers.
impl RecordStore for Records {
    type RecordsIter<'a> = Box<dyn Iterator<Item = Cow<'a, Record>> + 'a>;
    type ProvidedIter<'a> = Box<dyn Iterator<Item = Cow<'a, ProviderRecord>> + 'a>;

    fn get(&self, key: &Key) -> Option<Cow<'_, Record>> {
        let others = || self.values.get(key).map(|held| &held.record);
        self.put.get(key).or_else(others).map(Cow::Borrowed)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        if record.value.len() > MAX_VALUE || record.key.as_ref().len() > MAX_KEY {
            return Err(Error::ValueTooLarge);
        }
        if self.put.len() >= self.limits.records && !self.put.contains_key(&record.key) {
            return Err(Error::MaxRecords);
        }
        self.drop_value(&record.key);
        let held = Held {
            record: record.clone(),
            source: Source {
                peer: self.local,
                range: None,
            },
        };
        self.journal.push(Change::PutValue(held));
        self.put.insert(record.key.clone(), record);
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        if self.put.remove(key).is_some() {
            self.journal.push(Change::DropValue(key.clone()));
        } else {
            self.drop_value(key);
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        let others = self.values.values().map(|held| &held.record);
        Box::new(self.put.values().chain(others).map(Cow::Borrowed))
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider != self.local {
            let source = Source {
                peer: record.provider,
                range: None,
            };
            return self
                .offer_provider(source, record)
                .map_err(|_| Error::MaxProvidedKeys);
        }
        self.provide(record.key)
    }

    fn providers(&self, key: &Key) -> Vec<ProviderRecord> {
        let ours = self
            .provided
            .get(key)
            .map(|key| ProviderRecord::new(key.clone(), self.local, Vec::new()));
        let others = self.announced(key).cloned().map(|mut record| {
            record.addresses.retain(|a| Scope::of(a) >= self.shown);
            record
        });
        ours.into_iter().chain(others).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let record = |key: &Key| Cow::Owned(ProviderRecord::new(key.clone(), self.local, Vec::new()));
        Box::new(self.provided.iter().map(record))
    }

    fn remove_provider(&mut self, key: &Key, peer: &PeerId) {
        if *peer == self.local {
            self.provided.remove(key);
        } else {
            self.announced.drop(key, peer, &mut self.journal);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
