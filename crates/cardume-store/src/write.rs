//! Content out of memory into the store, and from verified to durable.
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use cardume_content::{Cid, Hash, Kind, tree};
use tempfile::NamedTempFile;

use crate::{
    Inner, Reservation, Store, WriteError, disk,
    hashed::Hashed,
    lock,
    record::{Body, INLINE, INLINE_TREE, Place, Print, Record, Tree},
    table::Entry,
};

/// Blobs waiting to become durable before whoever brings more settles them first.
const WAITING: usize = 4_096;
/// Bytes of content in memory waiting likewise.
const WAITING_BYTES: u64 = 8 << 20;
/// Files synced one by one on a file system; more are synced with all of it.
const SYNC_EACH: usize = 16;

/// A verified blob that is not durable yet. It is served, and nothing of it is on record.
pub(crate) struct Waiting {
    pub(crate) record: Record,
    pub(crate) place: Option<(PathBuf, Place)>,
    /// Is open on the place's file system since before its bytes were written, so that `syncfs` tells of them.
    pub(crate) anchor: Option<Arc<File>>,
    /// Its share of the quota, until the usage has it.
    pub(crate) _reservation: Option<Reservation>,
}

impl Waiting {
    pub(crate) fn print(&self) -> Option<Print> {
        self.place.as_ref().map(|(_, place)| place.print)
    }
    fn in_memory(&self) -> u64 {
        if matches!(self.record.body, Body::Inline(_)) {
            self.record.size
        } else {
            0
        }
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Pending {
    blobs: HashMap<Hash, Arc<Waiting>>,
    bytes: u64,
    anchors: HashMap<u64, Weak<File>>,
}

impl Pending {
    pub(crate) fn find(&self, hash: Hash) -> Option<&Arc<Waiting>> {
        self.blobs.get(&hash)
    }

    fn insert(&mut self, hash: Hash, waiting: Waiting) {
        self.bytes += waiting.in_memory();
        if let Some(old) = self.blobs.insert(hash, Arc::new(waiting)) {
            self.bytes -= old.in_memory();
        }
    }

    pub(crate) fn remove(&mut self, hash: Hash) {
        if let Some(old) = self.blobs.remove(&hash) {
            self.bytes -= old.in_memory();
        }
    }

    pub(crate) fn drop_place(&mut self, hash: Hash, path: &Path) {
        let there = self.find(hash).and_then(|waiting| waiting.place.as_ref());
        if there.is_some_and(|(place, _)| place == path) {
            self.remove(hash);
        }
    }

    /// Forgets what has become durable, unless something newer waits in its place.
    fn settled(&mut self, hash: Hash, waiting: &Arc<Waiting>) {
        if self.find(hash).is_some_and(|found| Arc::ptr_eq(found, waiting)) {
            self.remove(hash);
        }
    }

    fn is_full(&self) -> bool {
        self.blobs.len() >= WAITING || self.bytes >= WAITING_BYTES
    }
}

impl Store {
    /// Takes a blob or a manifest in memory in; durable after the next [`settle`](Self::settle).
    ///
    /// # Errors
    /// `Mismatch` when `bytes` are not those of `cid`.
    pub fn put(&self, cid: Cid, bytes: &[u8]) -> Result<(), WriteError> {
        let hashed = Hashed::of_bytes(&self.inner, bytes);
        let hash = hashed.hash;
        if hash != cid.hash() {
            return Err(WriteError::Mismatch(cid));
        }
        let gate = self.inner.enter();
        lock(&self.inner.held).touch(cid);
        if self.inner.located(hash)?.is_none() {
            let waiting = self.inner.place_bytes(cid, bytes, hashed)?;
            self.inner.admit(hash, waiting);
        }
        drop(gate);
        self.inner.settle_if_full()
    }

    /// Takes in a blob of unknown length, as an upload brings it.
    pub fn upload(&self) -> Result<Upload, WriteError> {
        Ok(Upload {
            inner: self.inner.clone(),
            memory: Vec::new(),
            file: None,
            size: 0,
            reservation: self.inner.reserve(0)?,
        })
    }

    /// Makes everything verified durable: data synced, then recorded. Returns how many blobs.
    ///
    /// # Errors
    /// A blob whose bytes the disk refuses is dropped, as what a second try says of them cannot be trusted; the
    /// others become durable all the same.
    pub fn settle(&self) -> Result<usize, WriteError> {
        self.inner.settle()
    }

    /// Number of blobs that are verified and not durable yet.
    pub fn unsettled(&self) -> usize {
        lock(&self.inner.pending).blobs.len()
    }
}

impl Inner {
    /// Keeps a verified blob until it is settled. The caller is in the gate.
    pub(crate) fn admit(&self, hash: Hash, waiting: Waiting) {
        lock(&self.held).touch(waiting.record.cid(hash));
        lock(&self.pending).insert(hash, waiting);
    }

    pub(crate) fn settle_if_full(&self) -> Result<(), WriteError> {
        if lock(&self.pending).is_full() {
            self.settle()?;
        }
        Ok(())
    }

    /// Puts bytes of a known hash where they belong.
    pub(crate) fn place_bytes(&self, cid: Cid, bytes: &[u8], hashed: Hashed) -> Result<Waiting, WriteError> {
        let size = bytes.len() as u64;
        let reservation = self.reserve(size.saturating_add(tree::len(size)))?;
        let body = if size <= INLINE {
            Body::Inline(Bytes::copy_from_slice(bytes))
        } else {
            self.place_own(cid.hash(), bytes)?
        };
        let tree = hashed.plant(self)?;
        Ok(Waiting {
            record: Record {
                kind: cid.kind(),
                size,
                tree,
                body,
            },
            place: None,
            anchor: None,
            _reservation: Some(reservation),
        })
    }

    /// Writes a blob of ours to its file.
    pub(crate) fn place_own(&self, hash: Hash, bytes: &[u8]) -> Result<Body, WriteError> {
        self.write_own(&self.disk.data(hash), bytes)?;
        Ok(Body::Own)
    }

    /// Puts a tree in memory where it belongs.
    pub(crate) fn place_tree(&self, hash: Hash, tree: Vec<u8>) -> Result<Tree, WriteError> {
        if tree.len() as u64 <= INLINE_TREE {
            return Ok(Tree::Inline(tree.into()));
        }
        self.write_own(&self.disk.tree(hash), &tree)?;
        Ok(Tree::File)
    }

    fn write_own(&self, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
        let failed = |error| WriteError::io(path, error);
        let mut file = self.disk.temporary().map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        self.disk.name(&file.into_temp_path(), path).map_err(failed)
    }

    /// Files of ours that a record stands on.
    pub(crate) fn own_files(&self, hash: Hash, record: &Record) -> Vec<PathBuf> {
        let data = (record.body == Body::Own).then(|| self.disk.data(hash));
        let tree = (record.tree == Tree::File).then(|| self.disk.tree(hash));
        data.into_iter().chain(tree).collect()
    }

    /// Something open on the file system of `file`, which lies in `directory`.
    pub(crate) fn anchor(&self, file: &File, directory: &Path) -> io::Result<Arc<File>> {
        let device = file.metadata()?.dev();
        if let Some(anchor) = lock(&self.pending).anchors.get(&device).and_then(Weak::upgrade) {
            return Ok(anchor);
        }
        let anchor = Arc::new(File::open(directory)?);
        let mut pending = lock(&self.pending);
        pending.anchors.retain(|_, anchor| anchor.strong_count() > 0);
        pending.anchors.insert(device, Arc::downgrade(&anchor));
        Ok(anchor)
    }

    pub(crate) fn settle(&self) -> Result<usize, WriteError> {
        let _settling = lock(&self.settling);
        let waiting: Vec<_> = lock(&self.pending)
            .blobs
            .iter()
            .map(|(hash, waiting)| (*hash, waiting.clone()))
            .collect();
        if waiting.is_empty() {
            return Ok(0);
        }
        let (synced, failure) = self.sync_waiting(waiting);
        let entries: Vec<_> = synced
            .iter()
            .map(|(hash, waiting)| Entry {
                hash: *hash,
                record: waiting.record.clone(),
                place: waiting.place.clone(),
            })
            .collect();
        self.tables.put(&entries)?;
        let mut pending = lock(&self.pending);
        for (hash, waiting) in &synced {
            pending.settled(*hash, waiting);
        }
        failure.map_or(Ok(synced.len()), Err)
    }

    /// Syncs the files of blobs; those that fail are dropped, and the first failure is told.
    fn sync_waiting(&self, waiting: Batch) -> (Batch, Option<WriteError>) {
        let mut failure = None;
        let mut synced = Vec::with_capacity(waiting.len());
        let own: usize = waiting
            .iter()
            .map(|(hash, w)| self.own_files(*hash, &w.record).len())
            .sum();
        let own_at_once = (own > SYNC_EACH).then(|| self.disk.sync_all());
        let places = sync_places(&waiting);
        for ((hash, waiting), place) in waiting.into_iter().zip(places) {
            let files = self.own_files(hash, &waiting.record);
            let own = match &own_at_once {
                _ if files.is_empty() => Ok(()),
                Some(result) => result.as_ref().copied().map_err(copy_error),
                None => self.disk.sync(&files),
            };
            match own.and(place) {
                Ok(()) => synced.push((hash, waiting)),
                Err(error) => {
                    tracing::error!(%hash, %error, "a blob could not be made durable and is dropped");
                    lock(&self.open).close(hash);
                    lock(&self.pending).settled(hash, &waiting);
                    let path = waiting
                        .place
                        .as_ref()
                        .map_or_else(|| self.disk.root(), |(path, _)| path);
                    failure.get_or_insert_with(|| WriteError::io(path, error));
                }
            }
        }
        (synced, failure)
    }
}

type Batch = Vec<(Hash, Arc<Waiting>)>;

/// Syncs files of others that blobs have become, and their names; a result for each blob.
fn sync_places(waiting: &Batch) -> Vec<io::Result<()>> {
    let mut systems: HashMap<*const File, (usize, Option<io::Result<()>>)> = HashMap::new();
    for anchor in waiting.iter().filter_map(|(_, waiting)| waiting.anchor.as_ref()) {
        systems.entry(Arc::as_ptr(anchor)).or_default().0 += 1;
    }
    let mut sync = |waiting: &Waiting| {
        let Some((path, place)) = &waiting.place else {
            return Ok(());
        };
        if let Some(anchor) = &waiting.anchor
            && let Some((count, result)) = systems.get_mut(&Arc::as_ptr(anchor))
            && *count > SYNC_EACH
        {
            return result
                .get_or_insert_with(|| disk::sync_all(anchor))
                .as_ref()
                .copied()
                .map_err(copy_error);
        }
        let file = disk::open_plain(path)?;
        if Print::of(&file.metadata()?) != place.print {
            return Err(io::Error::other("it has changed"));
        }
        file.sync_data()?;
        path.parent().map_or(Ok(()), disk::sync_directory)
    };
    waiting.iter().map(|(_, waiting)| sync(waiting)).collect()
}

fn copy_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::other(error.to_string()),
        io::Error::from_raw_os_error,
    )
}

/// A blob coming in, of a length nobody knows yet. Dropped, it leaves nothing.
pub struct Upload {
    inner: Arc<Inner>,
    memory: Vec<u8>,
    /// Has everything, once `memory` would be too much.
    file: Option<NamedTempFile>,
    size: u64,
    reservation: Reservation,
}

impl Upload {
    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.reservation.add(self.inner.reserve(bytes.len() as u64)?);
        self.size = self.size.saturating_add(bytes.len() as u64);
        let failed = |error| WriteError::io(self.inner.disk.root(), error);
        if self.file.is_none() && self.size > INLINE {
            let mut file = self.inner.disk.temporary().map_err(failed)?;
            file.write_all(&self.memory).map_err(failed)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(failed),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Ends the blob; durable after the next [`Store::settle`].
    pub fn finish(self) -> Result<(Hash, u64), WriteError> {
        let inner = &self.inner;
        let Some(file) = self.file else {
            drop(self.reservation);
            let hashed = Hashed::of_bytes(inner, &self.memory);
            let hash = hashed.hash;
            let _gate = inner.enter();
            let waiting = inner.place_bytes(Cid::blob(hash), &self.memory, hashed)?;
            inner.admit_new(hash, waiting)?;
            return Ok((hash, self.size));
        };
        let failed = |error| WriteError::io(inner.disk.root(), error);
        let read = |offset, buffer: &mut [u8]| file.as_file().read_exact_at(buffer, offset);
        let hashed = Hashed::of_file(inner, self.size, read, |_| true).map_err(failed)?;
        let hash = hashed.hash;
        let _gate = inner.enter();
        inner
            .disk
            .name(&file.into_temp_path(), &inner.disk.data(hash))
            .map_err(failed)?;
        let waiting = Waiting {
            record: Record {
                kind: Kind::Blob,
                size: self.size,
                tree: hashed.plant(inner)?,
                body: Body::Own,
            },
            place: None,
            anchor: None,
            _reservation: Some(self.reservation),
        };
        inner.admit_new(hash, waiting)?;
        Ok((hash, self.size))
    }
}

impl Inner {
    /// Admits a blob unless it is here as our own already.
    fn admit_new(&self, hash: Hash, waiting: Waiting) -> Result<(), WriteError> {
        match self.located(hash)? {
            Some((record, _)) if !matches!(record.body, Body::Places(_)) => {
                lock(&self.held).touch(Cid::blob(hash));
            }
            _ => self.admit(hash, waiting),
        }
        Ok(())
    }
}
