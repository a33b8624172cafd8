//! Why a web server is of no use.
use std::{path::PathBuf, time::Duration};

/// Why a file could not be read from a web server, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The host has no address, or none that may be used.
    #[error("{host}: no such host ({reason}); check the name")]
    Unknown {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The host's address is one that this node keeps away from.
    #[error("{host} is at {address}, which is refused: {reason}")]
    Refused {
        /// The host.
        host: String,
        /// Where it is.
        address: String,
        /// Why.
        reason: &'static str,
    },
    /// It cannot be reached.
    #[error("{host} cannot be reached ({reason}); is it up?")]
    Unreachable {
        /// The host and port.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// Its certificate does not hold.
    #[error(
        "{host} has a certificate that does not hold ({reason}); for an authority of your own set origin.ca_file"
    )]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It has no such file.
    #[error("{url} is not there (status {status}); check the path")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What it said.
        status: u16,
    },
    /// It wants a password.
    #[error("{url} is not for everybody (status {status}); an origin has to give the file without a login")]
    Denied {
        /// What was asked for.
        url: String,
        /// What it said.
        status: u16,
    },
    /// It answers something else.
    #[error("{url} answers with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// What it said.
        status: u16,
    },
    /// It wants to be asked later.
    #[error("{host} is busy (status {status}); it is asked again in {} s", retry_after.as_secs().max(1))]
    Busy {
        /// The host.
        host: String,
        /// What it said.
        status: u16,
        /// When it may be asked again.
        retry_after: Duration,
    },
    /// It redirects in circles, or to where nobody should go.
    #[error("{url} redirects {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// To where, or how often.
        reason: String,
    },
    /// It does not give parts of files.
    #[error("{url} cannot be read in ranges: the server ignores Range")]
    NoRanges {
        /// What was asked for.
        url: String,
    },
    /// Its answer cannot be understood.
    #[error("{url}: {reason}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing came for a time.
    #[error("{host} stands still: nothing came for {} s", after.as_secs())]
    Stalled {
        /// The host.
        host: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke.
    #[error("{host} broke off ({reason})")]
    Broken {
        /// The host.
        host: String,
        /// What was seen of it.
        reason: String,
    },
    /// Nobody but the configuration may name it.
    #[error("{host} is named by a peer and is not in origin.allow")]
    NotAllowed {
        /// The host.
        host: String,
    },
    /// The node is stopping, or web servers are switched off.
    #[error("web origins are switched off; set origin.enabled")]
    Off,
}

impl OriginError {
    /// Whether asking again may help.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. }
                | Self::Unreachable { .. }
                | Self::Busy { .. }
                | Self::Stalled { .. }
                | Self::Broken { .. }
        ) || matches!(self, Self::Status { status, .. } if *status >= 500)
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct BuildError {
    /// The file of authorities.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}
