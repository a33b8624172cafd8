//! Long work: it runs on while the caller looks elsewhere.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, Collected, Fetched, Measured, Problem, Repaired, Shared, Verified};

/// Long work that runs in the node, or has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Its id, unique while the node runs.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// What it is about: a path or a CID.
    #[serde(default)]
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// How far it is.
    pub progress: Progress,
    /// What came of it, when `state` is `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// Why it failed, when `state` is `failed` or `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When it began, in seconds since 1970.
    #[serde(default)]
    pub started: u64,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Takes a file or a directory into the store; ends in [`Shared`].
    Share,
    /// Gets content from peers; ends in [`Fetched`].
    Fetch,
    /// Hashes content anew; ends in [`Verified`].
    Verify,
    /// Gets what is broken again; ends in [`Repaired`].
    Repair,
    /// Deletes what nothing needs; ends in [`Collected`].
    Collect,
    /// Adds up what is stored; ends in [`Measured`].
    Measure,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs.
    Running,
    /// It has ended well.
    Done,
    /// It has ended in an error.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl State {
    /// Whether it has ended, one way or another.
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// How far an operation is. Sizes are bytes of content; zero where not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Progress {
    /// What it does just now.
    pub phase: Phase,
    /// Bytes in all.
    pub size: u64,
    /// Bytes done.
    pub done: u64,
    /// Bytes that came over the network.
    pub fetched: u64,
    /// … of them from a web server.
    pub origin: u64,
    /// Bytes that another node has read from a web server, which this one waits for.
    pub elsewhere: u64,
    /// Files in all.
    pub files: u64,
    /// Files done.
    pub files_done: u64,
    /// Who sent how much.
    pub sources: Vec<Source>,
}

/// What an operation does just now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Waits for its turn.
    #[default]
    Waiting,
    /// Looks for peers that have the content.
    FindingPeers,
    /// Fetches the manifests of directories.
    Manifests,
    /// Fetches the content of files.
    Content,
    /// Gives files their names.
    Placing,
    /// Waits for the disk to have it for good.
    Syncing,
    /// Hashes files.
    Hashing,
    /// Deletes what nothing needs.
    Collecting,
    /// Adds up what is stored.
    Measuring,
    /// Has ended.
    Done,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

/// A peer that sent content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Its peer id.
    pub peer: String,
    /// Bytes of verified content it sent.
    pub bytes: u64,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Outcome {
    /// Of [`Kind::Share`].
    Shared(Shared),
    /// Of [`Kind::Fetch`].
    Fetched(Fetched),
    /// Of [`Kind::Verify`].
    Verified(Verified),
    /// Of [`Kind::Repair`].
    Repaired(Repaired),
    /// Of [`Kind::Collect`].
    Collected(Collected),
    /// Of [`Kind::Measure`].
    Measured(Measured),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The kind of problem.
    pub code: Code,
    /// What happened, and what to do about it.
    pub detail: String,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.detail)
    }
}
