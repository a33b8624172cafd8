//! What the configuration files would change in a node that runs, and what they have changed.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The configuration that a node runs with against what its files say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Whether anything is another.
    pub changed: bool,
    /// Whether some of it needs a restart.
    pub restart: bool,
    /// Each key that is another, in the order of the keys.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Sums up changes.
    pub fn new(changes: Vec<Change>) -> Self {
        Self {
            changed: !changes.is_empty(),
            restart: changes.iter().any(|change| change.applies == Applies::Restart),
            changes,
        }
    }

    /// The keys of the changes that need a restart.
    pub fn waiting(&self) -> Vec<String> {
        let waiting = self
            .changes
            .iter()
            .filter(|change| change.applies == Applies::Restart);
        waiting.map(|change| change.key.clone()).collect()
    }
}

/// One key whose value is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The key as in TOML, such as `rates.upload`.
    pub key: String,
    /// The value the node runs with; null when it has none. What may hold a secret is shown as `(hidden)`.
    pub old: serde_json::Value,
    /// The value of the files; null when they have none. What may hold a secret is shown as `(hidden)`.
    pub new: serde_json::Value,
    /// What it takes for the node to run with the new one.
    pub applies: Applies,
}

/// What it takes for a node to run with a changed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Applies {
    /// A reload.
    Live,
    /// A restart.
    Restart,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// How a node stands with its configuration files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatus {
    /// Keys that were changed in the files by the last reload, and wait for a restart.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Why the last reload changed nothing; missing when it was well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
