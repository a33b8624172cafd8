//! The control API served on a local socket.
use std::path::PathBuf;

/// `[control]`
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `unix:PATH`; none: where the program that runs the node puts it.
    pub listen: Option<String>,
    /// Group that may use the socket as operator.
    pub group: Option<String>,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            group: None,
        }
    }
}
impl Config {
    pub fn socket(&self) -> Option<PathBuf> {
        self.listen.as_deref()?.strip_prefix("unix:").map(Into::into)
    }
}
