//! Why content is not got.
use std::path::PathBuf;

use cardume_content::{Cid, manifest::ManifestError};
use cardume_store::{ReadError, WriteError, place::PlaceError};

/// Why a fetch or a read ended without its content.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody who could be asked has it.
    #[error("no peer has {cid}")]
    NotFound {
        /// What was looked for.
        cid: Cid,
    },
    /// Those who had it said later that they do not: it changed or was removed there while it was fetched.
    #[error("nobody has {cid} any more: it was changed or removed where it was shared; what came is kept")]
    Gone {
        /// What was being fetched.
        cid: Cid,
    },
    /// The directory has no such entry, or an entry on the way is no directory.
    #[error("{path:?} is not in {cid}")]
    NoSuchPath {
        /// The directory.
        cid: Cid,
        /// The path below it.
        path: String,
    },
    /// Something is at the destination already.
    #[error("{path} exists; use --force to replace it")]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left at {path}")]
    NoSpace {
        /// What was written.
        path: PathBuf,
    },
    /// The store's quota, or the floor of a disk, leaves no room; says how much is wanted and free.
    #[error("{0}")]
    NoRoom(String),
    /// A bound of the configuration.
    #[error("limit: {0}")]
    Limit(String),
    /// The destination is not allowed, or every peer that has it refuses to give it.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The content describes something that is never written, such as a path out of its directory.
    #[error("the content is refused: {0}")]
    Refused(String),
    /// No peer has it, and the web servers that should are of no use.
    #[error("no peer has {cid}, and its web origin is of no use: {reason}")]
    Origin {
        /// What was looked for.
        cid: Cid,
        /// What is wrong with each, and what to do about it.
        reason: String,
        /// Whether one has something else under the name.
        is_wrong: bool,
    },
    /// There were sources, and all of them lied.
    #[error("every source sent bytes that do not verify")]
    Corrupt,
    /// The disk failed.
    #[error("{path}: {reason}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Closed,
    /// The fetch was cancelled by whoever asked for it.
    #[error("cancelled")]
    Cancelled,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<PlaceError> for FetchError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Exists { path } => Self::Exists { path },
            PlaceError::NoSpace { path } => Self::NoSpace { path },
            PlaceError::Refused { path, reason } => Self::Denied(format!("{}: {reason}", path.display())),
            PlaceError::Io { path, source } => Self::io(path, &source),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<WriteError> for FetchError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoSpace { path } => Self::NoSpace { path },
            WriteError::Quota { .. } | WriteError::Floor { .. } => Self::NoRoom(error.to_string()),
            WriteError::Io { path, source } => Self::io(path, &source),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Manifest(error) => error.into(),
            ReadError::Io { path, source } => Self::io(path, &source),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ManifestError> for FetchError {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Limit { .. } => Self::Limit(format!("{error}, which [exchange] sets")),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl FetchError {
    /// What the disk said of `path`.
    pub(crate) fn io_at(path: &std::path::Path, source: &std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace {
                path: path.to_owned(),
            },
            _ => Self::io(path.to_owned(), source),
        }
    }

    fn io(path: PathBuf, source: &std::io::Error) -> Self {
        Self::Io {
            path,
            reason: source.to_string(),
        }
    }
}
