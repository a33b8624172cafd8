//! Content out of memory into the store, and files of ours to their names.
use std::{
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cardume_content::{Cid, Hash, tree};

use crate::{
    Inner, Store, WriteError, disk,
    hashed::Hashed,
    lock,
    record::{Body, INLINE, INLINE_TREE, Record, Tree},
    settle::Waiting,
};

/// A file of the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Data(Hash),
    Tree(Hash),
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
        self.inner.make_room_for(bytes.len() as u64)?;
        let gate = self.inner.enter();
        lock(&self.inner.held).touch(cid);
        self.guard_new(hash)?;
        if self.inner.located(hash)?.is_none() {
            let waiting = self.inner.place_bytes(cid, bytes, hashed)?;
            self.inner.admit(hash, waiting);
        }
        drop(gate);
        self.inner.settle_if_full()
    }
}

impl Inner {
    /// Puts bytes of a known hash where they belong.
    pub(crate) fn place_bytes(&self, cid: Cid, bytes: &[u8], hashed: Hashed) -> Result<Waiting, WriteError> {
        let size = bytes.len() as u64;
        let reservation = self.reserve(size.saturating_add(tree::len(size)), false)?;
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
        self.write_own(Own::Data(hash), bytes)?;
        Ok(Body::Own)
    }

    /// Puts a tree in memory where it belongs.
    pub(crate) fn place_tree(&self, hash: Hash, tree: Vec<u8>) -> Result<Tree, WriteError> {
        if tree.len() as u64 <= INLINE_TREE {
            return Ok(Tree::Inline(tree.into()));
        }
        self.write_own(Own::Tree(hash), &tree)?;
        Ok(Tree::File)
    }

    fn write_own(&self, own: Own, bytes: &[u8]) -> Result<(), WriteError> {
        let failed = |error| WriteError::io(self.disk.root(), error);
        let mut file = self.disk.temporary().map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        self.name(&file.into_temp_path(), own)
    }

    /// Gives a finished file of ours its name. One that has the name already stays, if it is on record or just came:
    /// it may be durable, and this one is not.
    pub(crate) fn name(&self, from: &Path, own: Own) -> Result<(), WriteError> {
        let path = match own {
            Own::Data(hash) => self.disk.data(hash),
            Own::Tree(hash) => self.disk.tree(hash),
        };
        let failed = |error| WriteError::io(&path, error);
        let mut named = lock(&self.named);
        if path.exists() && (named.contains(&path) || self.is_recorded(own)?) {
            return disk::remove(from).map_err(failed);
        }
        self.disk.name(from, &path).map_err(failed)?;
        named.insert(path);
        Ok(())
    }

    fn is_recorded(&self, own: Own) -> Result<bool, WriteError> {
        Ok(match own {
            Own::Data(hash) => self
                .tables
                .record(hash)?
                .is_some_and(|record| record.body == Body::Own),
            Own::Tree(hash) => self
                .tables
                .record(hash)?
                .is_some_and(|record| record.tree == Tree::File),
        })
    }

    /// Forgets that the files of a blob have just come: they are on record, or not to be trusted.
    pub(crate) fn unname(&self, hash: Hash, record: &Record) {
        let files = self.own_files(hash, record);
        if !files.is_empty() {
            let mut named = lock(&self.named);
            files.iter().for_each(|file| {
                named.remove(file);
            });
        }
    }

    /// Files of ours that a record stands on.
    pub(crate) fn own_files(&self, hash: Hash, record: &Record) -> Vec<PathBuf> {
        let data = (record.body == Body::Own).then(|| self.disk.data(hash));
        let tree = (record.tree == Tree::File).then(|| self.disk.tree(hash));
        data.into_iter().chain(tree).collect()
    }
}
