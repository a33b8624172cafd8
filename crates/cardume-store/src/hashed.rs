//! A blob's hash and tree, fresh from hashing.
use std::{io, os::unix::fs::FileExt};

use cardume_content::{Hash, tree};
use tempfile::NamedTempFile;

use crate::{
    Inner, WriteError,
    record::{INLINE_TREE, Tree},
    write::Own,
};

/// A hash, and the tree it took to find it.
pub(crate) struct Hashed {
    pub(crate) hash: Hash,
    pub(crate) tree: Grown,
}

pub(crate) enum Grown {
    Memory(Vec<u8>),
    /// Too large to have many of in memory: 1 GiB of content has 1 MiB of tree.
    File(NamedTempFile),
}

impl Hashed {
    pub(crate) fn of_bytes(inner: &Inner, bytes: &[u8]) -> Self {
        let (hash, tree) = inner.pool.install(|| tree::of(bytes));
        Self {
            hash,
            tree: Grown::Memory(tree),
        }
    }

    /// Hashes on all cores; `progress` gets the bytes done, and stops with `Interrupted`.
    pub(crate) fn of_file(
        inner: &Inner,
        size: u64,
        read: impl Fn(u64, &mut [u8]) -> io::Result<()> + Sync + Send,
        progress: impl Fn(u64) -> bool + Sync + Send,
    ) -> io::Result<Self> {
        let len = tree::len(size);
        let mut grown = if len <= INLINE_TREE {
            Grown::Memory(vec![0; usize::try_from(len).unwrap_or(0)])
        } else {
            Grown::File(inner.disk.temporary()?)
        };
        let hash = inner
            .pool
            .install(|| tree::hash(size, read, |offset, bytes| grown.write(offset, bytes), progress))?;
        Ok(Self { hash, tree: grown })
    }

    /// Puts the tree where the store keeps trees.
    pub(crate) fn plant(self, inner: &Inner) -> Result<Tree, WriteError> {
        match self.tree {
            Grown::Memory(bytes) => inner.place_tree(self.hash, bytes),
            Grown::File(file) => {
                inner.name(&file.into_temp_path(), Own::Tree(self.hash))?;
                Ok(Tree::File)
            }
        }
    }
}

impl Grown {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.as_file().write_all_at(bytes, offset),
            Self::Memory(tree) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(bytes.len());
                tree.get_mut(start..end)
                    .ok_or(io::ErrorKind::InvalidInput)?
                    .copy_from_slice(bytes);
                Ok(())
            }
        }
    }
}
