//! From verified to durable: data synced, then recorded.
use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use cardume_content::Hash;

use crate::{
    Changed, Inner, Reservation, Store, WriteError, disk, lock,
    record::{Body, Place, Print, Record},
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
                guarded: self.guard.has(*hash),
            })
            .collect();
        self.tables.put(&entries, &[])?;
        for (hash, waiting) in &synced {
            self.unname(*hash, &waiting.record);
        }
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
            if let Err(error) = &own {
                self.suspect(error);
            }
            match own.and(place) {
                Ok(()) => synced.push((hash, waiting)),
                Err(error) => {
                    tracing::error!(%hash, %error, "a blob could not be made durable and is dropped");
                    self.drop_waiting(hash, &waiting);
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

    /// Notes that the store's own disk has refused to keep something; a full one may have room again.
    pub(crate) fn suspect(&self, error: &io::Error) {
        if !matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::NotFound
        ) {
            let root = self.disk.root().display();
            self.tables.fail(format!("{root} could not be synced: {error}"));
        }
    }

    /// Takes a blob that is not durable off the air.
    fn drop_waiting(&self, hash: Hash, waiting: &Arc<Waiting>) {
        lock(&self.open).close(hash);
        lock(&self.pending).settled(hash, waiting);
        self.unname(hash, &waiting.record);
        if let Some((path, _)) = &waiting.place {
            self.report(Changed {
                hash,
                path: path.clone(),
            });
        }
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
        // Its time stamp too: the record says what it is.
        file.sync_all()?;
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
