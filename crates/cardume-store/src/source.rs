//! Blobs open for reading, a bounded number of them.
use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use cardume_content::{
    Hash,
    slice::{self, EncodeError},
    tree,
};

use crate::{disk, record::Print};

/// Blobs kept open. Each takes up to two file descriptors; a service often has 1,024.
const OPEN: usize = 64;

/// Bytes of a tree that are read at once: the parents of a piece.
const AHEAD: u64 = 1024;

/// A blob whose bytes and tree can be read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) hash: Hash,
    pub(crate) size: u64,
    pub(crate) data: Data,
    pub(crate) tree: TreeData,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Memory(Bytes),
    File {
        file: Arc<File>,
        path: PathBuf,
        /// What the file must look like; none: it is ours.
        print: Option<Print>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum TreeData {
    Memory(Bytes),
    File(Arc<File>),
}

impl Source {
    pub(crate) fn read_data(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.data {
            Data::Memory(bytes) => disk::read_memory(bytes, offset, buffer),
            Data::File { file, .. } => file.read_exact_at(buffer, offset),
        }
    }

    /// Reads parents on the way through a slice, with those that stand behind them.
    ///
    /// Parents are in pre-order, so the next is often the one that is wanted next: a piece has fifteen in a row.
    pub(crate) fn tree_reader(&self) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> {
        let end = tree::len(self.size);
        let mut held = Vec::new();
        let mut from = 0;
        move |offset, buffer| match &self.tree {
            TreeData::Memory(bytes) => disk::read_memory(bytes, offset, buffer),
            TreeData::File(file) => {
                let known = usize::try_from(offset.wrapping_sub(from)).unwrap_or(usize::MAX);
                if let Some(there) = held.get(known..known.saturating_add(buffer.len())) {
                    buffer.copy_from_slice(there);
                    return Ok(());
                }
                held.resize(
                    bytes_of(end.saturating_sub(offset).min(AHEAD)).max(buffer.len()),
                    0,
                );
                from = offset;
                if let Err(error) = file.read_exact_at(&mut held, offset) {
                    held.clear();
                    return Err(error);
                }
                buffer.copy_from_slice(held.get(..buffer.len()).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Appends the slice of `range`, or leaves `out` as it was.
    ///
    /// # Errors
    /// `Changed` when bytes do not verify or are not there any more.
    pub(crate) fn encode(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let data = |offset, buffer: &mut [u8]| self.read_data(offset, buffer);
        let result = slice::encode(self.hash, self.size, range.clone(), data, self.tree_reader(), out);
        result.map_err(|error| shortened(error, range.start))
    }

    /// Fills `out`, which is as long, with the slice of `range`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn fill(&self, range: Range<u64>, out: &mut [u8]) -> Result<(), EncodeError> {
        let data = |offset, buffer: &mut [u8]| self.read_data(offset, buffer);
        let result = slice::fill(self.hash, self.size, range.clone(), data, self.tree_reader(), out);
        result.map_err(|error| shortened(error, range.start))
    }

    /// Verified bytes of `range`, which must end within the blob.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Bytes, EncodeError> {
        let wide = slice::widen(self.size, range.clone());
        let len = |range: &Range<u64>| usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut bytes = vec![0; len(&wide)];
        let data = |offset, buffer: &mut [u8]| self.read_data(offset, buffer);
        slice::read(
            self.hash,
            self.size,
            range.clone(),
            data,
            self.tree_reader(),
            &mut bytes,
        )
        .map_err(|error| shortened(error, range.start))?;
        let start = usize::try_from(range.start.saturating_sub(wide.start)).unwrap_or(0);
        let bytes = Bytes::from(bytes);
        Ok(bytes.slice(start..(start + len(&range)).min(bytes.len())))
    }

    /// The file, if it is one of others and does not look as it did.
    pub(crate) fn changed(&self) -> bool {
        match &self.data {
            Data::File {
                path,
                print: Some(print),
                ..
            } => !looks_like(path, print),
            _ => false,
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.data {
            Data::File { path, .. } => Some(path),
            Data::Memory(_) => None,
        }
    }
}

fn bytes_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(0)
}

/// A file that has become shorter has changed.
fn shortened(error: EncodeError, offset: u64) -> EncodeError {
    match error {
        EncodeError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            EncodeError::Changed { offset }
        }
        error => error,
    }
}

pub(crate) fn looks_like(path: &Path, print: &Print) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file() && Print::of(&metadata) == *print)
}

/// The blobs open, of which the one unused for longest is closed for the next.
#[derive(Debug, Default)]
pub(crate) struct Open {
    sources: HashMap<Hash, (u64, Arc<Source>)>,
    clock: u64,
}

impl Open {
    pub(crate) fn find(&mut self, hash: Hash) -> Option<Arc<Source>> {
        self.clock += 1;
        let (used, source) = self.sources.get_mut(&hash)?;
        *used = self.clock;
        Some(source.clone())
    }

    pub(crate) fn keep(&mut self, source: Arc<Source>) {
        if self.sources.len() >= OPEN {
            let oldest = self
                .sources
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(hash, _)| *hash);
            oldest.map(|hash| self.sources.remove(&hash));
        }
        self.clock += 1;
        self.sources.insert(source.hash, (self.clock, source));
    }

    pub(crate) fn close(&mut self, hash: Hash) {
        self.sources.remove(&hash);
    }
}
