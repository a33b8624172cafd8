//! What the store is asked, and what it answers.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_content::{Cid, Hash, PieceSet};

/// Where an import puts the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They stay where they are; the store keeps their hash trees.
    InPlace,
    /// They are copied into the store, sharing blocks where the file system can.
    Copy,
}

/// What an import or a verification tells as it goes.
pub trait Progress: Send + Sync {
    /// Is called as `bytes` and `files` more are done; `false` cancels.
    fn advance(&self, bytes: u64, files: u64) -> bool;
    /// Is called as more becomes known of what there is to do in all.
    fn total(&self, _bytes: u64, _files: u64) {}
}
impl Progress for () {
    fn advance(&self, _: u64, _: u64) -> bool {
        true
    }
}

/// Who goes along while a tree is taken in that others are working on.
pub trait Watcher: Sync {
    /// Is called before a directory is listed: who begins to watch it now misses nothing.
    fn enter(&self, directory: &Path);
    /// Is called when everything below a directory has been taken in.
    fn leave(&self, directory: &Path, below: Below);
    /// Tells what was below a directory, if nothing there has changed since: it is not listed again then.
    fn unchanged(&self, directory: &Path) -> Option<Below>;
    /// Whether somebody is writing to a file just now: it is left out.
    fn is_busy(&self, file: &Path) -> bool;
}

/// A directory, and all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below {
    /// Its id.
    pub cid: Cid,
    /// Bytes of all files.
    pub size: u64,
    /// Number of files.
    pub files: u64,
}

/// What an import took in.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The file's or the directory's id.
    pub cid: Cid,
    /// Bytes of all files.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes that were read and hashed; the others were known, or had only been moved.
    pub hashed: u64,
    /// What was left out and why: sockets, devices, unreadable files, unsafe names. At most 10,000.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Something the operator shares or has fetched: a root of the store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Root {
    /// What it is.
    pub cid: Cid,
    /// What people call it.
    pub name: String,
    /// Bytes of all files.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Where it lies, if in place.
    pub path: Option<PathBuf>,
    /// Whether it stays until unpinned.
    pub pinned: bool,
    /// Whether the DHT is told of it.
    pub announce: bool,
    /// Who may have it, as words of an `allow` list; none: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Seconds since 1970.
    pub added: u64,
}

/// How much of a blob the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// It is being fetched.
    Partial {
        /// Bytes of the whole blob.
        size: u64,
        /// Verified pieces.
        pieces: PieceSet,
    },
    /// All of it.
    Complete {
        /// Bytes of the whole blob.
        size: u64,
    },
}

/// What the store takes, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of complete blobs.
    pub blobs: u64,
    /// Content that is the store's own.
    pub content: u64,
    /// Content that lies elsewhere and is shared in place.
    pub in_place: u64,
    /// Hash trees and records.
    pub metadata: u64,
}

/// Where a fetched blob goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The store's own data.
    Store,
    /// A file that is shared in place afterwards. While incomplete it is `temporary`; the caller renames it to `path`
    /// (or the directory above it) and then tells [`Fetch::finish`](crate::Fetch::finish).
    File {
        /// Where the bytes are written. Absolute.
        temporary: PathBuf,
        /// Where they lie in the end. Absolute.
        path: PathBuf,
    },
}

/// A file shared in place that turned out to be something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What it was.
    pub hash: Hash,
    /// Where it lies.
    pub path: PathBuf,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is missing or does not verify; it is off the air. At most 10,000.
    pub broken: Vec<Broken>,
}

/// A blob that should be there and is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What it was.
    pub cid: Cid,
    /// The root that holds it, if one does.
    pub root: Option<Cid>,
    /// Where it stands below the root, with `/` between names; empty for the root itself.
    pub path: Arc<str>,
    /// Its bytes, where a directory says.
    pub size: Option<u64>,
    /// Whether it is a file that may be run.
    pub executable: bool,
    /// What is wrong with it.
    pub reason: String,
}

/// Whether what lies somewhere is what was wanted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// All of it.
    All {
        /// Bytes of all files.
        size: u64,
        /// Number of files.
        files: u64,
    },
    /// This path is something else.
    Other(PathBuf),
    /// This path is not there.
    Missing(PathBuf),
    /// What should be in the directory at this path below the root is not known yet.
    Unknown(PathBuf),
}

/// What is to be done about something broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: it is all there.
    Whole,
    /// What is missing is to be fetched.
    Fetch(Target),
    /// It is left as it is, and why.
    Left(String),
}

/// What a root takes on the disk, in bytes unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The root.
    pub cid: Cid,
    /// What people call it.
    pub name: String,
    /// Number of its blobs that are here.
    pub blobs: u64,
    /// Number of its blobs that are not.
    pub missing: u64,
    /// Content that is the store's own.
    pub data: u64,
    /// Content that lies elsewhere.
    pub in_place: u64,
    /// Hash trees and records.
    pub metadata: u64,
    /// Of data and metadata, what other roots hold too: it stays when this root goes.
    pub shared: u64,
}

/// What a collection deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs forgotten.
    pub blobs: u64,
    /// Bytes of content and trees given back.
    pub bytes: u64,
    /// Whether there is more to do: an import was running, or much changed meanwhile.
    pub more: bool,
}
