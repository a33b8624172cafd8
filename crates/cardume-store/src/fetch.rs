//! One blob coming in, piece by piece, each verified before it is written.
use std::{
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use bytes::Bytes;
use cardume_content::{
    Hash, Kind, PIECE, PieceSet,
    pieces::{piece_count, piece_range},
    slice::{self, Part},
    tree,
};

use crate::{
    Inner, Presence, Reservation, Store, Target, WriteError, disk,
    hashed::Hashed,
    lock,
    record::{Body, INLINE, INLINE_TREE, Place, Print, Record, Tree},
    settle::Waiting,
    source::{Data, Source, TreeData},
};

mod finish;
mod resume;
mod unproven;

/// One blob being fetched. Cheap to clone; writes at different places may run at once.
///
/// When the last clone is dropped, what has come stays on the disk for the next try, but is not served until then.
#[derive(Clone)]
pub struct Fetch {
    partial: Arc<Partial>,
}

/// A blob of which some pieces are there.
pub(crate) struct Partial {
    store: Arc<Inner>,
    hash: Hash,
    size: u64,
    target: Target,
    data: PartialData,
    tree: PartialTree,
    state: Mutex<State>,
    /// Held by whoever writes to the file: the kernel lets one write at a time, and the others wait busily for it.
    writing: Mutex<()>,
    reservation: Mutex<Option<Reservation>>,
    anchor: Option<Arc<File>>,
    /// Shared by writers of what is verified, exclusive for what nobody has proven: that never lands on what is.
    landing: RwLock<()>,
}

#[derive(Debug)]
struct State {
    pieces: PieceSet,
    stage: Stage,
    /// Pieces that are there, and that only a look at the whole blob can prove; never served.
    unproven: PieceSet,
    /// Whether the size is a claim as well.
    is_claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Finished,
    Abandoned,
}

/// Where the bytes go.
enum PartialData {
    /// Small blobs of the store's own: they end in the database.
    Memory(Mutex<Vec<u8>>),
    File {
        file: Arc<File>,
        path: PathBuf,
    },
}

/// Where the tree goes.
enum PartialTree {
    /// Blobs of one piece, which come all at once or not at all.
    Memory(Mutex<Vec<u8>>),
    /// In `partial/`, so that what has come can prove itself after a restart.
    File { file: Arc<File>, path: PathBuf },
}

impl Store {
    /// Begins or resumes the fetch of one blob whose size has been proven, into `target`.
    ///
    /// What lies there from an earlier try is verified first and counts as held. Where the blob is being fetched
    /// already, that fetch is returned, whatever its target: see [`Fetch::target`]. A blob that is complete is fetched
    /// again; [`copy_to`](Store::copy_to) is cheaper.
    ///
    /// # Errors
    /// `Quota` and `NoSpace` come before any byte is asked for: the space is taken at once.
    pub fn fetch(&self, hash: Hash, size: u64, target: Target) -> Result<Fetch, WriteError> {
        if let Some(partial) = self.inner.partial(hash) {
            if !partial.is_disproven_by(size) {
                return Ok(Fetch { partial });
            }
            partial.give_way();
        }
        let is_guarded = self.guard_new(hash)?;
        let partial = Arc::new(Partial::open(&self.inner, hash, size, target)?);
        let mut fetches = lock(&self.inner.fetches);
        let first = fetches.get(&hash).and_then(Weak::upgrade);
        let joined = first.as_ref().filter(|first| first.is_running()).cloned();
        if joined.is_none() {
            fetches.insert(hash, Arc::downgrade(&partial));
        }
        // Before `first` and `partial` go: the last of each takes this lock.
        drop(fetches);
        if is_guarded && joined.is_none() {
            // A collection may have taken what was guarded, and not known to be coming, for gone.
            self.inner.guard.keep(hash, self.expected);
        }
        Ok(Fetch {
            partial: joined.unwrap_or(partial),
        })
    }
}

impl Inner {
    pub(crate) fn partial(&self, hash: Hash) -> Option<Arc<Partial>> {
        let partial = lock(&self.fetches).get(&hash)?.upgrade()?;
        partial.is_running().then_some(partial)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let mut fetches = lock(&self.store.fetches);
        if fetches
            .get(&self.hash)
            .is_some_and(|partial| partial.strong_count() == 0)
        {
            fetches.remove(&self.hash);
        }
    }
}

impl Fetch {
    /// The blob's hash.
    pub fn hash(&self) -> Hash {
        self.partial.hash
    }

    /// The blob's size.
    pub fn size(&self) -> u64 {
        self.partial.size
    }

    /// Where the blob goes: what whoever began the fetch said.
    pub fn target(&self) -> &Target {
        &self.partial.target
    }

    /// Pieces verified so far; they are served to others from now on.
    pub fn pieces(&self) -> PieceSet {
        lock(&self.partial.state).pieces.clone()
    }

    /// Number of pieces that are not held yet; the blob is complete when there is none.
    pub fn missing(&self) -> u64 {
        let state = lock(&self.partial.state);
        state.pieces.len() - state.pieces.count()
    }

    /// Verifies the slice of `range` and writes what it proves; returns bytes of the pieces that are new by it.
    ///
    /// Pieces that the range covers whole are held from then on. Of pieces held already nothing is written, and
    /// of two writers of one piece only one is told its bytes.
    ///
    /// # Errors
    /// `Slice`: some of it does not verify, and nothing was written.
    pub fn write(&self, range: Range<u64>, slice: Bytes) -> Result<u64, WriteError> {
        self.partial.write(range, slice)
    }

    /// Marks a complete blob as verified; durable after the next [`Store::settle`]. For `Target::File`, `path` must
    /// exist.
    ///
    /// # Errors
    /// `Incomplete` while pieces are missing, or when the file at `path` is another.
    pub fn finish(self) -> Result<(), WriteError> {
        self.partial.finish()?;
        self.partial.store.settle_if_full()
    }

    /// Throws the partial data away.
    pub fn abandon(self) -> Result<(), WriteError> {
        self.partial.abandon()
    }
}

impl Partial {
    fn is_running(&self) -> bool {
        lock(&self.state).stage == Stage::Running
    }

    /// What others may be told: nothing, as long as nothing is proven.
    pub(crate) fn presence(&self) -> Presence {
        let state = lock(&self.state);
        if state.is_claimed && state.pieces.count() == 0 {
            return Presence::Absent;
        }
        Presence::Partial {
            size: self.size,
            pieces: state.pieces.clone(),
        }
    }

    /// The blob as far as it is there, if all of `range` is.
    pub(crate) fn source(&self, range: &Range<u64>) -> Option<Source> {
        let held = {
            let state = lock(&self.state);
            self.touched(range).all(|piece| state.pieces.contains(piece))
        };
        if !held {
            return None;
        }
        let data = match &self.data {
            PartialData::Memory(bytes) => Data::Memory(Bytes::copy_from_slice(&lock(bytes))),
            PartialData::File { file, path } => Data::File {
                file: file.clone(),
                path: path.clone(),
                print: None,
            },
        };
        let tree = match &self.tree {
            PartialTree::Memory(bytes) => TreeData::Memory(Bytes::copy_from_slice(&lock(bytes))),
            PartialTree::File { file, .. } => TreeData::File(file.clone()),
        };
        Some(Source {
            hash: self.hash,
            size: self.size,
            data,
            tree,
        })
    }

    /// Takes back that the pieces in `range` are held: somebody else has written to our file.
    pub(crate) fn forget(&self, range: &Range<u64>) {
        tracing::warn!(hash = %self.hash, ?range, "partial data is damaged and is fetched again");
        let mut state = lock(&self.state);
        for piece in self.touched(range) {
            state.pieces.remove(piece);
        }
    }

    /// Pieces that have bytes in `range`.
    fn touched(&self, range: &Range<u64>) -> Range<u64> {
        let count = piece_count(self.size);
        let start = (range.start / PIECE).min(count.saturating_sub(1));
        let end = range.end.min(self.size).div_ceil(PIECE).max(start + 1);
        start..end.min(count)
    }

    fn write(&self, range: Range<u64>, slice: Bytes) -> Result<u64, WriteError> {
        let (mut parents, mut leaves) = (Vec::new(), Vec::new());
        for part in slice::decode(self.hash, self.size, range.clone(), slice) {
            match part? {
                Part::Parent { offset, pair } => parents.push((offset, pair)),
                Part::Leaf { offset, data } => leaves.push((offset, data)),
            }
        }
        let wide = slice::widen(self.size, range);
        {
            let state = lock(&self.state);
            if state.stage != Stage::Running || self.touched(&wide).all(|piece| state.pieces.contains(piece))
            {
                return Ok(0);
            }
        }
        let _landing = self.landing.read().unwrap_or_else(PoisonError::into_inner);
        self.write_tree(parents)?;
        self.write_data(&leaves)?;
        let mut new = 0;
        let mut state = lock(&self.state);
        for piece in self.touched(&wide) {
            let whole = piece_range(self.size, piece);
            if wide.start <= whole.start && whole.end <= wide.end && state.pieces.insert(piece) {
                new += whole.end - whole.start;
            }
        }
        Ok(new)
    }

    /// Writes parents, those that lie together at once.
    fn write_tree(&self, mut parents: Vec<(u64, [u8; 64])>) -> Result<(), WriteError> {
        parents.sort_unstable_by_key(|(offset, _)| *offset);
        let mut run = Vec::new();
        let mut start = 0;
        for (offset, pair) in parents {
            if start + run.len() as u64 != offset {
                self.write_run(start, &run)?;
                run.clear();
                start = offset;
            }
            run.extend_from_slice(&pair);
        }
        self.write_run(start, &run)
    }

    fn write_run(&self, offset: u64, run: &[u8]) -> Result<(), WriteError> {
        match &self.tree {
            PartialTree::Memory(bytes) => write_memory(&mut lock(bytes), offset, run),
            PartialTree::File { file, path } => {
                file.write_all_at(run, offset)
                    .map_err(|error| WriteError::io(path, error))?;
            }
        }
        Ok(())
    }

    fn write_data(&self, leaves: &[(u64, Bytes)]) -> Result<(), WriteError> {
        match &self.data {
            PartialData::Memory(bytes) => {
                let mut bytes = lock(bytes);
                for (offset, data) in leaves {
                    write_memory(&mut bytes, *offset, data);
                }
                Ok(())
            }
            PartialData::File { file, path } => {
                let _turn = lock(&self.writing);
                write_leaves(file, leaves).map_err(|error| WriteError::io(path, error))
            }
        }
    }
}

fn write_memory(bytes: &mut [u8], offset: u64, part: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(there) = bytes.get_mut(start..start.saturating_add(part.len())) {
        there.copy_from_slice(part);
    }
}

/// Leaves written with one call: 128 KiB.
///
/// The page cache takes what one call brings in as large a block as that is. For a whole piece it has to free one by
/// moving other pages out of the way, which on a host with files in all its memory costs four times the writing.
const AT_ONCE: usize = 2;

/// Writes leaves, which follow each other.
fn write_leaves(file: &File, leaves: &[(u64, Bytes)]) -> io::Result<()> {
    let Some(&(mut offset, _)) = leaves.first() else {
        return Ok(());
    };
    let mut slices: Vec<_> = leaves.iter().map(|(_, data)| IoSlice::new(data)).collect();
    let mut rest = slices.as_mut_slice();
    while rest.iter().any(|slice| !slice.is_empty()) {
        let now = rest.get(..rest.len().min(AT_ONCE)).unwrap_or(rest);
        let written = match rustix::io::pwritev(file, now, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}
