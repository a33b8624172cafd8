//! What is wrong with a node, why, and what to do about it.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was found when a node was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Whether nothing is wrong; notes do not count.
    pub healthy: bool,
    /// The version of the program that looked.
    pub version: String,
    /// Whether a daemon answered.
    pub daemon: bool,
    /// Where the node's state lives.
    pub data_dir: String,
    /// What each check has found, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// How many findings are so.
    pub fn count(&self, state: FindingState) -> usize {
        self.findings.iter().filter(|found| found.state == state).count()
    }
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The check.
    pub check: String,
    /// How it is to be taken.
    pub state: FindingState,
    /// What was found; more than one line where there are several things.
    pub what: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is broken.
    Note,
    /// Broken, and somebody has to mend it.
    Wrong,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl Finding {
    /// All is as it should be.
    pub fn ok(check: &str, what: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            state: FindingState::Ok,
            what: what.into(),
            remedy: None,
        }
    }

    /// Something is worth knowing.
    pub fn note(check: &str, what: impl Into<String>) -> Self {
        let state = FindingState::Note;
        Self {
            state,
            ..Self::ok(check, what)
        }
    }

    /// Something is broken.
    pub fn wrong(check: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: FindingState::Wrong,
            remedy: Some(remedy.into()),
            ..Self::ok(check, what)
        }
    }
}
