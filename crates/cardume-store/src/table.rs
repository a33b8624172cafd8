//! The store's tables in the node's database.
use std::{
    collections::{BTreeMap, HashSet},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cardume_content::{Cid, Hash};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use self::paths::{Paths, forget_place};
use crate::{
    Root, Usage,
    error::Fault,
    record::{Body, PLACES, Place, Record, decode_root, encode_root},
};

mod paths;

/// The newest format this program knows.
pub(crate) const FORMAT: u64 = 1;

const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("store_state");
const BLOBS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("store_blobs");
const PATHS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("store_paths");
/// Inode to a path in `PATHS`: finds a file again that was moved. The last of several.
const INODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("store_inodes");
const ROOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("store_roots");
/// Roots that were fetched, and when they were last used, in seconds since 1970.
const FETCHED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("store_fetched");

/// Blobs that came in for a root with an `allow` list.
const GUARDED: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("store_guarded");

/// One blob to record, and where it was found if that is a file of others.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) hash: Hash,
    pub(crate) record: Record,
    pub(crate) place: Option<(PathBuf, Place)>,
    pub(crate) guarded: bool,
}

pub(crate) struct Tables {
    database: Arc<Database>,
    usage: Mutex<Usage>,
    /// What made the store one that is only read.
    failed: OnceLock<String>,
}

/// The tables at one moment.
pub(crate) struct Snapshot {
    blobs: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    paths: ReadOnlyTable<&'static [u8], &'static [u8]>,
    inodes: ReadOnlyTable<u64, &'static [u8]>,
}

impl Snapshot {
    pub(crate) fn record(&self, hash: Hash) -> Result<Option<Record>, Fault> {
        let row = self.blobs.get(hash.as_bytes())?;
        row.map(|row| Record::decode(row.value())).transpose()
    }

    pub(crate) fn place(&self, path: &Path) -> Result<Option<Place>, Fault> {
        let row = self.paths.get(path.as_os_str().as_bytes())?;
        row.map(|row| Place::decode(row.value())).transpose()
    }

    /// Where the file with an inode was found last.
    pub(crate) fn place_of(&self, inode: u64) -> Result<Option<(PathBuf, Place)>, Fault> {
        let Some(path) = self.inodes.get(inode)?.map(|row| path_of(row.value())) else {
            return Ok(None);
        };
        Ok(self.place(&path)?.map(|place| (path, place)))
    }
}

fn path_of(key: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(key))
}

impl Tables {
    /// Makes the tables. The format found is for the caller to judge: nothing is written to a newer one.
    pub(crate) fn open(database: Arc<Database>) -> Result<(Self, u64), Fault> {
        let write = begin(&database)?;
        let (format, usage) = {
            let mut state = write.open_table(STATE)?;
            write.open_table(BLOBS)?;
            write.open_table(PATHS)?;
            write.open_table(INODES)?;
            write.open_table(ROOTS)?;
            write.open_table(FETCHED)?;
            write.open_table(GUARDED)?;
            let number = |key| -> Result<u64, Fault> { Ok(state.get(key)?.map_or(0, |row| row.value())) };
            let usage = Usage {
                blobs: number("blobs")?,
                content: number("content")?,
                in_place: number("in_place")?,
                metadata: number("metadata")?,
            };
            let format = state.get("format")?.map(|row| row.value());
            if format.is_none() {
                state.insert("format", FORMAT)?;
            }
            (format.unwrap_or(FORMAT), usage)
        };
        if format == FORMAT {
            write.commit()?;
        } else {
            write.abort()?;
        }
        let usage = Mutex::new(usage);
        let tables = Self {
            database,
            usage,
            failed: OnceLock::new(),
        };
        Ok((tables, format))
    }

    /// Why nothing may be written any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    /// Lets nothing be written any more; the first reason counts.
    pub(crate) fn fail(&self, reason: String) {
        if self.failed.set(reason.clone()).is_ok() {
            tracing::error!(reason, "the disk failed; the store takes nothing more in");
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables as they are now, for many look-ups at once. Kept for long, it keeps what is deleted on the disk.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Fault> {
        let read = self.database.begin_read()?;
        Ok(Snapshot {
            blobs: read.open_table(BLOBS)?,
            paths: read.open_table(PATHS)?,
            inodes: read.open_table(INODES)?,
        })
    }

    pub(crate) fn record(&self, hash: Hash) -> Result<Option<Record>, Fault> {
        self.snapshot()?.record(hash)
    }

    pub(crate) fn place(&self, path: &Path) -> Result<Option<Place>, Fault> {
        self.snapshot()?.place(path)
    }

    /// Up to `count` blobs, in order of their hashes, after `after`.
    pub(crate) fn records_after(
        &self,
        after: Option<Hash>,
        count: usize,
    ) -> Result<Vec<(Hash, Record)>, Fault> {
        use std::ops::Bound::{Excluded, Unbounded};
        let table = self.database.begin_read()?.open_table(BLOBS)?;
        let key = after.map(|hash| *hash.as_bytes());
        let start = key.as_ref().map_or(Unbounded, Excluded);
        table
            .range::<&[u8; 32]>((start, Unbounded))?
            .take(count)
            .map(|row| {
                let (key, row) = row?;
                Ok((Hash::from_bytes(*key.value()), Record::decode(row.value())?))
            })
            .collect()
    }

    /// Records blobs, durably, and forgets the places that files have left. What is described must be on the disk
    /// already.
    pub(crate) fn put(&self, entries: &[Entry], left: &[(PathBuf, Place)]) -> Result<(), Fault> {
        self.change(|write, usage| {
            let mut blobs = write.open_table(BLOBS)?;
            let mut paths = Paths::open(write)?;
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|entry| entry.hash);
            if sorted.iter().any(|entry| entry.guarded) {
                let mut guarded = write.open_table(GUARDED)?;
                for entry in sorted.iter().filter(|entry| entry.guarded) {
                    guarded.insert(entry.hash.as_bytes(), ())?;
                }
            }
            for entry in sorted {
                if let Some((path, place)) = &entry.place {
                    paths.put(path, place, usage)?;
                }
                let old = record_in(&blobs, entry.hash)?;
                let new = match &old {
                    Some(old) => merge(old, &entry.record),
                    None => entry.record.clone(),
                };
                if old.as_ref() == Some(&new) {
                    continue;
                }
                if let Some(old) = &old {
                    count(usage, old, false);
                }
                count(usage, &new, true);
                blobs.insert(entry.hash.as_bytes(), new.encode().as_slice())?;
            }
            for (path, place) in left {
                // Another file may have been found there by now, even one with the same bytes.
                if paths.get(path)?.as_ref() == Some(place) {
                    forget_place(&mut blobs, &mut paths, place.hash, path, usage)?;
                }
            }
            Ok(())
        })
    }

    /// Forgets blobs; returns their records.
    pub(crate) fn remove(&self, hashes: &[Hash]) -> Result<Vec<(Hash, Record)>, Fault> {
        self.change(|write, usage| {
            let mut blobs = write.open_table(BLOBS)?;
            let mut paths = Paths::open(write)?;
            let mut removed = Vec::new();
            for hash in hashes {
                let Some(record) = record_in(&blobs, *hash)? else {
                    continue;
                };
                if let Body::Places(places) = &record.body {
                    for path in places {
                        paths.remove(path, *hash, usage)?;
                    }
                }
                count(usage, &record, false);
                blobs.remove(hash.as_bytes())?;
                removed.push((*hash, record));
            }
            Ok(removed)
        })
    }

    /// Forgets that a blob lies at `path`, and the blob if that was the last place.
    pub(crate) fn remove_place(&self, hash: Hash, path: &Path) -> Result<(), Fault> {
        self.change(|write, usage| {
            let mut blobs = write.open_table(BLOBS)?;
            forget_place(&mut blobs, &mut Paths::open(write)?, hash, path, usage)
        })
    }

    /// Forgets every place below `path`, and blobs that lie nowhere else; returns whose they were.
    pub(crate) fn forget_below(&self, path: &Path) -> Result<Vec<Hash>, Fault> {
        /// Places forgotten in one transaction, so that others wait for milliseconds.
        const STEP: usize = 1024;
        let mut prefix = path.as_os_str().as_bytes().to_vec();
        let mut forgotten = Vec::new();
        loop {
            let below: Vec<_> = {
                let table = self.database.begin_read()?.open_table(PATHS)?;
                let mut below = Vec::new();
                for row in table.range::<&[u8]>(prefix.as_slice()..)? {
                    let (key, place) = row?;
                    if !key.value().starts_with(path.as_os_str().as_bytes()) || below.len() == STEP {
                        break;
                    }
                    if path_of(key.value()).starts_with(path) {
                        below.push((key.value().to_vec(), Place::decode(place.value())?.hash));
                    }
                }
                below
            };
            let Some((last, _)) = below.last() else {
                return Ok(forgotten);
            };
            prefix.clone_from(last);
            self.change(|write, usage| {
                let mut blobs = write.open_table(BLOBS)?;
                let mut paths = Paths::open(write)?;
                for (path, hash) in &below {
                    forget_place(&mut blobs, &mut paths, *hash, &path_of(path), usage)?;
                }
                Ok(())
            })?;
            forgotten.extend(below.into_iter().map(|(_, hash)| hash));
        }
    }

    /// Forgets paths of blobs that are not there any more, up to `limit` of them; whether there may be more.
    pub(crate) fn sweep_paths(&self, limit: usize) -> Result<bool, Fault> {
        let stale = {
            let read = self.database.begin_read()?;
            let (blobs, paths) = (read.open_table(BLOBS)?, read.open_table(PATHS)?);
            let mut stale = BTreeMap::new();
            for row in paths.iter()? {
                let (path, place) = row?;
                let hash = Place::decode(place.value())?.hash;
                if blobs.get(hash.as_bytes())?.is_none() {
                    stale.insert(path.value().to_vec(), hash);
                }
                if stale.len() == limit {
                    break;
                }
            }
            stale
        };
        if stale.is_empty() {
            return Ok(false);
        }
        self.change(|write, usage| {
            let blobs = write.open_table(BLOBS)?;
            let mut paths = Paths::open(write)?;
            for (path, hash) in &stale {
                if blobs.get(hash.as_bytes())?.is_none() {
                    paths.remove(&path_of(path), *hash, usage)?;
                }
            }
            Ok(())
        })?;
        Ok(stale.len() == limit)
    }

    pub(crate) fn roots(&self) -> Result<Vec<Root>, Fault> {
        let table = self.database.begin_read()?.open_table(ROOTS)?;
        let rows = table.iter()?;
        rows.map(|row| {
            let (cid, row) = row?;
            decode_root(cid.value(), row.value())
        })
        .collect()
    }

    pub(crate) fn root(&self, cid: Cid) -> Result<Option<Root>, Fault> {
        let table = self.database.begin_read()?.open_table(ROOTS)?;
        let key = cid.to_bytes();
        let row = table.get(key.as_slice())?;
        row.map(|row| decode_root(&key, row.value())).transpose()
    }

    /// Keeps a root: the operator's own, or one that was fetched and last used at `fetched`; `guarded` is below it, and
    /// new to be guarded. What the operator shares stays as it is when it is fetched as well, and what has a list keeps
    /// it. Returns what the root is now.
    pub(crate) fn put_root(
        &self,
        mut root: Root,
        fetched: Option<u64>,
        guarded: &HashSet<Hash>,
    ) -> Result<Option<Root>, Fault> {
        self.change(|write, _| {
            guard(write, guarded)?;
            let key = root.cid.to_bytes();
            let mut roots = write.open_table(ROOTS)?;
            let mut marks = write.open_table(FETCHED)?;
            let before = roots
                .get(key.as_slice())?
                .map(|row| decode_root(&key, row.value()))
                .transpose()?;
            match (fetched, before) {
                (None, _) => drop(marks.remove(key.as_slice())?),
                (Some(_), before @ Some(_)) if marks.get(key.as_slice())?.is_none() => return Ok(before),
                (Some(now), before) => {
                    root.pinned |= before.as_ref().is_some_and(|before| before.pinned);
                    root.allow = root.allow.or_else(|| before.and_then(|before| before.allow));
                    marks.insert(key.as_slice(), now)?;
                }
            }
            roots.insert(key.as_slice(), encode_root(&root).as_slice())?;
            Ok(Some(root))
        })
    }

    /// Says who may have a root, and whether it is announced; `guarded` as in [`put_root`](Self::put_root). Returns
    /// what the root is now, if there is one.
    pub(crate) fn set_allow(
        &self,
        cid: Cid,
        allow: Option<Vec<String>>,
        announce: bool,
        guarded: &HashSet<Hash>,
    ) -> Result<Option<Root>, Fault> {
        self.change_root(cid, |write, root| {
            (root.allow, root.announce) = (allow, announce);
            guard(write, guarded)
        })
    }

    /// Every blob that is guarded.
    pub(crate) fn guarded(&self) -> Result<Vec<Hash>, Fault> {
        let table = self.database.begin_read()?.open_table(GUARDED)?;
        let rows = table.iter()?;
        rows.map(|row| Ok(Hash::from_bytes(*row?.0.value()))).collect()
    }

    /// Forgets that blobs were guarded.
    pub(crate) fn unguard(&self, hashes: &[Hash]) -> Result<(), Fault> {
        self.change(|write, _| {
            let mut guarded = write.open_table(GUARDED)?;
            for hash in hashes {
                guarded.remove(hash.as_bytes())?;
            }
            Ok(())
        })
    }

    pub(crate) fn is_fetched(&self, cid: Cid) -> Result<bool, Fault> {
        let table = self.database.begin_read()?.open_table(FETCHED)?;
        Ok(table.get(cid.to_bytes().as_slice())?.is_some())
    }

    /// Roots that were fetched, each with its last use.
    pub(crate) fn fetched(&self) -> Result<Vec<(u64, Root)>, Fault> {
        let read = self.database.begin_read()?;
        let (roots, marks) = (read.open_table(ROOTS)?, read.open_table(FETCHED)?);
        let mut fetched = Vec::new();
        for row in marks.iter()? {
            let (cid, used) = row?;
            if let Some(root) = roots.get(cid.value())? {
                fetched.push((used.value(), decode_root(cid.value(), root.value())?));
            }
        }
        Ok(fetched)
    }

    /// Notes when roots that were fetched were last used.
    pub(crate) fn note_uses(&self, uses: &[(Cid, u64)]) -> Result<(), Fault> {
        self.change(|write, _| {
            let mut marks = write.open_table(FETCHED)?;
            for (cid, used) in uses {
                let key = cid.to_bytes();
                if marks.get(key.as_slice())?.is_some() {
                    marks.insert(key.as_slice(), *used)?;
                }
            }
            Ok(())
        })
    }

    pub(crate) fn remove_root(&self, cid: Cid) -> Result<bool, Fault> {
        self.change(|write, _| {
            let key = cid.to_bytes();
            write.open_table(FETCHED)?.remove(key.as_slice())?;
            Ok(write.open_table(ROOTS)?.remove(key.as_slice())?.is_some())
        })
    }

    /// Pins or unpins a root; whether there is one.
    pub(crate) fn pin(&self, cid: Cid, pinned: bool) -> Result<bool, Fault> {
        let changed = self.change_root(cid, |_, root| {
            root.pinned = pinned;
            Ok(())
        });
        Ok(changed?.is_some())
    }

    /// Changes a root in one step; returns what it is now, if there is one.
    fn change_root(
        &self,
        cid: Cid,
        change: impl FnOnce(&WriteTransaction, &mut Root) -> Result<(), Fault>,
    ) -> Result<Option<Root>, Fault> {
        self.change(|write, _| {
            let key = cid.to_bytes();
            let mut roots = write.open_table(ROOTS)?;
            let found = roots
                .get(key.as_slice())?
                .map(|row| decode_root(&key, row.value()))
                .transpose()?;
            let Some(mut root) = found else { return Ok(None) };
            change(write, &mut root)?;
            roots.insert(key.as_slice(), encode_root(&root).as_slice())?;
            Ok(Some(root))
        })
    }

    /// One transaction, with the usage that goes with it.
    fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, &mut Usage) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.try_change(work).inspect_err(|fault| {
            // The database answers nothing after a failed write, until it is opened again.
            self.fail(format!("its database failed: {}", fault.0));
        })
    }

    fn try_change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, &mut Usage) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let write = begin(&self.database)?;
        // There is one writer at a time: nobody changes the usage between here and the commit.
        let mut usage = self.usage();
        let result = work(&write, &mut usage)?;
        {
            let mut state = write.open_table(STATE)?;
            state.insert("blobs", usage.blobs)?;
            state.insert("content", usage.content)?;
            state.insert("in_place", usage.in_place)?;
            state.insert("metadata", usage.metadata)?;
        }
        // Before the commit lets the next writer in.
        let mut kept = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *kept, usage);
        drop(kept);
        write.commit().inspect_err(|_| {
            *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = before;
        })?;
        Ok(result)
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut write = database.begin_write()?;
    // A few more pages a commit, and no walk over the whole database after an unclean stop.
    write.set_quick_repair(true);
    Ok(write)
}

fn guard(write: &WriteTransaction, hashes: &HashSet<Hash>) -> Result<(), Fault> {
    let mut guarded = write.open_table(GUARDED)?;
    let mut sorted: Vec<_> = hashes.iter().collect();
    sorted.sort_unstable();
    for hash in sorted {
        guarded.insert(hash.as_bytes(), ())?;
    }
    Ok(())
}

fn record_in(blobs: &Table<'_, &[u8; 32], &[u8]>, hash: Hash) -> Result<Option<Record>, Fault> {
    let row = blobs.get(hash.as_bytes())?;
    row.map(|row| Record::decode(row.value())).transpose()
}

/// What of two records of one blob is kept: our own bytes rather than another's, else all places known.
fn merge(old: &Record, new: &Record) -> Record {
    let mut merged = new.clone();
    match (&old.body, &mut merged.body) {
        (Body::Places(known), Body::Places(places)) => {
            let others: Vec<_> = known
                .iter()
                .filter(|place| !places.contains(place))
                .cloned()
                .collect();
            places.extend(others);
            places.truncate(PLACES);
        }
        (Body::Own | Body::Inline(_), Body::Places(_)) => merged.body = old.body.clone(),
        _ => {}
    }
    merged
}

/// Adds a record to the usage, or takes it off.
fn count(usage: &mut Usage, record: &Record, add: bool) {
    let change = |sum: &mut u64, by: u64| {
        *sum = if add {
            sum.saturating_add(by)
        } else {
            sum.saturating_sub(by)
        };
    };
    let row = record.encode().len() as u64 + 32;
    let (content, in_place, inline) = match &record.body {
        Body::Inline(_) => (record.size, 0, record.size),
        Body::Own => (record.size, 0, 0),
        Body::Places(_) => (0, record.size, 0),
    };
    change(&mut usage.blobs, 1);
    change(&mut usage.content, content);
    change(&mut usage.in_place, in_place);
    let own = if record.body == Body::Own { record.size } else { 0 };
    change(
        &mut usage.metadata,
        row.saturating_sub(inline)
            .saturating_add(record.own_files().saturating_sub(own)),
    );
}
