//! Why a call failed.
use std::{error::Error as _, io};

use reqwest::Response;

use super::Address;
use crate::{Code, Problem};

/// Bytes of an error's body that are read; a problem document takes far fewer.
const MAX_PROBLEM: usize = 64 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon at {address}: {reason}")]
    NoDaemon {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The system does not let this user connect.
    #[error("this user may not use the daemon at {address}")]
    Forbidden {
        /// Where the daemon is.
        address: String,
    },
    /// Something takes calls there and does not answer them in time.
    #[error("no answer from {address}: something takes calls there, but is it a daemon, and does it run?")]
    Silent {
        /// Where it was asked.
        address: String,
    },
    /// The daemon answered that it cannot.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The connection was lost on the way.
    #[error("the connection to the daemon was lost: {0}")]
    Lost(String),
    /// The answer makes no sense; the daemon is of another version, or is no daemon.
    #[error("the daemon's answer makes no sense: {0}")]
    Malformed(String),
    /// What was to be sent cannot be written as JSON, such as a path that is no UTF-8.
    #[error("cannot be sent: {0}")]
    Unsendable(String),
    /// No address of a daemon.
    #[error("bad address {address:?}: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The kind of problem; none when there is no daemon to have one.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::NoDaemon { .. } => None,
            Self::Forbidden { .. } => Some(Code::Denied),
            Self::Silent { .. } => Some(Code::Timeout),
            Self::Problem(problem) => Some(problem.code),
            Self::Lost(_) | Self::Malformed(_) => Some(Code::Failed),
            Self::Unsendable(_) | Self::Address { .. } => Some(Code::Usage),
        }
    }

    /// Exit status of a command that ends with this error; 3 when there is no daemon.
    pub const fn exit_status(&self) -> u8 {
        match self.code() {
            Some(code) => code.exit_status(),
            None => 3,
        }
    }

    pub(super) fn sending(address: &Address, error: reqwest::Error) -> Self {
        let address = address.to_string();
        if error.is_timeout() && !error.is_connect() {
            return Self::Silent { address };
        }
        if !error.is_connect() {
            return Self::Lost(root(&error));
        }
        let denied = causes(&error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
        if denied {
            Self::Forbidden { address }
        } else {
            Self::NoDaemon {
                address,
                reason: root(&error),
            }
        }
    }

    pub(super) fn reading(error: reqwest::Error) -> Self {
        if error.is_decode() && causes(&error).any(|cause| cause.is::<serde_json::Error>()) {
            Self::Malformed(root(&error))
        } else {
            Self::Lost(root(&error))
        }
    }

    /// The problem that an answer carries.
    pub(super) async fn answered(mut response: Response) -> Self {
        let status = response.status();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > MAX_PROBLEM {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Self::Problem(problem),
            Err(_) => Self::Malformed(format!("{status} without a problem document")),
        }
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// What the innermost cause says.
fn root(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
