//! Bytes and slices out of the store, and what happens when they are not what they were.
use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use cardume_content::{
    Cid, Hash, Kind, Manifest,
    manifest::{Limits, ManifestError},
    slice::EncodeError,
    tree,
};

use crate::{
    Changed, Inner, Presence, ReadError, Store, WriteError, disk, lock,
    record::{Body, Print, Record, Tree},
    source::{Data, Source, TreeData},
};

/// Bytes given at a time, and the most that one slice covers.
const READ: u64 = 4 << 20;
/// Bytes of a copy written at a time: the page cache takes more in blocks that it may have to clear a place for.
const WRITE: usize = 128 << 10;
/// Changed files remembered for whoever asks; the oldest go first.
const CHANGED: usize = 1_024;

impl Store {
    /// Tells how much of a blob is here.
    pub fn presence(&self, hash: Hash) -> Result<Presence, ReadError> {
        let inner = &*self.inner;
        if let Some((record, _)) = inner.located(hash)? {
            return Ok(Presence::Complete { size: record.size });
        }
        Ok(inner
            .partial(hash)
            .map_or(Presence::Absent, |partial| partial.presence()))
    }

    /// Appends the verifiable slice of `range`; every byte is verified while it is read.
    ///
    /// # Errors
    /// `Changed` when a file shared in place is no longer what it was: it is taken off the air.
    /// `out` is then as it was.
    pub fn slice(&self, hash: Hash, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.inner.note_use(hash);
        self.inner
            .with_source(hash, range, |source, range| source.encode(range, out))
    }

    /// Fills `out`, which has [`encoded_len`](cardume_content::slice::encoded_len) bytes, with the slice of `range`, as
    /// [`slice`](Self::slice) would; its memory need not be fresh.
    ///
    /// # Errors
    /// As [`slice`](Self::slice); what is in `out` is then of no use.
    pub fn fill_slice(&self, hash: Hash, range: Range<u64>, out: &mut [u8]) -> Result<(), ReadError> {
        self.inner.note_use(hash);
        self.inner
            .with_source(hash, range, |source, range| source.fill(range, out))
    }

    /// Reads verified bytes of `range`, clamped to the size; at most 4 MiB at a time.
    ///
    /// # Errors
    /// As [`slice`](Self::slice).
    pub fn read(&self, hash: Hash, range: Range<u64>) -> Result<Bytes, ReadError> {
        self.inner.note_use(hash);
        self.inner.with_source(hash, range, |source, range| {
            let end = range.end.min(source.size).min(range.start.saturating_add(READ));
            source.read(range.start.min(end)..end)
        })
    }

    /// Reads a directory.
    pub fn manifest(&self, cid: Cid) -> Result<Manifest, ReadError> {
        self.inner.manifest(cid)
    }

    /// Makes a verified copy of a complete blob at `path`, which must not exist; blocks are shared where the file
    /// system can. Nobody is told of the copy, and it is not synced.
    ///
    /// # Errors
    /// On any error nothing is left at `path`.
    pub fn copy_to(&self, hash: Hash, path: &Path) -> Result<u64, WriteError> {
        let to = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| WriteError::io(path, error))?;
        self.inner.note_use(hash);
        self.inner.copy(hash, &to, path).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = disk::remove(path);
        })
    }

    /// Takes the list of files shared in place that were found changed since the last call; at most 1,024.
    ///
    /// They are off the air already. Roots are left as they are: it is for the caller to hash them anew.
    pub fn take_changed(&self) -> Vec<Changed> {
        std::mem::take(&mut lock(&self.inner.changed))
    }
}

impl Store {
    /// Has `told` called whenever a file shared in place is found changed, on the thread that found it: it must not
    /// block. The first caller is told for as long as the store lives.
    pub fn on_changed(&self, told: impl Fn(&Changed) + Send + Sync + 'static) {
        // A second one would be told nothing; there is one who keeps shares.
        let _ = self.inner.on_changed.set(Box::new(told));
    }
}

impl Inner {
    /// A complete blob's record, and where it lies if in place and not recorded yet.
    pub(crate) fn located(&self, hash: Hash) -> Result<Option<(Record, Option<Print>)>, ReadError> {
        if let Some(pending) = lock(&self.pending).find(hash) {
            return Ok(Some((pending.record.clone(), pending.print())));
        }
        Ok(self.tables.record(hash)?.map(|record| (record, None)))
    }

    pub(crate) fn manifest(&self, cid: Cid) -> Result<Manifest, ReadError> {
        if cid.kind() != Kind::Directory {
            return Err(ReadError::NotDirectory);
        }
        let limits = Limits::default();
        let (record, _) = self.located(cid.hash())?.ok_or(ReadError::NotFound)?;
        if record.size > limits.manifest_bytes {
            return Err(ReadError::Manifest(ManifestError::Limit {
                what: "the manifest's size",
                value: record.size,
                limit: limits.manifest_bytes,
            }));
        }
        let mut bytes = Vec::new();
        for start in (0..record.size.max(1)).step_by(READ as usize) {
            let end = record.size.min(start + READ);
            bytes.extend(self.with_source(cid.hash(), start..end, |source, range| source.read(range))?);
        }
        Ok(Manifest::decode(&bytes, &limits)?)
    }

    /// Does `work` with a blob that has `range`, and with the next place it lies at if its bytes do not verify.
    pub(crate) fn with_source<T>(
        &self,
        hash: Hash,
        range: Range<u64>,
        mut work: impl FnMut(&Source, Range<u64>) -> Result<T, EncodeError>,
    ) -> Result<T, ReadError> {
        let mut spoiled = None;
        loop {
            let source = match self.source(hash) {
                Ok(Some(source)) => source,
                Ok(None) => return spoiled.map_or_else(|| self.with_partial(hash, range, work), Err),
                Err(error @ ReadError::Changed { .. }) => {
                    spoiled = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match work(&source, range.clone()) {
                Ok(done) => return Ok(done),
                Err(EncodeError::Io(error)) => {
                    return Err(ReadError::io(
                        source.path().unwrap_or_else(|| self.disk.root()),
                        error,
                    ));
                }
                Err(EncodeError::Changed { offset }) => {
                    tracing::warn!(%hash, offset, path = ?source.path(), "content does not verify");
                    spoiled = Some(self.spoil(&source)?);
                }
            }
        }
    }

    fn with_partial<T>(
        &self,
        hash: Hash,
        range: Range<u64>,
        mut work: impl FnMut(&Source, Range<u64>) -> Result<T, EncodeError>,
    ) -> Result<T, ReadError> {
        let partial = self.partial(hash).ok_or(ReadError::NotFound)?;
        let Some(source) = partial.source(&range) else {
            return Err(ReadError::NotHeld(range));
        };
        work(&source, range.clone()).map_err(|error| match error {
            EncodeError::Io(error) => ReadError::io(source.path().unwrap_or_else(|| self.disk.root()), error),
            EncodeError::Changed { .. } => {
                partial.forget(&range);
                ReadError::NotHeld(range)
            }
        })
    }

    /// A complete blob, open, and looking as it should. `Changed`: one place of it was not; there may be others.
    pub(crate) fn source(&self, hash: Hash) -> Result<Option<Arc<Source>>, ReadError> {
        let cached = lock(&self.open).find(hash);
        if let Some(source) = cached {
            return if source.changed() {
                Err(self.spoil(&source)?)
            } else {
                Ok(Some(source))
            };
        }
        let Some((record, print)) = self.located(hash)? else {
            return Ok(None);
        };
        let Some(data) = self.open_body(hash, &record.body, print)? else {
            return Ok(None);
        };
        let tree = match &record.tree {
            Tree::Inline(bytes) => TreeData::Memory(bytes.clone()),
            Tree::File => TreeData::File(Arc::new(self.open_own(hash, &self.disk.tree(hash))?)),
        };
        let in_memory = matches!(data, Data::Memory(_));
        let source = Arc::new(Source {
            hash,
            size: record.size,
            data,
            tree,
        });
        if !in_memory {
            lock(&self.open).keep(source.clone());
        }
        Ok(Some(source))
    }

    /// Opens the bytes of a blob; none if nobody has them any more.
    fn open_body(&self, hash: Hash, body: &Body, print: Option<Print>) -> Result<Option<Data>, ReadError> {
        Ok(Some(match body {
            Body::Inline(bytes) => Data::Memory(bytes.clone()),
            Body::Own => {
                let path = self.disk.data(hash);
                Data::File {
                    file: Arc::new(self.open_own(hash, &path)?),
                    path,
                    print: None,
                }
            }
            Body::Places(places) => {
                let Some(path) = places.first() else {
                    return Ok(None);
                };
                match self.open_place(hash, path, print)? {
                    Some(data) => data,
                    None => return Err(self.lose(hash, path)?),
                }
            }
        }))
    }

    /// Opens a file of the store's own; a blob that has lost one is forgotten.
    fn open_own(&self, hash: Hash, path: &Path) -> Result<File, ReadError> {
        match File::open(path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(hash)?;
                Err(ReadError::Damaged {
                    path: path.to_owned(),
                })
            }
            Err(error) => Err(ReadError::io(path, error)),
        }
    }

    /// Opens a file shared in place, if it looks as it did.
    fn open_place(&self, hash: Hash, path: &Path, print: Option<Print>) -> Result<Option<Data>, ReadError> {
        let print = match print {
            Some(print) => print,
            None => match self.tables.place(path)? {
                Some(place) if place.hash == hash => place.print,
                _ => return Ok(None),
            },
        };
        let file = match disk::open_plain(path) {
            Ok(file) => file,
            Err(error) if is_passing(&error) => return Err(ReadError::io(path, error)),
            Err(_) => return Ok(None),
        };
        let metadata = file.metadata().map_err(|error| ReadError::io(path, error))?;
        if Print::of(&metadata) != print {
            return Ok(None);
        }
        Ok(Some(Data::File {
            file: Arc::new(file),
            path: path.to_owned(),
            print: Some(print),
        }))
    }

    /// Takes what does not verify off the air; returns what to tell the caller.
    pub(crate) fn spoil(&self, source: &Source) -> Result<ReadError, ReadError> {
        match &source.data {
            Data::File {
                path, print: Some(_), ..
            } => self.lose(source.hash, path),
            Data::File {
                path, print: None, ..
            } => {
                self.forget(source.hash)?;
                Ok(ReadError::Damaged { path: path.clone() })
            }
            Data::Memory(_) => {
                self.forget(source.hash)?;
                Ok(ReadError::Damaged {
                    path: self.disk.root().to_owned(),
                })
            }
        }
    }

    /// Takes one place of a blob off the air.
    fn lose(&self, hash: Hash, path: &Path) -> Result<ReadError, ReadError> {
        lock(&self.open).close(hash);
        lock(&self.pending).drop_place(hash, path);
        // Its tree, if it was the last place, goes with the next collection.
        self.tables.remove_place(hash, path)?;
        self.litter();
        tracing::warn!(%hash, ?path, "a file shared in place has changed; it is shared no more");
        let path = path.to_owned();
        self.report(Changed {
            hash,
            path: path.clone(),
        });
        Ok(ReadError::Changed { path })
    }

    /// Remembers a change for whoever asks.
    pub(crate) fn report(&self, change: Changed) {
        if let Some(told) = self.on_changed.get() {
            told(&change);
        }
        let mut changed = lock(&self.changed);
        if changed.len() == CHANGED {
            changed.remove(0);
        }
        changed.push(change);
    }

    /// Takes a blob of our own off the air. Its file stays until the next collection, for whoever wants to look.
    fn forget(&self, hash: Hash) -> Result<(), ReadError> {
        lock(&self.open).close(hash);
        lock(&self.pending).remove(hash);
        self.tables.remove(&[hash])?;
        self.litter();
        tracing::warn!(%hash, "a blob of the store is damaged; it is served no more");
        Ok(())
    }

    fn copy(&self, hash: Hash, to: &File, path: &Path) -> Result<u64, WriteError> {
        let failed = |error| WriteError::io(path, error);
        loop {
            let Some(source) = self.source(hash)? else {
                return Err(ReadError::NotFound.into());
            };
            if let Data::File { file, .. } = &source.data
                && disk::clone_blocks(file, to)
            {
                let read = |offset, buffer: &mut [u8]| to.read_exact_at(buffer, offset);
                let found = self.hash(source.size, read);
                if found.is_ok_and(|found| found == hash)
                    && to.metadata().map_err(failed)?.len() == source.size
                {
                    return Ok(source.size);
                }
                self.spoil(&source)?;
                continue;
            }
            let size = source.size;
            drop(source);
            disk::allocate(to, size).map_err(failed)?;
            for start in (0..size).step_by(READ as usize) {
                let range = start..size.min(start + READ);
                let bytes = self.with_source(hash, range, |source, range| source.read(range))?;
                for (part, at) in bytes.chunks(WRITE).zip((start..).step_by(WRITE)) {
                    to.write_all_at(part, at).map_err(failed)?;
                }
            }
            return Ok(size);
        }
    }

    /// Hashes on all cores.
    pub(crate) fn hash(
        &self,
        size: u64,
        read: impl Fn(u64, &mut [u8]) -> io::Result<()> + Sync + Send,
    ) -> io::Result<Hash> {
        self.pool
            .install(|| tree::hash(size, read, |_, _| Ok(()), |_| true))
    }
}

/// Whether the file may be all right, and only this try went wrong.
fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    use rustix::io::Errno;
    matches!(
        code,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::INTR | Errno::AGAIN)
    )
}
