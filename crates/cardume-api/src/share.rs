//! Giving content: what is asked for, and what comes of it.
use std::path::PathBuf;

use cardume_content::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A file or a directory of the node's machine to share.
///
/// The path must be absolute. It is taken only from the node's own user and root; others upload the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShare {
    /// Absolute path of the file or directory.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// Where the bytes stay; the store's own configuration decides if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What to call it; its file name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may have it and everything below: names of peers, `group:NAME`, peer ids; nobody, if empty. If not given, who
    /// could have it before, and of something new everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

/// Where shared bytes stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Where they are.
    InPlace,
    /// Copied into the store.
    Copy,
}

/// A root that has been shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shared {
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
    /// Who may have it; everybody, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// What was left out of a directory, and why; the first 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// Something in a directory that cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Where it lies.
    pub path: String,
    /// Why it was left out.
    pub reason: String,
}

/// What hashing content anew has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// Blobs hashed.
    pub blobs: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// Blobs that are not what they were.
    pub broken: Vec<Broken>,
}

/// A blob that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Broken {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// The root that holds it, if one does.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Cid>,
    /// Where it stands below the root; empty for the root itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}
