//! `[share.NAME]`
use std::path::PathBuf;

use cardume_units::Duration;

/// Something shared from the start.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file or a directory; absolute.
    pub path: PathBuf,
    /// Who may have it and everything below it: names of peers, `group:NAME` and peer ids. Everybody who can connect,
    /// if not given; nobody, if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Tell the DHT about it, and so everybody that this node has it; if not given, only where there is no `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<bool>,
    /// Have the kernel tell of changes, and share what has changed when it has come to rest.
    #[serde(default = "yes")]
    pub watch: bool,
    /// Time without a change before what has changed is shared.
    #[serde(default = "settle")]
    pub settle: Duration,
    /// Time between two looks at everything, for changes that the kernel does not tell of; `0s`: never.
    #[serde(default = "rescan")]
    pub rescan: Duration,
}

impl Config {
    /// A share of `path` with everything else at its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            allow: None,
            announce: None,
            watch: yes(),
            settle: settle(),
            rescan: rescan(),
        }
    }

    /// Whether the DHT is told about it.
    pub fn announces(&self) -> bool {
        self.announce.unwrap_or_else(|| self.allow.is_none())
    }
}

fn yes() -> bool {
    true
}

/// More than the two seconds in which some file systems cannot tell two changes apart.
fn settle() -> Duration {
    Duration::from_secs(3)
}

fn rescan() -> Duration {
    Duration::from_secs(3_600)
}
