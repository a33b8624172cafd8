//! Files and directory trees into the store.
use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use cardume_content::{Cid, Hash};

use crate::{
    ImportError, Imported, Inner, Mode, Progress, Reservation, Store, Watcher, WriteError, disk, lock,
    private::Private,
    record::{Body, Place, Print, Record},
    spans,
    table::{Entry, Snapshot},
};

mod file;
mod walk;

/// Blobs recorded at a time: one commit for thousands of files, in bounded memory.
const BATCH: usize = 8_192;
/// Bytes of small blobs in memory likewise.
const BATCH_BYTES: u64 = 16 << 20;
/// Skipped files that are listed by name.
const SKIPPED: usize = 10_000;

impl Store {
    /// Takes a file or a directory tree in; durable when it returns. Symlinks inside a tree are kept as symlinks,
    /// where they stay inside it; `path` itself may be one. Files that have not changed since an earlier import are
    /// not read again, and private places are left out ([`keep_private`](Self::keep_private)).
    ///
    /// The same tree gives the same id, wherever it lies and whatever was skipped is left out.
    ///
    /// # Errors
    /// `Changed` when a file was written to while it was read, twice; `Cancelled` when `progress` said so. What was
    /// taken in until then goes with the next collection. `Unsupported` when `path` is private.
    pub fn import(&self, path: &Path, mode: Mode, progress: &dyn Progress) -> Result<Imported, ImportError> {
        let path = path
            .canonicalize()
            .map_err(|error| ImportError::io(path, error))?;
        self.take_in(&path, &|| disk::open_any(&path), mode, progress, None)
    }

    /// Takes in what lies below the directory `above`, or `above` itself: like [`import`](Self::import), but `path` is
    /// walked from an open handle of `above` and no link is followed on the way. So whoever checked that `path` is
    /// below `above` is not fooled by a link that takes a directory's place a moment later.
    ///
    /// # Errors
    /// As [`import`](Self::import), and `Unsupported` when `path` is not below `above`.
    pub fn import_below(
        &self,
        above: &Path,
        path: &Path,
        mode: Mode,
        progress: &dyn Progress,
    ) -> Result<Imported, ImportError> {
        let Ok(below) = path.strip_prefix(above) else {
            return Err(ImportError::Unsupported {
                path: path.to_owned(),
                reason: format!("not below {}", above.display()),
            });
        };
        if below.as_os_str().is_empty() {
            return self.take_in(path, &|| disk::open_any(path), mode, progress, None);
        }
        let directory = disk::open_any(above).map_err(|error| ImportError::io(above, error))?;
        let open = || disk::open_below(&directory, below);
        self.take_in(path, &open, mode, progress, None)
    }

    /// Takes in a tree that others are working on: like [`import`](Self::import), but `watcher` is told of every
    /// directory and says which of them to pass over, and files that are being written to are left out.
    ///
    /// What is passed over must be held by a root or a [`Hold`](crate::Hold) until this returns.
    ///
    /// # Errors
    /// As [`import`](Self::import), without `Changed` but for a `path` that is a file.
    pub fn import_watched(
        &self,
        path: &Path,
        mode: Mode,
        progress: &dyn Progress,
        watcher: &dyn Watcher,
    ) -> Result<Imported, ImportError> {
        let path = path
            .canonicalize()
            .map_err(|error| ImportError::io(path, error))?;
        let open = || disk::open_any(&path);
        self.take_in(&path, &open, mode, progress, Some(watcher))
    }

    /// Takes in what `open` opens, which lies at `path`; traces tell of it.
    fn take_in(
        &self,
        path: &Path,
        open: &(dyn Fn() -> io::Result<File> + Sync),
        mode: Mode,
        progress: &dyn Progress,
        watcher: Option<&dyn Watcher>,
    ) -> Result<Imported, ImportError> {
        spans::import(path, || {
            self.refuse_private(path)?;
            self.inner.check_writable()?;
            let _claim = match mode {
                Mode::Copy => {
                    let (bytes, files) = self.inner.measure_new(path, progress)?;
                    Some(self.inner.claim_copy(bytes, files)?)
                }
                Mode::InPlace => None,
            };
            let _gate = self.inner.enter();
            let import = Import {
                store: &self.inner,
                mode,
                progress,
                watcher,
                guards: self.guards,
                private: lock(&self.inner.private).clone(),
                batch: Mutex::default(),
                skipped: Mutex::default(),
                bytes: AtomicU64::new(0),
                files: AtomicU64::new(0),
                hashed: AtomicU64::new(0),
            };
            let (cid, size, files) = self.inner.pool.install(|| import.root(path, open))?;
            import.commit(import.take())?;
            lock(&self.inner.held).touch(cid);
            Ok(Imported {
                cid,
                size,
                files,
                hashed: import.hashed.into_inner(),
                skipped: import.skipped.into_inner().unwrap_or_default(),
            })
        })
    }
}

impl Inner {
    /// Bytes and files that a copy will add, as far as can be seen: what cannot be read is told of later.
    fn measure_new(&self, path: &Path, progress: &dyn Progress) -> Result<(u64, u64), ImportError> {
        let tables = self.tables.snapshot()?;
        let is_held = |path: &Path, print: Print| -> Result<bool, ImportError> {
            let Some(place) = tables
                .place(path)?
                .filter(|place| place.rested && place.print == print)
            else {
                return Ok(false);
            };
            let record = tables.record(place.hash)?;
            Ok(record.is_some_and(|record| !matches!(record.body, Body::Places(_))))
        };
        let (mut bytes, mut files) = (0_u64, 0_u64);
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            if metadata.is_dir() {
                let listed = path.read_dir().into_iter().flatten().flatten();
                open.extend(listed.map(|entry| entry.path()));
            } else if metadata.is_file() && !is_held(&path, Print::of(&metadata))? {
                bytes = bytes.saturating_add(metadata.size());
                files += 1;
            }
            if !progress.advance(0, 0) {
                return Err(ImportError::Cancelled);
            }
        }
        Ok((bytes, files))
    }
}

/// One import under way.
struct Import<'a> {
    store: &'a Inner,
    mode: Mode,
    progress: &'a dyn Progress,
    watcher: Option<&'a dyn Watcher>,
    /// Whether what is new belongs to nobody before it is below a root.
    guards: bool,
    /// What stays out of every tree.
    private: Vec<Arc<Private>>,
    batch: Mutex<Batch>,
    skipped: Mutex<Vec<(PathBuf, String)>>,
    /// Found so far.
    bytes: AtomicU64,
    files: AtomicU64,
    /// Bytes read.
    hashed: AtomicU64,
}

/// What is hashed and not recorded yet.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: u64,
    reservations: Vec<Reservation>,
    /// Where files were that lie elsewhere now.
    left: Vec<(PathBuf, Place)>,
}

/// A file that was taken in.
struct Leaf {
    hash: Hash,
    size: u64,
    executable: bool,
}

impl Import<'_> {
    fn root(
        &self,
        path: &Path,
        open: &(dyn Fn() -> io::Result<File> + Sync),
    ) -> Result<(Cid, u64, u64), ImportError> {
        let failed = |error| ImportError::io(path, error);
        let opened = open().map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return self.directory(&opened, path, 0);
        }
        if !metadata.is_file() {
            return Err(ImportError::Unsupported {
                path: path.to_owned(),
                reason: "neither a file nor a directory".into(),
            });
        }
        self.found(metadata.size(), 1);
        let (tables, print) = (self.store.tables.snapshot()?, Print::of(&metadata));
        let known = match self.known(&tables, path, print)? {
            None => self.moved(&tables, path, print, metadata.dev())?,
            known => known,
        };
        let leaf = match known {
            Some(hash) => self.unread(hash, metadata.size(), false)?,
            None => self.file(path, open)?,
        };
        Ok((Cid::blob(leaf.hash), leaf.size, 1))
    }

    fn found(&self, bytes: u64, files: u64) {
        let bytes = self
            .bytes
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        let files = self
            .files
            .fetch_add(files, Ordering::Relaxed)
            .saturating_add(files);
        self.progress.total(bytes, files);
    }

    fn advance(&self, bytes: u64, files: u64) -> Result<(), ImportError> {
        if self.progress.advance(bytes, files) {
            Ok(())
        } else {
            Err(ImportError::Cancelled)
        }
    }

    fn skip(&self, path: PathBuf, reason: impl Into<String>) {
        let mut skipped = lock(&self.skipped);
        if skipped.len() < SKIPPED {
            skipped.push((path, reason.into()));
        }
    }

    /// What an earlier import has found in a file, if it looks the same and its blob is still here.
    fn known(&self, tables: &Snapshot, path: &Path, print: Print) -> Result<Option<Hash>, ImportError> {
        let Some(place) = tables.place(path)? else {
            return Ok(None);
        };
        if !place.rested || place.print != print {
            return Ok(None);
        }
        let record = tables.record(place.hash)?;
        Ok(record
            .is_some_and(|record| self.is_at(&record, path))
            .then_some(place.hash))
    }

    /// Whether a blob can be had if the file at `path` is what it was.
    fn is_at(&self, record: &Record, path: &Path) -> bool {
        match &record.body {
            Body::Inline(_) | Body::Own => true,
            Body::Places(places) => self.mode == Mode::InPlace && places.iter().any(|known| known == path),
        }
    }

    /// Finds out whether a file that is not known at `path` was known elsewhere and has only been moved, or is
    /// another name of one: the same inode of `device`, as it was. It is recorded at `path` then.
    fn moved(
        &self,
        tables: &Snapshot,
        path: &Path,
        print: Print,
        device: u64,
    ) -> Result<Option<Hash>, ImportError> {
        let Some((old, place)) = tables.place_of(print.inode)? else {
            return Ok(None);
        };
        if !place.rested || place.print != print || old == path {
            return Ok(None);
        }
        let Some(record) = tables
            .record(place.hash)?
            .filter(|record| self.is_at(record, &old))
        else {
            return Ok(None);
        };
        // What still looks the same there is the same file under a second name, or one of another file system.
        let still = old.symlink_metadata().ok();
        let still = still.filter(|metadata| Print::of(metadata) == print);
        if still.as_ref().is_some_and(|metadata| metadata.dev() != device) {
            return Ok(None);
        }
        let hash = place.hash;
        let body = match record.body {
            Body::Places(_) => Body::Places(vec![path.to_owned()]),
            body => body,
        };
        if still.is_none() {
            lock(&self.batch).left.push((old, place.clone()));
        }
        let entry = Entry {
            hash,
            record: Record { body, ..record },
            place: Some((path.to_owned(), place)),
            guarded: false,
        };
        self.keep(entry, None)?;
        Ok(Some(hash))
    }

    /// Takes in a file that is known without reading it.
    fn unread(&self, hash: Hash, size: u64, executable: bool) -> Result<Leaf, ImportError> {
        self.advance(size, 1)?;
        Ok(Leaf {
            hash,
            size,
            executable,
        })
    }

    /// Whether a blob that comes in is guarded; to be asked before it can be had.
    fn guards(&self, hash: Hash) -> Result<bool, ImportError> {
        Ok(self.guards && self.store.guard_new(hash).map_err(WriteError::from)?)
    }

    /// Keeps a blob for the next commit, and commits when there are many.
    fn keep(&self, entry: Entry, reservation: Option<Reservation>) -> Result<(), ImportError> {
        let full = {
            let mut batch = lock(&self.batch);
            if let Body::Inline(bytes) = &entry.record.body {
                batch.bytes += bytes.len() as u64;
            }
            batch.entries.push(entry);
            batch.reservations.extend(reservation);
            (batch.entries.len() >= BATCH || batch.bytes >= BATCH_BYTES).then(|| std::mem::take(&mut *batch))
        };
        full.map_or(Ok(()), |batch| self.commit(batch))
    }

    fn take(&self) -> Batch {
        std::mem::take(&mut lock(&self.batch))
    }

    /// Syncs what is ours, then records it.
    fn commit(&self, batch: Batch) -> Result<(), ImportError> {
        let entries = batch.entries.iter();
        let own: Vec<_> = entries
            .flat_map(|entry| self.store.own_files(entry.hash, &entry.record))
            .collect();
        let root = self.store.disk.root();
        let synced = self.store.disk.sync(&own);
        if let Err(error) = &synced {
            self.store.suspect(error);
        }
        let kept = synced
            .map_err(|error| WriteError::io(root, error))
            .and_then(|()| Ok(self.store.tables.put(&batch.entries, &batch.left)?));
        // Also after a failure: a second sync would say that all is well, so whoever comes with these again brings
        // files of his own.
        for entry in &batch.entries {
            self.store.unname(entry.hash, &entry.record);
        }
        Ok(kept?)
    }
}
