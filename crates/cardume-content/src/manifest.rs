//! Manifests: what a directory is.
//!
//! A manifest holds names, kinds, content ids, sizes and executable bits, sorted by name: no times, owners
//! or absolute paths, so that the same tree is the same directory on every machine.

mod format;
mod name;
mod symlink;

use std::collections::BTreeSet;

pub use self::{
    name::{MAX_NAME_LEN, Name},
    symlink::{MAX_TARGET_LEN, symlink_stays_inside},
};
use crate::{Cid, Hash, Kind};

/// One directory: its entries, sorted by name bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

/// One name in a directory, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Name,
    /// What has it.
    pub node: Node,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// The blob with its bytes.
        cid: Cid,
        /// Bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// Its manifest.
        cid: Cid,
        /// Bytes of all files below.
        size: u64,
        /// Number of files below.
        files: u64,
    },
    /// Relative, and never leaving the root of the tree it is in (checked where the depth is known).
    Symlink {
        /// Where it points, from the directory it is in.
        target: String,
    },
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
    ///
    /// # Errors
    ///
    /// Fails when two have the same name, a CID is of the wrong kind for its entry, or a symlink can be safe
    /// at no depth.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(same) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(ManifestError::Duplicate(same[0].name.to_string()));
        }
        entries.iter().try_for_each(Entry::check)?;
        Ok(Self { entries })
    }

    /// Shows the entries, sorted by name bytes.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Finds an entry by its exact name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name))
            .ok()?;
        self.entries.get(at)
    }

    /// Deterministic DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        format::encode(&self.entries)
    }

    /// Parses and checks everything; refuses bytes that `encode` would not have produced.
    ///
    /// # Errors
    ///
    /// Fails when a limit is exceeded (told before memory is taken for what exceeds it), when an entry is
    /// unsafe, and when the bytes are not a manifest in its only form.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, ManifestError> {
        limit("the manifest's length", bytes.len() as u64, limits.manifest_bytes)?;
        let manifest = Self::new(format::decode(bytes, limits.entries)?)?;
        let (size, files) = manifest.totals();
        limit("the size of all files", size, limits.total)?;
        limit("the number of files", files, limits.tree_entries)?;
        if manifest.encode() != bytes {
            return Err(ManifestError::Malformed("it is not in canonical form".to_owned()));
        }
        Ok(manifest)
    }

    /// Names this directory: the hash of its encoded bytes.
    pub fn cid(&self) -> Cid {
        Cid::directory(Hash::of(&self.encode()))
    }

    /// Bytes and number of all files below (saturating).
    pub fn totals(&self) -> (u64, u64) {
        self.entries
            .iter()
            .fold((0, 0), |(bytes, count): (u64, u64), entry| match entry.node {
                Node::File { size, .. } => (bytes.saturating_add(size), count.saturating_add(1)),
                Node::Directory { size, files, .. } => {
                    (bytes.saturating_add(size), count.saturating_add(files))
                }
                Node::Symlink { .. } => (bytes, count),
            })
    }

    /// Checks that no two names are the same to a file system that ignores case.
    ///
    /// For callers about to write to such a file system; on others both files are wanted. Composed and
    /// decomposed accents are not compared: creating files exclusively catches those.
    ///
    /// # Errors
    ///
    /// Fails with the second name of such a pair.
    pub fn check_case_fold(&self) -> Result<(), ManifestError> {
        let mut seen = BTreeSet::new();
        match self
            .entries
            .iter()
            .find(|entry| !seen.insert(entry.name.fold_case()))
        {
            Some(twin) => Err(ManifestError::Duplicate(twin.name.to_string())),
            None => Ok(()),
        }
    }
}

impl Entry {
    fn check(&self) -> Result<(), ManifestError> {
        let (cid, wanted, what) = match &self.node {
            Node::Symlink { target } => return symlink::check(&self.name, target),
            Node::File { cid, .. } => (cid, Kind::Blob, "a file has the CID of a directory"),
            Node::Directory { cid, .. } => (cid, Kind::Directory, "a directory has the CID of a blob"),
        };
        if cid.kind() == wanted {
            Ok(())
        } else {
            Err(ManifestError::Malformed(format!(
                "{:?}: {what}",
                self.name.as_str()
            )))
        }
    }
}

/// Refuses a value above its limit.
fn limit(what: &'static str, value: u64, limit: u64) -> Result<(), ManifestError> {
    if value > limit {
        Err(ManifestError::Limit { what, value, limit })
    } else {
        Ok(())
    }
}

/// Why a manifest, a name or a symlink is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are no manifest, or not the one form of it.
    #[error("not a manifest: {0}")]
    Malformed(String),
    /// A name could do harm.
    #[error("unsafe name {name:?}: {reason}")]
    Name {
        /// The name, cut when long.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A symlink could do harm.
    #[error("unsafe symlink {name:?} to {target:?}: {reason}")]
    Symlink {
        /// Its name.
        name: String,
        /// Where it points, cut when long.
        target: String,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// Two entries have the same name.
    #[error("two entries are named {0:?}")]
    Duplicate(String),
    /// Something is larger than is believed of a peer.
    #[error("{what} is {value}, more than the limit of {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// How large it is, or is claimed to be.
        value: u64,
        /// How large it may be.
        limit: u64,
    },
}
