//! Content that is there: roots, directories, and what callers upload.
use cardume_content::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A root of the store: something shared or fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct File {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// The link to send to others.
    pub link: String,
    /// Its name.
    pub name: String,
    /// Bytes of all its files.
    pub size: u64,
    /// Number of its files.
    pub files: u64,
    /// Where it lies, if in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is kept whatever happens.
    pub pinned: bool,
    /// What configuration calls it, if it is a share of `[share.NAME]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Who may have it; everybody, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// When it came, in seconds since 1970.
    pub added: u64,
}

/// What is known of some content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stat {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// A file or a directory.
    pub kind: EntryKind,
    /// Bytes of it and all below.
    pub size: u64,
    /// Number of files, of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Its name, if it is a root or was reached by a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the store has it.
    pub held: Held,
    /// Who may have it of this node, as the lists of all roots say that have it; everybody, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

/// How much of some content the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Nothing.
    Absent,
    /// Some of it.
    Partial,
    /// All of it, and all below.
    Complete,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its id; a symlink has none.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<Cid>,
    /// Bytes of it, or of all files below.
    #[serde(default)]
    pub size: u64,
    /// Number of files below a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Whether a file may be run.
    #[serde(default)]
    pub executable: bool,
    /// Where a symlink points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Bytes.
    File,
    /// A directory.
    Dir,
    /// A symbolic link inside the same root.
    Symlink,
}

/// Bytes or a directory that a caller has put into the store. Nothing holds it until it is made a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// Bytes of it, or of all files below.
    pub size: u64,
    /// Number of files: 1, or those below.
    pub files: u64,
}

/// A directory made of content that the store has already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewManifest {
    /// Its entries, in any order.
    pub entries: Vec<Entry>,
}

/// Uploaded content to keep and share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoot {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// What to call it.
    pub name: String,
    /// Who may have it, as in a new share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}
