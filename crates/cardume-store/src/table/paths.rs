//! Where files of others lie: by path, and by inode.
use std::{os::unix::ffi::OsStrExt, path::Path};

use cardume_content::Hash;
use redb::{ReadableTable, Table, WriteTransaction};

use super::{INODES, PATHS, count, record_in};
use crate::{
    Usage,
    error::Fault,
    record::{Body, Place},
};

/// Both tables, kept in step.
pub(super) struct Paths<'a> {
    paths: Table<'a, &'static [u8], &'static [u8]>,
    inodes: Table<'a, u64, &'static [u8]>,
}

impl<'a> Paths<'a> {
    pub(super) fn open(write: &'a WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            paths: write.open_table(PATHS)?,
            inodes: write.open_table(INODES)?,
        })
    }

    pub(super) fn get(&self, path: &Path) -> Result<Option<Place>, Fault> {
        let row = self.paths.get(path.as_os_str().as_bytes())?;
        row.map(|row| Place::decode(row.value())).transpose()
    }

    pub(super) fn put(&mut self, path: &Path, place: &Place, usage: &mut Usage) -> Result<(), Fault> {
        let key = path.as_os_str().as_bytes();
        let row = place.encode();
        let old = self
            .paths
            .insert(key, row.as_slice())?
            .map(|old| Place::decode(old.value()))
            .transpose()?;
        match old {
            None => usage.metadata = usage.metadata.saturating_add(len(key, &row)),
            Some(old) if old.print.inode == place.print.inode => {}
            Some(old) => self.forget_inode(old.print.inode, key)?,
        }
        self.inodes.insert(place.print.inode, key)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, hash: Hash, usage: &mut Usage) -> Result<(), Fault> {
        let key = path.as_os_str().as_bytes();
        let Some(row) = self.paths.get(key)?.map(|row| row.value().to_vec()) else {
            return Ok(());
        };
        let place = Place::decode(&row)?;
        // The path may be another blob's by now.
        if place.hash == hash {
            self.paths.remove(key)?;
            self.forget_inode(place.print.inode, key)?;
            usage.metadata = usage.metadata.saturating_sub(len(key, &row));
        }
        Ok(())
    }

    fn forget_inode(&mut self, inode: u64, key: &[u8]) -> Result<(), Fault> {
        // It may have another path by now.
        if self.inodes.get(inode)?.is_some_and(|row| row.value() == key) {
            self.inodes.remove(inode)?;
        }
        Ok(())
    }
}

/// What a path takes in both tables.
fn len(key: &[u8], row: &[u8]) -> u64 {
    (key.len() + row.len()) as u64
}

/// Forgets that a blob lies at `path`, and the blob if that was the last place.
pub(super) fn forget_place(
    blobs: &mut Table<'_, &[u8; 32], &[u8]>,
    paths: &mut Paths<'_>,
    hash: Hash,
    path: &Path,
    usage: &mut Usage,
) -> Result<(), Fault> {
    paths.remove(path, hash, usage)?;
    let Some(mut record) = record_in(blobs, hash)? else {
        return Ok(());
    };
    let old = record.clone();
    let Body::Places(places) = &mut record.body else {
        return Ok(());
    };
    places.retain(|place| place != path);
    let is_last = places.is_empty();
    count(usage, &old, false);
    if is_last {
        blobs.remove(hash.as_bytes())?;
        return Ok(());
    }
    count(usage, &record, true);
    blobs.insert(hash.as_bytes(), record.encode().as_slice())?;
    Ok(())
}
