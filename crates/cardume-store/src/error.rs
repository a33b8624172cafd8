//! What can go wrong, by what was tried.
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer program wrote it.
    #[error("the store at {path} has format {found}; this program knows up to {known}")]
    Format {
        /// The store's directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// The directory cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error("the store's database is damaged: {0}")]
    Database(String),
}

/// Why bytes cannot be had from the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is known of this blob.
    #[error("not in the store")]
    NotFound,
    /// The blob is being fetched, and these bytes have not come yet.
    #[error("bytes {0:?} are not in the store yet")]
    NotHeld(Range<u64>),
    /// A file shared in place is no longer what it was; it is off the air.
    #[error("{path} has changed since it was shared")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The store's own copy no longer verifies; it is off the air.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A blob was read as a directory.
    #[error("not a directory")]
    NotDirectory,
    /// A directory's manifest is refused.
    #[error(transparent)]
    Manifest(#[from] cardume_content::manifest::ManifestError),
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error("the store's database failed: {0}")]
    Database(String),
    /// The caller's progress said stop.
    #[error("cancelled")]
    Cancelled,
}

impl ReadError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Why something cannot be put into the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What a peer sent does not verify; nothing of it was written.
    #[error("the slice is wrong: {0}")]
    Slice(#[from] cardume_content::slice::DecodeError),
    /// The bytes are not those of the content id they were given for.
    #[error("the bytes are not those of {0}")]
    Mismatch(cardume_content::Cid),
    /// The file system is full, or its quota.
    #[error("no space left for {path}")]
    NoSpace {
        /// What was written.
        path: PathBuf,
    },
    /// The store's own quota is full.
    #[error(
        "no room for {}: of the quota of {}, {} are taken, and too little of that may go; forget or unpin \
         something (cardume file rm, unpin), or raise store.quota",
        Bytes(*.wanted), Bytes(*.quota), Bytes(*.used)
    )]
    Quota {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes taken and promised.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// The file system would be too full.
    #[error(
        "no room for {} at {path}: {} are free, and {} stay free; delete something there, or lower store.keep_free",
        Bytes(*.wanted), Bytes(*.free), Bytes(*.keep)
    )]
    Floor {
        /// Where it would go.
        path: PathBuf,
        /// Bytes asked for.
        wanted: u64,
        /// Bytes free, without those promised to others.
        free: u64,
        /// Bytes that stay free.
        keep: u64,
    },
    /// The disk has failed before.
    #[error("the store takes nothing more in: {reason}; see to the disk, then start the node again")]
    ReadOnly {
        /// What happened.
        reason: String,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error("the store's database failed: {0}")]
    Database(String),
    /// Not all pieces are there.
    #[error("bytes are missing")]
    Incomplete,
    /// What was to be copied cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl WriteError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { path, source },
        }
    }
}

/// Why a file or a tree is not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Neither a file nor a directory, or a path the store cannot keep.
    #[error("{path}: {reason}")]
    Unsupported {
        /// What was to be imported.
        path: PathBuf,
        /// Why it cannot be.
        reason: String,
    },
    /// A file was written to while it was hashed, twice.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A directory has no manifest, as it is too large.
    #[error(transparent)]
    Manifest(#[from] cardume_content::manifest::ManifestError),
    /// The store cannot take it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The caller's progress said stop.
    #[error("cancelled")]
    Cancelled,
}

impl ImportError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// A number of bytes for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        let (mut value, mut unit) = (self.0 as f64, "B");
        for name in UNITS {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, name);
        }
        match unit {
            "B" => write!(f, "{} B", self.0),
            _ => write!(f, "{value:.1} {unit}"),
        }
    }
}

/// A failure of the database, before it is known what was tried.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

macro_rules! fault_from { ($($kind:ty),*) => { $(
    impl From<$kind> for Fault {
        fn from(error: $kind) -> Self {
            Self(error.to_string())
        }
    }
)* } }
fault_from!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Database(fault.0)
    }
}
impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Database(fault.0)
    }
}
impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Database(fault.0)
    }
}
impl From<Fault> for ImportError {
    fn from(fault: Fault) -> Self {
        Self::Write(fault.into())
    }
}
