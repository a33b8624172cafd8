//! Requests and responses of `transfer/1`.
use std::{ops::Range, time::Duration};

use bytes::Bytes;
use cardume_content::{Cid, PieceSet};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

/// Bytes of slices in one response, at most.
pub const MAX_PAYLOAD: u64 = 4 * 1024 * 1024 + 64 * 1024;
/// CIDs in one `GetMany`, at most.
pub const MAX_MANY: usize = 1024;
/// Ranges in one `Get`, at most.
pub const MAX_RANGES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Byte ranges of a blob, sorted and disjoint; the answer holds one slice a range, in order.
    Get { cid: Cid, ranges: Vec<Range<u64>> },
    /// Whole small blobs.
    GetMany { cids: Vec<Cid> },
    /// Which pieces the peer holds. With `since` (a version it told), it answers when that has changed,
    /// or after at most 30 s.
    Have { cid: Cid, since: Option<u64> },
    /// Other peers that hold or fetch it.
    Swarm { cid: Cid },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `size` is the peer's word until a slice proves it.
    Slices {
        size: u64,
        slices: Vec<Bytes>,
    },
    /// One item for each CID asked, in order, until the payload is full; the rest must be asked again.
    Many {
        items: Vec<Item>,
    },
    /// `pieces.len()` is `piece_count(size)`.
    Have {
        size: u64,
        version: u64,
        pieces: PieceSet,
    },
    Swarm {
        peers: Vec<SwarmPeer>,
    },
    NotFound,
    Busy {
        retry_after: Duration,
    },
    Denied,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Blob { size: u64, slice: Bytes },
    NotFound,
    TooLarge { size: u64 },
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmPeer {
    pub peer: PeerId,
    pub addresses: Vec<Multiaddr>,
}
