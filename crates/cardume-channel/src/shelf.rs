//! What is known of each channel that this node publishes or follows. Every method but the plain look-ups blocks on the
//! disk.
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cardume_content::Cid;
use libp2p_identity::ed25519;
use tokio::sync::watch;

use crate::{
    Body, ChannelError, Counts, Id, Record, Refused, check_note,
    keys::Keys,
    now,
    table::{FollowRow, Table},
};

/// One channel.
struct Entry {
    newest: watch::Sender<Option<Record>>,
    /// Whether the network has been asked since the start, or need not be.
    asked: watch::Sender<bool>,
}

pub(crate) struct Shelf {
    table: Table,
    keys: Keys,
    own: Mutex<BTreeMap<String, ed25519::Keypair>>,
    channels: Mutex<BTreeMap<Id, Entry>>,
    /// Held while a record is judged against the newest and written.
    writing: Mutex<()>,
    /// Changes with each decision about a follow.
    decided: watch::Sender<()>,
    pub(crate) counts: Counts,
}

impl Shelf {
    /// Reads what an earlier run has kept of our own channels.
    pub(crate) fn open(table: Table, keys: Keys, counts: Counts) -> Result<Self, ChannelError> {
        let own = keys
            .load()
            .map_err(|error| ChannelError::Failed(format!("the keys of channels cannot be read: {error}")))?;
        let shelf = Self {
            table,
            keys,
            own: own.into(),
            channels: Mutex::default(),
            writing: Mutex::default(),
            decided: watch::Sender::new(()),
            counts,
        };
        shelf.own().into_iter().try_for_each(|id| shelf.take_up(id))?;
        Ok(shelf)
    }

    /// Keeps the records of a channel from now on, and those that an earlier run has kept.
    pub(crate) fn take_up(&self, id: Id) -> Result<(), ChannelError> {
        let _writing = lock(&self.writing);
        if self.newest(id).is_none() {
            let newest = self.table.records(id)?.into_iter().max_by(Record::compare);
            self.channels().insert(id, Entry::new(newest, false));
        }
        Ok(())
    }

    /// Keeps the records of a channel no longer, unless its key is here. What is on the disk stays.
    pub(crate) fn put_down(&self, id: Id) {
        if !self.is_own(id) {
            self.channels().remove(&id);
        }
    }

    /// The channels whose keys are here.
    pub(crate) fn own(&self) -> Vec<Id> {
        let keys = lock(&self.own);
        keys.values().map(|key| Id::of(&key.public())).collect()
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<Id, Entry>> {
        lock(&self.channels)
    }

    /// Every channel, with the name of its key if that is here.
    pub(crate) fn list(&self) -> Vec<(Id, Option<String>, Option<Record>)> {
        let names: BTreeMap<Id, String> = lock(&self.own)
            .iter()
            .map(|(name, key)| (Id::of(&key.public()), name.clone()))
            .collect();
        let channels = self.channels();
        let row = |(id, entry): (&Id, &Entry)| {
            let newest = entry.newest.borrow().clone();
            (*id, names.get(id).cloned(), newest)
        };
        channels.iter().map(row).collect()
    }

    /// The channel of a key that is here.
    pub(crate) fn named(&self, name: &str) -> Option<Id> {
        lock(&self.own).get(name).map(|key| Id::of(&key.public()))
    }

    /// Whether the key is here.
    pub(crate) fn is_own(&self, channel: Id) -> bool {
        lock(&self.own)
            .values()
            .any(|key| Id::of(&key.public()) == channel)
    }

    /// Follows the newest record of a channel; none if it is not kept here.
    pub(crate) fn newest(&self, channel: Id) -> Option<watch::Receiver<Option<Record>>> {
        Some(self.channels().get(&channel)?.newest.subscribe())
    }

    /// Whether the network has been asked about a channel.
    pub(crate) fn asked(&self, channel: Id) -> Option<watch::Receiver<bool>> {
        Some(self.channels().get(&channel)?.asked.subscribe())
    }

    pub(crate) fn was_asked(&self, channel: Id) {
        if let Some(entry) = self.channels().get(&channel) {
            entry.asked.send_replace(true);
        }
    }

    /// Makes the key of a new channel.
    pub(crate) fn create(&self, name: &str) -> Result<Id, ChannelError> {
        let _writing = lock(&self.writing);
        let count = lock(&self.own).len();
        let key = self.keys.create(name, count)?;
        let id = Id::of(&key.public());
        lock(&self.own).insert(name.to_owned(), key);
        self.channels().insert(id, Entry::new(None, true));
        Ok(id)
    }

    /// Signs the next record of a channel and keeps it, durably, before anybody hears of it.
    pub(crate) fn publish(
        &self,
        name: &str,
        cid: Cid,
        size: u64,
        note: String,
    ) -> Result<Record, ChannelError> {
        check_note(&note)?;
        let _writing = lock(&self.writing);
        let key = lock(&self.own).get(name).cloned();
        let key = key.ok_or_else(|| ChannelError::Unknown(name.into()))?;
        let channel = Id::of(&key.public());
        let newest = self.newest(channel).and_then(|newest| newest.borrow().clone());
        let number = newest.map_or(Some(1), |newest| newest.number().checked_add(1));
        let body = Body {
            number: number.ok_or(ChannelError::Exhausted)?,
            cid,
            size,
            time: now(),
            note,
        };
        let record = Record::sign(&key, body);
        self.set(&record)?;
        Ok(record)
    }

    /// Takes a record that came from somebody for `channel`; whether it is newer than what was known.
    pub(crate) fn offer(&self, channel: Id, bytes: &[u8]) -> Result<bool, OfferError> {
        let refuse = |refused: Refused| {
            self.counts.refused(refused);
            Err(OfferError::Refused(refused))
        };
        let Some(newest) = self.newest(channel) else {
            return refuse(Refused::OtherChannel);
        };
        let is_same = |newest: &Option<Record>| newest.as_ref().is_some_and(|newest| newest.bytes() == bytes);
        if is_same(&newest.borrow()) {
            return Ok(false);
        }
        let record = match Record::decode(bytes) {
            Ok(record) if record.channel() == channel => record,
            Ok(_) => return refuse(Refused::OtherChannel),
            Err(error) => return refuse(error.into()),
        };
        let _writing = lock(&self.writing);
        let known = newest.borrow().clone();
        let order = known
            .as_ref()
            .map_or(Ordering::Greater, |known| record.compare(known));
        match order {
            Ordering::Equal => return Ok(false),
            Ordering::Less => return refuse(Refused::Older),
            Ordering::Greater => {}
        }
        if known.is_some_and(|known| known.number() == record.number()) {
            tracing::warn!(
                %channel, number = record.number(),
                "two records have the same number: the channel's key is used in two places"
            );
        }
        self.set(&record)?;
        self.counts.took();
        tracing::info!(%channel, number = record.number(), cid = %record.cid(), "a channel has moved");
        Ok(true)
    }

    /// Writes the newest record down, and tells of it.
    fn set(&self, record: &Record) -> Result<(), ChannelError> {
        self.table.keep(record)?;
        if let Some(entry) = self.channels().get(&record.channel()) {
            entry.newest.send_replace(Some(record.clone()));
        }
        Ok(())
    }

    /// The last records of a channel, oldest first.
    pub(crate) fn records(&self, channel: Id) -> Result<Vec<Record>, ChannelError> {
        Ok(self.table.records(channel)?)
    }

    pub(crate) fn follow(&self, name: &str) -> Result<FollowRow, ChannelError> {
        Ok(self.table.follow(name)?)
    }

    pub(crate) fn change_follow(
        &self,
        name: &str,
        change: impl FnOnce(&mut FollowRow),
    ) -> Result<FollowRow, ChannelError> {
        Ok(self.table.change_follow(name, change)?)
    }

    /// Tells that something was decided about a follow.
    pub(crate) fn decide(&self) {
        self.decided.send_replace(());
    }

    pub(crate) fn decided(&self) -> watch::Receiver<()> {
        self.decided.subscribe()
    }
}

impl Entry {
    fn new(newest: Option<Record>, asked: bool) -> Self {
        Self {
            newest: watch::Sender::new(newest),
            asked: watch::Sender::new(asked),
        }
    }
}

/// Why a record that came from somebody is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error(transparent)]
    Refused(Refused),
    #[error(transparent)]
    Failed(#[from] ChannelError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use cardume_content::Hash;
    use libp2p_identity::Keypair;

    use super::*;
    use crate::KeyFiles;

    fn shelf(dir: &Path, followed: &[Id]) -> Shelf {
        let files = KeyFiles {
            load: |path| {
                let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
                Keypair::from_protobuf_encoding(&bytes).map_err(|error| error.to_string())
            },
            create: |path| {
                let key = Keypair::generate_ed25519();
                std::fs::write(path, key.to_protobuf_encoding().unwrap()).unwrap();
                Ok(key)
            },
        };
        let database = Arc::new(redb::Database::create(dir.join("db")).unwrap());
        let keys = Keys::new(dir.join("channels"), files);
        let shelf = Shelf::open(Table::open(database).unwrap(), keys, Counts::default()).unwrap();
        followed.iter().for_each(|id| shelf.take_up(*id).unwrap());
        shelf
    }

    fn cid(text: &str) -> Cid {
        Cid::blob(Hash::of(text.as_bytes()))
    }

    fn refused(offered: Result<bool, OfferError>) -> &'static str {
        match offered {
            Err(OfferError::Refused(refused)) => refused.reason(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_are_never_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let first = shelf(dir.path(), &[]);
        let id = first.create("films").unwrap();
        assert!(matches!(first.create("films"), Err(ChannelError::Exists(_))));
        assert!(matches!(first.create("../x"), Err(ChannelError::Name(_))));
        assert!(matches!(
            first.create(&id.to_string()),
            Err(ChannelError::Name(_))
        ));
        for number in 1..=40 {
            let record = first.publish("films", cid("x"), 1, String::new()).unwrap();
            assert_eq!(record.number(), number);
        }
        drop(first);
        let again = shelf(dir.path(), &[]);
        assert_eq!(again.named("films"), Some(id));
        assert_eq!(again.records(id).unwrap().len(), 32, "the last are kept");
        let record = again.publish("films", cid("y"), 1, "note".into()).unwrap();
        assert_eq!(record.number(), 41);
        let unknown = again.publish("music", cid("y"), 1, String::new());
        assert!(matches!(unknown, Err(ChannelError::Unknown(_))));
    }

    #[test]
    fn a_follower_takes_what_is_newer_and_true_and_counts_the_rest() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let publisher = shelf(there.path(), &[]);
        let id = publisher.create("films").unwrap();
        let records: Vec<_> = (0..3)
            .map(|n: u32| {
                publisher
                    .publish("films", cid(&n.to_string()), 1, String::new())
                    .unwrap()
            })
            .collect();
        let other = publisher.create("music").unwrap();
        let other = (
            other,
            publisher.publish("music", cid("m"), 1, String::new()).unwrap(),
        );
        let follower = shelf(here.path(), &[id]);
        let newest = follower.newest(id).unwrap();
        assert!(follower.offer(id, records[1].bytes()).unwrap());
        assert!(!follower.offer(id, records[1].bytes()).unwrap());
        assert_eq!(refused(follower.offer(id, records[0].bytes())), "older");
        assert_eq!(refused(follower.offer(id, other.1.bytes())), "other_channel");
        assert_eq!(refused(follower.offer(other.0, other.1.bytes())), "other_channel");
        let mut forged = records[2].bytes().to_vec();
        forged[50] ^= 1;
        assert_eq!(refused(follower.offer(id, &forged)), "forged");
        assert_eq!(refused(follower.offer(id, &vec![0; 10 << 20])), "oversized");
        assert_eq!(refused(follower.offer(id, b"")), "malformed");
        assert_eq!(newest.borrow().as_ref(), Some(&records[1]));
        drop((follower, newest));
        let again = shelf(here.path(), &[id]);
        assert_eq!(
            refused(again.offer(id, records[0].bytes())),
            "older",
            "after a restart"
        );
        assert!(again.offer(id, records[2].bytes()).unwrap());
        assert_eq!(again.counts.taken(), 1);
        assert_eq!(again.counts.refusals().map(|(_, count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn followers_of_a_key_that_is_used_twice_settle_on_the_same() {
        let key = ed25519::Keypair::generate();
        let body = |text: &str| Body {
            number: 1,
            cid: cid(text),
            size: 1,
            time: 0,
            note: String::new(),
        };
        let records = [Record::sign(&key, body("a")), Record::sign(&key, body("b"))];
        let settled = [[0, 1], [1, 0]].map(|order| {
            let dir = tempfile::tempdir().unwrap();
            let shelf = shelf(dir.path(), &[Id::of(&key.public())]);
            for at in order {
                let _ = shelf.offer(Id::of(&key.public()), records[at].bytes());
            }
            let newest = shelf.newest(Id::of(&key.public())).unwrap();
            newest.borrow().clone().unwrap()
        });
        assert_eq!(settled[0], settled[1]);
    }
}
