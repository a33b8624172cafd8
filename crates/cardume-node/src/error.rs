//! Why a node does not start, or stopped.

use std::{io, path::PathBuf};

use libp2p::Multiaddr;

use crate::identity::KeyError;

/// Why a node did not start. Nothing on disk has been changed, except that directories may have been made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A value of the configuration cannot work.
    #[error("{key}: {reason}")]
    Config {
        /// The key, as in TOML.
        key: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The data directory cannot be made or used.
    #[error("node.data_dir: {} cannot be used: {source}; make it this user's, or choose another", path.display())]
    DataDir {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node runs on this data directory.
    #[error("{} is in use by another cardume{}; stop that one, or give this one its own node.data_dir", data_dir.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The data directory.
        data_dir: PathBuf,
        /// The other process.
        pid: Option<u32>,
    },
    /// An address to listen on cannot be had.
    #[error(
        "cannot listen on {address}: {source}; change listen.addresses, or stop the program that holds the port"
    )]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        source: io::Error,
    },
    /// None of the addresses works on this host.
    #[error("none of listen.addresses works on this host; add an /ip4 address")]
    Deaf,
    /// The private key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key cannot secure connections.
    #[error("the private key cannot be used for connections: {0}")]
    Identity(String),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] cardume_store::OpenError),
    /// The metadata database does not open.
    #[error("{}: {reason}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] cardume_control::BuildError),
    /// A file or directory failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    /// The key of the configuration that it is about, as in TOML; none where configuration could not help.
    pub fn key(&self) -> Option<&'static str> {
        use cardume_control::{BindError, BuildError};
        match self {
            Self::Config { key, .. } => Some(key),
            Self::Listen { .. } | Self::Deaf => Some("listen.addresses"),
            Self::Locked { .. } | Self::DataDir { .. } => Some("node.data_dir"),
            Self::Key(_) | Self::Identity(_) => Some("identity.key_file"),
            Self::Control(
                BuildError::Group(_)
                | BuildError::Bind(BindError::NotGiven { .. } | BindError::Unreachable { .. }),
            ) => Some("control.group"),
            Self::Control(BuildError::Metrics { .. }) => Some("metrics.listen"),
            Self::Control(BuildError::Tokens(_)) => None,
            Self::Control(_) => Some("control.listen"),
            _ => None,
        }
    }
}

/// Why a running node ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A task panicked: a defect of this program.
    #[error("a part of the node failed: {0}")]
    Panicked(String),
    /// Running work did not end within `shutdown.grace`, and was cut off.
    #[error("{0} did not end within shutdown.grace and was cut off")]
    Overdue(&'static str),
    /// The store could not be written at the end; what was verified but not durable is fetched again.
    #[error("the store could not be settled: {0}")]
    Store(#[from] cardume_store::WriteError),
}
