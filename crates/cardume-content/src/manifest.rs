//! Manifests: what a directory is.
use crate::Cid;

/// One directory: its entries, sorted by name bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Name,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File {
        cid: Cid,
        size: u64,
        executable: bool,
    },
    /// `size`: bytes of all files below. `files`: number of files below.
    Directory {
        cid: Cid,
        size: u64,
        files: u64,
    },
    /// Relative, and never leaving the root of the tree it is in (checked where the depth is known).
    Symlink {
        target: String,
    },
}

/// A safe file name: not empty, no `.`/`..`, no `/`, `\`, NUL or control characters, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);
impl Name {
    pub fn new(_name: impl Into<String>) -> Result<Self, ManifestError> {
        todo!()
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bounds on what is believed of a peer's directory, each checked before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest.
    pub manifest_bytes: u64,
    /// Entries of one directory.
    pub entries: u64,
    /// Files and directories of the whole tree.
    pub tree_entries: u64,
    /// Nested directories.
    pub depth: u32,
    /// Bytes of the whole tree.
    pub total: u64,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 32 << 20,
            entries: 1 << 18,
            tree_entries: 1 << 22,
            depth: 64,
            total: 1 << 46,
        }
    }
}

impl Manifest {
    /// Sorts and checks entries.
    pub fn new(_entries: Vec<Entry>) -> Result<Self, ManifestError> {
        todo!()
    }
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    pub fn find(&self, _name: &str) -> Option<&Entry> {
        todo!()
    }
    /// Deterministic DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
    /// Parses and checks everything; refuses bytes that `encode` would not have produced.
    pub fn decode(_bytes: &[u8], _limits: &Limits) -> Result<Self, ManifestError> {
        todo!()
    }
    pub fn cid(&self) -> Cid {
        todo!()
    }
    /// Bytes and number of all files below (saturating).
    pub fn totals(&self) -> (u64, u64) {
        todo!()
    }
}

/// Whether a symlink at `depth` directories below the root, with this target, stays inside the root.
pub fn symlink_stays_inside(_depth: u32, _target: &str) -> bool {
    todo!()
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    #[error("not a manifest: {0}")]
    Malformed(String),
    #[error("unsafe name {name:?}: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("unsafe symlink {name:?} to {target:?}: {reason}")]
    Symlink {
        name: String,
        target: String,
        reason: &'static str,
    },
    #[error("two entries are named {0:?}")]
    Duplicate(String),
    #[error("{what} is {value}, more than the limit of {limit}")]
    Limit {
        what: &'static str,
        value: u64,
        limit: u64,
    },
}
