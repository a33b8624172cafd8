//! Links: what one user sends another.
use std::{fmt, str::FromStr};

use multiaddr::Multiaddr;

use crate::Cid;

/// `cardume:<CID>[/path][?n=<name>&s=<bytes>&p=<multiaddr>&p=…&w=<https origin>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub cid: Cid,
    /// Names below a directory, outermost first.
    pub path: Vec<String>,
    pub name: Option<String>,
    pub size: Option<u64>,
    /// Where to ask first; each ends in `/p2p/<peer>`. At most 8.
    pub peers: Vec<Multiaddr>,
    /// HTTPS origins.
    pub origins: Vec<String>,
}
impl Link {
    pub const MAX_LEN: usize = 2_000;
    pub const MAX_PEERS: usize = 8;
    pub fn new(cid: Cid) -> Self {
        Self {
            cid,
            path: Vec::new(),
            name: None,
            size: None,
            peers: Vec::new(),
            origins: Vec::new(),
        }
    }
}
impl fmt::Display for Link {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
/// Takes a link, a bare `CID[/path]`, or 64 hex digits of BLAKE3.
impl FromStr for Link {
    type Err = ParseLinkError;
    fn from_str(_s: &str) -> Result<Self, ParseLinkError> {
        todo!()
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseLinkError {
    #[error("{0}")]
    Cid(#[from] crate::cid::ParseCidError),
    #[error("the link is {0} characters long; at most 2000 are allowed")]
    TooLong(usize),
    #[error("the link needs the unknown parameter {0:?}; a newer cardume may understand it")]
    Required(String),
    #[error("bad value for {parameter}: {reason}")]
    Parameter { parameter: &'static str, reason: String },
    #[error("bad path in the link: {0}")]
    Path(String),
}
