//! Requests and responses of `transfer/1`.
use std::{ops::Range, time::Duration};

use bytes::Bytes;
use cardume_content::{Cid, GROUP, PieceSet};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

/// Bytes of slices in one response, at most: a reader allocates what the header says, up to this.
pub const MAX_PAYLOAD: u64 = 4 * 1024 * 1024 + 64 * 1024;
/// CIDs in one `GetMany`, at most; they fill 38 of the 64 KiB of a request.
pub const MAX_MANY: usize = 1024;
/// Ranges in one `Get`, at most.
pub const MAX_RANGES: usize = 64;
/// Bytes of a blob, at most (16 TiB); a reader of `Have` allocates one bit for each MiB a peer claims.
pub const MAX_SIZE: u64 = 1 << 44;
/// Runs of pieces in one `Have`, at most; a sender with more leaves the shortest ones out.
pub const MAX_RUNS: usize = 16 * 1024;
/// Peers in one `Swarm`, at most; a sender with more leaves the last ones out.
pub const MAX_PEERS: usize = 64;
/// Addresses of one peer in `Swarm`, at most; a sender with more leaves the last ones out.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of one address in `Swarm`, at most; a sender leaves longer ones out.
pub const MAX_ADDRESS_LEN: usize = 512;
/// How long the answer to a `Have` with `since` may be held back.
pub const HAVE_WAIT: Duration = Duration::from_secs(30);

/// What one peer asks of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Byte ranges of a blob, sorted and disjoint; the answer holds one slice a range, in order.
    Get {
        /// The blob.
        cid: Cid,
        /// Bytes wanted, at most [`MAX_RANGES`]. None is empty, but for `0..0` alone, which asks for an empty
        /// blob.
        ranges: Vec<Range<u64>>,
    },
    /// Whole small blobs.
    GetMany {
        /// The blobs; at most [`MAX_MANY`].
        cids: Vec<Cid>,
    },
    /// Which pieces the peer holds. With `since` (a version it told), it answers when that has changed,
    /// or after at most 30 s.
    Have {
        /// The blob.
        cid: Cid,
        /// The version that the asker knows.
        since: Option<u64>,
    },
    /// Other peers that hold or fetch it.
    Swarm {
        /// The blob or directory.
        cid: Cid,
    },
}

impl Request {
    /// Checks what both ends must hold: counts, and ranges that are sorted, disjoint and not empty.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Get { ranges, .. } => check_ranges(ranges),
            Self::GetMany { cids } if cids.is_empty() => Err("no content is asked for"),
            Self::GetMany { cids } if cids.len() > MAX_MANY => Err("too many CIDs in one request"),
            Self::GetMany { .. } | Self::Have { .. } | Self::Swarm { .. } => Ok(()),
        }
    }

    /// Whether the answer may be held back until something changes.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Have { since: Some(_), .. })
    }

    /// Whether the answer has no content in it.
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Have { .. } | Self::Swarm { .. })
    }

    /// Bytes of payload that an answer can need, at most.
    ///
    /// A range needs the groups that it touches, a parent for each, and the parents on the way to both of
    /// its ends; a tree over [`MAX_SIZE`] bytes has 28 levels.
    pub(crate) fn max_payload(&self) -> u64 {
        const PARENT: u64 = 64;
        const ENDS: u64 = 2 * 28 * PARENT;
        let groups = |range: &Range<u64>| range.end.div_ceil(GROUP).max(1) - range.start / GROUP;
        match self {
            Self::Get { ranges, .. } => ranges
                .iter()
                .map(|range| groups(range).saturating_mul(GROUP + PARENT).saturating_add(ENDS))
                .fold(0, u64::saturating_add)
                .min(MAX_PAYLOAD),
            Self::GetMany { .. } => MAX_PAYLOAD,
            Self::Have { .. } | Self::Swarm { .. } => 0,
        }
    }

    /// What answers this request.
    pub(crate) fn expects(&self) -> Expected {
        match self {
            Self::Get { ranges, .. } => Expected::Slices(ranges.len()),
            Self::GetMany { cids } => Expected::Many(cids.len()),
            Self::Have { .. } => Expected::Have,
            Self::Swarm { .. } => Expected::Swarm,
        }
    }
}

fn check_ranges(ranges: &[Range<u64>]) -> Result<(), &'static str> {
    if ranges.is_empty() {
        return Err("no range is asked for");
    }
    if ranges.len() > MAX_RANGES {
        return Err("too many ranges in one request");
    }
    let mut end = 0;
    for range in ranges {
        if range.is_empty() && (ranges.len() > 1 || range.start > 0 || range.end > 0) {
            return Err("a range is empty");
        }
        if range.start < end {
            return Err("ranges are not sorted and disjoint");
        }
        end = range.end;
    }
    if end > MAX_SIZE {
        Err("a range ends beyond the largest blob")
    } else {
        Ok(())
    }
}

/// What one peer answers another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Answers `Get`: verifiable slices.
    Slices {
        /// Bytes of the whole blob; the peer's word until a slice proves it.
        size: u64,
        /// One slice for each range asked, in order.
        slices: Vec<Bytes>,
    },
    /// Answers `GetMany`: one item for each CID asked, in order, until the payload is full; the rest must
    /// be asked again.
    Many {
        /// The items; never more than were asked for.
        items: Vec<Item>,
    },
    /// Answers `Have`; `pieces.len()` is `piece_count(size)`.
    Have {
        /// Bytes of the whole blob; the peer's word.
        size: u64,
        /// Changes whenever the pieces do; what to ask `since` next.
        version: u64,
        /// Pieces that the peer holds, verified.
        pieces: PieceSet,
    },
    /// Answers `Have`: the peer holds nothing, and is reading the blob from a web server.
    Coming {
        /// Bytes that it has, none of them proven.
        bytes: u64,
    },
    /// Answers `Swarm`.
    Swarm {
        /// Peers and their addresses, unproven.
        peers: Vec<SwarmPeer>,
    },
    /// The peer does not have it, or not the ranges asked for.
    NotFound,
    /// The peer has too much to do.
    Busy {
        /// How long to leave it alone; told in milliseconds.
        retry_after: Duration,
    },
    /// The peer may not, or does not want to, give it to us.
    Denied,
}

impl Response {
    /// Bytes of slices that follow the header.
    pub fn payload_len(&self) -> u64 {
        let len = |slice: &Bytes| slice.len() as u64;
        match self {
            Self::Slices { slices, .. } => slices.iter().map(len).sum(),
            Self::Many { items } => items.iter().filter_map(Item::slice).map(len).sum(),
            Self::Have { .. } | Self::Coming { .. } | Self::Swarm { .. } => 0,
            Self::NotFound | Self::Busy { .. } | Self::Denied => 0,
        }
    }
}

/// One blob of a `Many`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The whole blob.
    Blob {
        /// Its bytes; the peer's word until the slice proves it.
        size: u64,
        /// The slice of all its bytes.
        slice: Bytes,
    },
    /// The peer does not have it.
    NotFound,
    /// Too large for this way; ask with `Get`.
    TooLarge {
        /// Its bytes; the peer's word.
        size: u64,
    },
}

impl Item {
    /// The slice, where there is one.
    pub fn slice(&self) -> Option<&Bytes> {
        match self {
            Self::Blob { slice, .. } => Some(slice),
            Self::NotFound | Self::TooLarge { .. } => None,
        }
    }
}

/// One peer of a `Swarm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmPeer {
    /// Who.
    pub peer: PeerId,
    /// Where, as far as the sender knows.
    pub addresses: Vec<Multiaddr>,
}

/// The kind of answer, and how many parts, that a request of ours allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Slices(usize),
    Many(usize),
    Have,
    Swarm,
}

impl Expected {
    /// Whether `response` answers the question at all. What it says is for the asker to verify.
    pub(crate) fn accepts(self, response: &Response) -> bool {
        match (self, response) {
            (_, Response::NotFound | Response::Busy { .. } | Response::Denied)
            | (Self::Have, Response::Have { .. } | Response::Coming { .. })
            | (Self::Swarm, Response::Swarm { .. }) => true,
            (Self::Slices(asked), Response::Slices { slices, .. }) => slices.len() == asked,
            // Not one item would make the asker ask the same again for ever.
            (Self::Many(asked), Response::Many { items }) => !items.is_empty() && items.len() <= asked,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::{Hash, slice};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_honest_slice_is_longer_than_its_bound(
            size in 0..=MAX_SIZE,
            start in any::<u64>(),
            len in 1..=4_u64 << 20,
        ) {
            let start = start % size.max(1);
            let range = start..(start + len).min(size.max(start + 1));
            let need = slice::encoded_len(size, range.clone());
            let request = Request::Get { cid: Cid::blob(Hash::of(b"")), ranges: vec![range] };
            prop_assert!(need.min(MAX_PAYLOAD) <= request.max_payload());
        }
    }

    #[test]
    fn a_slice_of_one_group_is_not_given_room_for_four_mebibytes() {
        let ranges = vec![Range { start: 0, end: 1 }];
        let request = Request::Get {
            cid: Cid::blob(Hash::of(b"")),
            ranges,
        };
        assert!(request.max_payload() < 2 * GROUP);
    }

    #[test]
    fn answers_fit_their_questions() {
        let many = |n| Response::Many {
            items: vec![Item::NotFound; n],
        };
        assert!(Expected::Many(3).accepts(&many(1)) && Expected::Many(3).accepts(&many(3)));
        assert!(!Expected::Many(3).accepts(&many(4)));
        assert!(
            !Expected::Many(3).accepts(&many(0)),
            "it would be asked again for ever"
        );
        assert!(!Expected::Have.accepts(&many(1)));
        assert!(Expected::Have.accepts(&Response::Denied));
    }
}
