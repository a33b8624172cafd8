//! `[share.NAME]`
use std::path::PathBuf;

use cardume_units::Duration;

/// Something shared from the start.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file or a directory; absolute.
    pub path: PathBuf,
    /// Tell the DHT about it.
    #[serde(default = "yes")]
    pub announce: bool,
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
            announce: yes(),
            watch: yes(),
            settle: settle(),
            rescan: rescan(),
        }
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
