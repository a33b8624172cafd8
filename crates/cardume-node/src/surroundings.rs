//! What the program that runs a node hands to it, besides its configuration.
use std::os::unix::net::UnixListener;

use cardume_control::{Doctor, Log};

/// What the program that runs a node hands to it; by default, nothing.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// A control socket that somebody else has made and listens already, at the path in `config.control.listen`.
    pub control: Option<UnixListener>,
    /// Where the program puts the lines of its log.
    pub log: Log,
    /// What examines the node when a caller wants it.
    pub doctor: Doctor,
}
