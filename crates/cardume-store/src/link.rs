//! A further name for a file that is shared in place, instead of a copy of it.
use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cardume_content::{Hash, Kind};

use crate::{
    Inner, ReadError, Store, WriteError, disk, lock,
    record::{Body, Place, Print, Record, Tree},
    settle::Waiting,
};

/// A blob that has got a further name, which is not on record yet.
#[derive(Debug)]
pub struct Linked {
    size: u64,
    tree: Tree,
    place: Place,
}

impl Store {
    /// Gives a blob that lies in a file below `within` the further name `path`, which must not exist: no byte of it is
    /// copied. It is read only if nothing else says that it is still what it was. None where that cannot be done, and a
    /// copy has to be made: no such file, on another file system, of somebody else, or with other permission to be run.
    ///
    /// Both names are one file from then on: it is for files that nobody writes to.
    ///
    /// # Errors
    /// What the disk says.
    pub fn link_to(
        &self,
        hash: Hash,
        within: &Path,
        path: &Path,
        executable: bool,
    ) -> Result<Option<Linked>, WriteError> {
        let Some((record, _)) = self.inner.located(hash)? else {
            return Ok(None);
        };
        let Body::Places(places) = &record.body else {
            return Ok(None);
        };
        for from in places.iter().filter(|place| place.starts_with(within)) {
            if let Some(place) = self.inner.link(hash, from, path, executable)? {
                self.inner.note_use(hash);
                let (size, tree) = (record.size, record.tree);
                return Ok(Some(Linked { size, tree, place }));
            }
        }
        Ok(None)
    }

    /// Shares a blob from its further name, which is `path` by now.
    ///
    /// # Errors
    /// `Incomplete` when something else is there.
    pub fn linked(&self, linked: Linked, path: &Path) -> Result<(), WriteError> {
        let Linked { size, tree, place } = linked;
        let found = path
            .symlink_metadata()
            .map_err(|error| WriteError::io(path, error))?;
        if !found.is_file() || Print::of(&found) != place.print {
            return Err(WriteError::Incomplete);
        }
        let inner = &self.inner;
        let gate = inner.enter();
        let (hash, body) = (place.hash, Body::Places(vec![path.to_owned()]));
        let record = Record {
            kind: Kind::Blob,
            size,
            tree,
            body,
        };
        let waiting = Waiting {
            record,
            place: Some((path.to_owned(), place)),
            anchor: None,
            _reservation: None,
        };
        inner.admit(hash, waiting);
        drop(gate);
        inner.settle_if_full()
    }

    /// Forgets that anything lies below `path`, which is about to be deleted; blobs that lie nowhere else go.
    ///
    /// # Errors
    /// What the disk says.
    pub fn forget_below(&self, path: &Path) -> Result<(), WriteError> {
        self.inner.settle()?;
        for hash in self.inner.tables.forget_below(path)? {
            lock(&self.inner.open).close(hash);
        }
        self.inner.litter();
        Ok(())
    }
}

impl Inner {
    /// Links one file, if it is still the blob and may be linked.
    fn link(
        &self,
        hash: Hash,
        from: &Path,
        to: &Path,
        executable: bool,
    ) -> Result<Option<Place>, WriteError> {
        let Some(known) = self.place_of(hash, from)? else {
            return Ok(None);
        };
        let started = SystemTime::now();
        let Ok(file) = disk::open_plain(from) else {
            return Ok(None);
        };
        let found = file.metadata().map_err(|error| WriteError::io(from, error))?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        if Print::of(&found) != known.print || !is_ours || (found.mode() & 0o100 != 0) != executable {
            return Ok(None);
        }
        let place = if known.rested {
            known
        } else {
            let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
            if !self.hash(known.print.size, read).is_ok_and(|read| read == hash) {
                return Ok(None);
            }
            Place::new(hash, known.print, started)
        };
        if fs::hard_link(from, to).is_err() {
            return Ok(None);
        }
        let linked = to.symlink_metadata().map_err(|error| WriteError::io(to, error))?;
        if Print::of(&linked) != place.print {
            // Somebody has put another file there meanwhile.
            disk::remove(to).map_err(|error| WriteError::io(to, error))?;
            return Ok(None);
        }
        Ok(Some(place))
    }

    /// What a blob's file was when it was taken in.
    fn place_of(&self, hash: Hash, path: &Path) -> Result<Option<Place>, ReadError> {
        let is_here = |place: &&(PathBuf, Place)| place.0 == path;
        if let Some(pending) = lock(&self.pending).find(hash)
            && let Some((_, place)) = pending.place.as_ref().filter(is_here)
        {
            return Ok(Some(place.clone()));
        }
        Ok(self.tables.place(path)?.filter(|place| place.hash == hash))
    }
}
