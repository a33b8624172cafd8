//! Content on disk: shared in place, fetched piece by piece, verified always.
//!
//! Every method blocks on the disk: call it from a blocking thread.
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use cardume_content::{Cid, Hash, Manifest, PieceSet};

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of content and metadata the store may take; none: what the disk has.
    pub quota: Option<cardume_units::Size>,
    /// Share files where they are instead of copying them.
    pub in_place: bool,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            quota: None,
            in_place: true,
        }
    }
}

#[derive(Clone)]
pub struct Store {
    _inner: Arc<()>,
}

/// Where an import puts the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    InPlace,
    Copy,
}

/// What an import tells as it goes; `false` cancels.
pub trait Progress: Send + Sync {
    fn advance(&self, bytes: u64, files: u64) -> bool;
    fn total(&self, _bytes: u64, _files: u64) {}
}
impl Progress for () {
    fn advance(&self, _: u64, _: u64) -> bool {
        true
    }
}

#[derive(Debug, Clone)]
pub struct Imported {
    pub cid: Cid,
    pub size: u64,
    pub files: u64,
    /** Sockets, devices, unreadable names: left out. */
    pub skipped: Vec<(PathBuf, String)>,
}

/// Something the operator shares or has fetched: a root of the store.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Root {
    pub cid: Cid,
    pub name: String,
    pub size: u64,
    pub files: u64,
    /** Where it lies, if in place. */
    pub path: Option<PathBuf>,
    pub pinned: bool,
    /** Seconds since 1970. */
    pub added: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Absent,
    Partial { size: u64, pieces: PieceSet },
    Complete { size: u64 },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub blobs: u64,
    pub content: u64,
    pub in_place: u64,
    pub metadata: u64,
}

impl Store {
    /// Opens `dir` (made if missing), with tables in `database`; ends unfinished work of an unclean stop.
    pub fn open(_dir: &Path, _database: Arc<redb::Database>, _config: &Config) -> Result<Self, OpenError> {
        todo!()
    }

    /// Takes a file or a directory tree in; durable when it returns. Symlinks inside a tree are kept as symlinks.
    pub fn import(
        &self,
        _path: &Path,
        _mode: Mode,
        _progress: &dyn Progress,
    ) -> Result<Imported, ImportError> {
        todo!()
    }
    /// Takes a blob or a manifest in memory in; durable after the next [`settle`](Self::settle).
    pub fn put(&self, _cid: Cid, _bytes: &[u8]) -> Result<(), WriteError> {
        todo!()
    }
    /// Takes in a blob of unknown length, as an upload brings it.
    pub fn upload(&self) -> Result<Upload, WriteError> {
        todo!()
    }

    pub fn presence(&self, _hash: Hash) -> Result<Presence, ReadError> {
        todo!()
    }
    /// Appends the verifiable slice of `range`; every byte is verified while it is read.
    ///
    /// # Errors
    /// `Changed` when a file shared in place is no longer what it was: it is taken off the air.
    pub fn slice(&self, _hash: Hash, _range: Range<u64>, _out: &mut Vec<u8>) -> Result<(), ReadError> {
        todo!()
    }
    /// Verified bytes of `range`, clamped to the size; at most 4 MiB at a time.
    pub fn read(&self, _hash: Hash, _range: Range<u64>) -> Result<Bytes, ReadError> {
        todo!()
    }
    pub fn manifest(&self, _cid: Cid) -> Result<Manifest, ReadError> {
        todo!()
    }

    /// Begins or resumes the fetch of one blob whose size has been proven, into `target`.
    ///
    /// What lies there from an earlier try is verified first and counts as held.
    pub fn fetch(&self, _hash: Hash, _size: u64, _target: Target) -> Result<Fetch, WriteError> {
        todo!()
    }

    pub fn roots(&self) -> Result<Vec<Root>, ReadError> {
        todo!()
    }
    pub fn root(&self, _cid: Cid) -> Result<Option<Root>, ReadError> {
        todo!()
    }
    /// Keeps or replaces a root; durable when it returns.
    pub fn add_root(&self, _root: Root) -> Result<(), WriteError> {
        todo!()
    }
    /// Forgets a root; its blobs go with the next collection unless another root holds them. Files in place are never touched.
    pub fn remove_root(&self, _cid: Cid) -> Result<bool, WriteError> {
        todo!()
    }
    pub fn pin(&self, _cid: Cid, _pinned: bool) -> Result<bool, WriteError> {
        todo!()
    }

    /// Makes everything verified durable: data synced, then recorded. Returns how many blobs.
    pub fn settle(&self) -> Result<usize, WriteError> {
        todo!()
    }
    /// Re-hashes everything below `cid` (all, if none).
    pub fn verify(&self, _cid: Option<Cid>, _progress: &dyn Progress) -> Result<Verified, ReadError> {
        todo!()
    }
    /// Deletes blobs that no root holds, a bounded batch at a time.
    pub fn collect(&self) -> Result<Collected, WriteError> {
        todo!()
    }
    pub fn usage(&self) -> Result<Usage, ReadError> {
        todo!()
    }
}

/// Where a fetched blob goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// The store's own data.
    Store,
    /// A file that is shared in place afterwards. While incomplete it is `temporary`; the caller renames it to `path`
    /// (or the directory above it) and then tells [`Fetch::finish`].
    File { temporary: PathBuf, path: PathBuf },
}

/// One blob being fetched. Cheap to clone; writes at different places may run at once.
#[derive(Clone)]
pub struct Fetch {
    _inner: Arc<()>,
}
impl Fetch {
    pub fn hash(&self) -> Hash {
        todo!()
    }
    pub fn size(&self) -> u64 {
        todo!()
    }
    /// Pieces verified so far; they are served to others from now on.
    pub fn pieces(&self) -> PieceSet {
        todo!()
    }
    /// Verifies the slice of `range` and writes what it proves; returns bytes of content written.
    pub fn write(&self, _range: Range<u64>, _slice: Bytes) -> Result<u64, WriteError> {
        todo!()
    }
    /// Marks a complete blob as verified; durable after the next [`Store::settle`]. For `Target::File`, `path` must exist.
    pub fn finish(self) -> Result<(), WriteError> {
        todo!()
    }
    /// Throws the partial data away.
    pub fn abandon(self) -> Result<(), WriteError> {
        todo!()
    }
}

pub struct Upload {
    _private: (),
}
impl Upload {
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), WriteError> {
        todo!()
    }
    pub fn finish(self) -> Result<(Hash, u64), WriteError> {
        todo!()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Verified {
    pub blobs: u64,
    pub bytes: u64,
    pub broken: Vec<(Cid, String)>,
}
#[derive(Debug, Clone, Copy, Default)]
pub struct Collected {
    pub blobs: u64,
    pub bytes: u64,
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("the store at {path} has format {found}; this program knows up to {known}")]
    Format { path: PathBuf, found: u32, known: u32 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the store's database is damaged: {0}")]
    Database(String),
}
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("not in the store")]
    NotFound,
    #[error("bytes {0:?} are not in the store yet")]
    NotHeld(Range<u64>),
    #[error("{path} has changed since it was shared")]
    Changed { path: PathBuf },
    #[error("not a directory")]
    NotDirectory,
    #[error(transparent)]
    Manifest(#[from] cardume_content::manifest::ManifestError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the store's database failed: {0}")]
    Database(String),
    #[error("cancelled")]
    Cancelled,
}
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    #[error("the slice is wrong: {0}")]
    Slice(#[from] cardume_content::slice::DecodeError),
    #[error("no space left for {path}")]
    NoSpace { path: PathBuf },
    #[error("the quota of {quota} bytes leaves no room for {size}")]
    Quota { quota: u64, size: u64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the store's database failed: {0}")]
    Database(String),
    #[error("bytes are missing")]
    Incomplete,
}
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    #[error("{path}: {reason}")]
    Unsupported { path: PathBuf, reason: String },
    #[error("{path} changed while it was read")]
    Changed { path: PathBuf },
    #[error(transparent)]
    Manifest(#[from] cardume_content::manifest::ManifestError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}
