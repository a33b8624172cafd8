//! Files that are there already, taken in as content that was wanted: read, and recorded only where they are right.
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use cardume_content::{Cid, Hash, Kind, manifest::Node};

use crate::{
    Adopted, Progress, ReadError, Store, WriteError, disk,
    hashed::Hashed,
    record::{Body, Place, Print, Record},
    settle::Waiting,
};

impl Store {
    /// Takes in what lies at `path` if all of `cid` is there; other files beside it do not matter. What has not changed
    /// since it was last taken in is not read again. Nothing is recorded of files that are something else.
    ///
    /// # Errors
    /// What the disk says; `Cancelled` when `progress` said so.
    pub fn adopt(&self, cid: Cid, path: &Path, progress: &dyn Progress) -> Result<Adopted, WriteError> {
        let mut whole = (0_u64, 0_u64);
        let mut open = vec![(cid, path.to_owned(), PathBuf::new(), None)];
        while let Some((cid, at, below, size)) = open.pop() {
            if cid.kind() == Kind::Blob {
                match self.take_back(cid.hash(), size, &at, progress)? {
                    Some(size) => whole = (whole.0.saturating_add(size), whole.1 + 1),
                    None => return Ok(wrong(at)),
                }
                continue;
            }
            if !at.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                return Ok(wrong(at));
            }
            let manifest = match self.inner.manifest(cid) {
                Ok(manifest) => manifest,
                Err(error @ (ReadError::Io { .. } | ReadError::Database(_))) => return Err(error.into()),
                Err(_) => return Ok(Adopted::Unknown(below)),
            };
            for entry in manifest.entries() {
                let name = entry.name.as_str();
                match &entry.node {
                    Node::File { cid, size, .. } => {
                        open.push((*cid, at.join(name), below.join(name), Some(*size)));
                    }
                    Node::Directory { cid, .. } => open.push((*cid, at.join(name), below.join(name), None)),
                    Node::Symlink { target } => {
                        let link = at.join(name);
                        if fs::read_link(&link).ok().as_deref() != Some(Path::new(target)) {
                            return Ok(wrong(link));
                        }
                    }
                }
            }
        }
        Ok(Adopted::All {
            size: whole.0,
            files: whole.1,
        })
    }

    /// Takes a file in that has all of its content, whatever its times say; its size, if it has.
    pub(crate) fn take_back(
        &self,
        hash: Hash,
        size: Option<u64>,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Option<u64>, WriteError> {
        let inner = &self.inner;
        let failed = |error| WriteError::io(path, error);
        let started = SystemTime::now();
        let Ok(file) = disk::open_plain(path) else {
            return Ok(None);
        };
        let print = Print::of(&file.metadata().map_err(failed)?);
        if size.is_some_and(|size| size != print.size) {
            return Ok(None);
        }
        let known = inner.tables.place(path)?;
        let is_known = known.is_some_and(|place| place.hash == hash && place.print == print && place.rested);
        if is_known && inner.located(hash)?.is_some() {
            progress.advance(print.size, 1);
            return Ok(Some(print.size));
        }
        let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
        let advance = |bytes| progress.advance(bytes, 0);
        let hashed = match Hashed::of_file(inner, print.size, read, advance) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                return Err(ReadError::Cancelled.into());
            }
            // It became shorter while it was read.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            hashed => hashed.map_err(failed)?,
        };
        if hashed.hash != hash || Print::of(&file.metadata().map_err(failed)?) != print {
            return Ok(None);
        }
        let gate = inner.enter();
        self.guard_new(hash)?;
        let record = Record {
            kind: Kind::Blob,
            size: print.size,
            tree: hashed.plant(inner)?,
            body: Body::Places(vec![path.to_owned()]),
        };
        let place = Place::new(hash, print, started);
        let waiting = Waiting {
            record,
            place: Some((path.to_owned(), place)),
            anchor: None,
            _reservation: None,
        };
        inner.admit(hash, waiting);
        drop(gate);
        inner.settle_if_full()?;
        Ok(Some(print.size))
    }
}

/// What is to be told of a path that is not as it should be.
fn wrong(path: PathBuf) -> Adopted {
    if path.symlink_metadata().is_ok() {
        Adopted::Other(path)
    } else {
        Adopted::Missing(path)
    }
}
