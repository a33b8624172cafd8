//! One file into the store.
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::atomic::Ordering,
    time::SystemTime,
};

use bytes::Bytes;
use cardume_content::{Kind, PIECE, tree};
use tempfile::NamedTempFile;

use super::{Import, Leaf};
use crate::{
    ImportError, Mode, Reservation, WriteError, disk,
    hashed::Hashed,
    record::{Body, INLINE, Place, Print, Record},
    table::Entry,
    write::Own,
};

/// What the bytes of a file have become.
struct Taken {
    hashed: Hashed,
    /// None: they stay where they are.
    body: Option<Body>,
    reservation: Option<Reservation>,
}

impl Import<'_> {
    /// Hashes a file, twice if it changes meanwhile.
    pub(super) fn file(&self, path: &Path, open: impl Fn() -> io::Result<File>) -> Result<Leaf, ImportError> {
        let failed = |error| ImportError::io(path, error);
        for _ in 0..2 {
            let started = SystemTime::now();
            let file = open().map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if !metadata.is_file() {
                return Err(failed(io::ErrorKind::NotFound.into()));
            }
            let print = Print::of(&metadata);
            self.hashed.fetch_add(print.size, Ordering::Relaxed);
            let taken = match self.take_bytes(&file, path, print.size) {
                Err(ImportError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                    continue;
                }
                taken => taken?,
            };
            if Print::of(&file.metadata().map_err(failed)?) != print {
                continue;
            }
            let hash = taken.hashed.hash;
            let record = Record {
                kind: Kind::Blob,
                size: print.size,
                tree: taken.hashed.plant(self.store)?,
                body: taken.body.unwrap_or_else(|| Body::Places(vec![path.to_owned()])),
            };
            let place = Some((path.to_owned(), Place::new(hash, print, started)));
            let entry = Entry {
                hash,
                record,
                place,
                guarded: self.guards(hash)?,
            };
            self.keep(entry, taken.reservation)?;
            self.advance(0, 1)?;
            return Ok(Leaf {
                hash,
                size: print.size,
                executable: metadata.mode() & 0o100 != 0,
            });
        }
        Err(ImportError::Changed {
            path: path.to_owned(),
        })
    }

    fn take_bytes(&self, file: &File, path: &Path, size: u64) -> Result<Taken, ImportError> {
        let failed = |error: io::Error| ImportError::io(path, error);
        if size <= PIECE {
            let bytes = disk::read_all(file, size).map_err(failed)?;
            let hashed = Hashed::of_bytes(self.store, &bytes);
            self.advance(size, 0)?;
            return match self.mode {
                Mode::InPlace => Ok(Taken {
                    hashed,
                    body: None,
                    reservation: None,
                }),
                Mode::Copy => self.copy_small(hashed, bytes),
            };
        }
        match self.mode {
            Mode::InPlace => {
                let hashed = self.hash(path, size, |offset, buffer| file.read_exact_at(buffer, offset))?;
                Ok(Taken {
                    hashed,
                    body: None,
                    reservation: None,
                })
            }
            Mode::Copy => self.copy_large(file, path, size),
        }
    }

    /// Hashes a large file on all cores.
    fn hash(
        &self,
        path: &Path,
        size: u64,
        read: impl Fn(u64, &mut [u8]) -> io::Result<()> + Sync + Send,
    ) -> Result<Hashed, ImportError> {
        let progress = |bytes| self.progress.advance(bytes, 0);
        Hashed::of_file(self.store, size, read, progress).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => ImportError::Cancelled,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::io(path, error).into(),
            _ => ImportError::io(path, error),
        })
    }

    fn copy_small(&self, hashed: Hashed, bytes: Vec<u8>) -> Result<Taken, ImportError> {
        let size = bytes.len() as u64;
        let reservation = Some(self.store.reserve(size, false)?);
        if size <= INLINE {
            let body = Some(Body::Inline(Bytes::from(bytes)));
            return Ok(Taken {
                hashed,
                body,
                reservation,
            });
        }
        let body = Some(self.store.place_own(hashed.hash, &bytes)?);
        Ok(Taken {
            hashed,
            body,
            reservation,
        })
    }

    /// Copies, or shares blocks, and hashes what the store then has.
    fn copy_large(&self, file: &File, path: &Path, size: u64) -> Result<Taken, ImportError> {
        let reservation = Some(self.store.reserve(size.saturating_add(tree::len(size)), false)?);
        let root = self.store.disk.root();
        let failed = |error| WriteError::io(root, error);
        let copy = self.store.disk.temporary().map_err(failed)?;
        let hashed = if disk::clone_blocks(file, copy.as_file()) {
            self.hash(path, size, |offset, buffer| {
                copy.as_file().read_exact_at(buffer, offset)
            })?
        } else {
            self.copy_hashing(file, &copy, path, size)?
        };
        self.store.name(&copy.into_temp_path(), Own::Data(hashed.hash))?;
        Ok(Taken {
            hashed,
            body: Some(Body::Own),
            reservation,
        })
    }

    fn copy_hashing(
        &self,
        file: &File,
        copy: &NamedTempFile,
        path: &Path,
        size: u64,
    ) -> Result<Hashed, ImportError> {
        disk::allocate(copy.as_file(), size)
            .map_err(|error| WriteError::io(self.store.disk.root(), error))?;
        self.hash(path, size, |offset, buffer| {
            file.read_exact_at(buffer, offset)?;
            copy.as_file().write_all_at(buffer, offset)
        })
    }
}
