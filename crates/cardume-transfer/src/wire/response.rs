//! Headers of responses in DAG-CBOR: an array of the kind and its fields.
//!
//! ```text
//! [0, size, [len, …]]               Slices; the payload is all slices, one after another
//! [1, [[status, size, len], …]]     Many; status 0 blob, 1 not found, 2 too large; payload as above
//! [2, size, version, [gap, run, …]] Have
//! [3, [[peer, [address, …]], …]]    Swarm
//! [4]                               NotFound
//! [5, milliseconds]                 Busy
//! [6]                               Denied
//! [7, bytes]                        Coming
//! ```
use std::{fmt, io, ops::Range, time::Duration};

use bytes::Bytes;
use cardume_content::{PieceSet, pieces::piece_count};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};
use serde_bytes::ByteBuf;

use super::{invalid, refused, request::field};
use crate::{
    Response, SwarmPeer,
    message::{
        Item, MAX_ADDRESS_LEN, MAX_ADDRESSES, MAX_MANY, MAX_PAYLOAD, MAX_PEERS, MAX_RANGES, MAX_RUNS,
        MAX_SIZE,
    },
};

const SLICES: u64 = 0;
const MANY: u64 = 1;
const HAVE: u64 = 2;
const SWARM: u64 = 3;
const NOT_FOUND: u64 = 4;
const BUSY: u64 = 5;
const DENIED: u64 = 6;
const COMING: u64 = 7;

const BLOB: u64 = 0;
const ABSENT: u64 = 1;
const TOO_LARGE: u64 = 2;

/// How long a peer may tell us to stay away, at most; more is cut to this.
const MAX_RETRY: Duration = Duration::from_secs(3600);

pub(super) fn encode(response: &Response) -> io::Result<Vec<u8>> {
    check(response).map_err(refused)?;
    match response {
        Response::Slices { size, slices } => {
            let lens: Vec<_> = slices.iter().map(Bytes::len).collect();
            serde_ipld_dagcbor::to_vec(&(SLICES, size, lens))
        }
        Response::Many { items } => {
            serde_ipld_dagcbor::to_vec(&(MANY, items.iter().map(item_form).collect::<Vec<_>>()))
        }
        Response::Have {
            size,
            version,
            pieces,
        } => serde_ipld_dagcbor::to_vec(&(HAVE, size, version, gaps(&pieces.longest_runs(MAX_RUNS)))),
        Response::Swarm { peers } => {
            let peers: Vec<_> = peers.iter().take(MAX_PEERS).map(peer_form).collect();
            serde_ipld_dagcbor::to_vec(&(SWARM, peers))
        }
        Response::NotFound => serde_ipld_dagcbor::to_vec(&(NOT_FOUND,)),
        Response::Busy { retry_after } => {
            serde_ipld_dagcbor::to_vec(&(BUSY, retry_after.min(&MAX_RETRY).as_millis() as u64))
        }
        Response::Denied => serde_ipld_dagcbor::to_vec(&(DENIED,)),
        Response::Coming { bytes } => serde_ipld_dagcbor::to_vec(&(COMING, bytes)),
    }
    .map_err(refused)
}

/// Checks what a reader would refuse, so that we are never taken for a liar.
fn check(response: &Response) -> Result<(), &'static str> {
    let (size, parts, max_parts) = match response {
        Response::Slices { size, slices } => (*size, slices.len(), MAX_RANGES),
        Response::Many { items } => (0, items.len(), MAX_MANY),
        Response::Have { size, .. } => (*size, 0, 0),
        Response::Coming { bytes } => (*bytes, 0, 0),
        Response::Swarm { .. } | Response::NotFound | Response::Busy { .. } | Response::Denied => (0, 0, 0),
    };
    if response.payload_len() > MAX_PAYLOAD {
        return Err("the payload is too large");
    }
    if size > MAX_SIZE {
        return Err("the blob is larger than any may be");
    }
    if parts > max_parts {
        Err("there are too many parts")
    } else {
        Ok(())
    }
}

/// The slices of a response, in the order of its header.
pub(super) fn into_slices(response: Response) -> Vec<Bytes> {
    match response {
        Response::Slices { slices, .. } => slices,
        Response::Many { items } => items.iter().filter_map(|item| item.slice().cloned()).collect(),
        _ => Vec::new(),
    }
}

fn item_form(item: &Item) -> (u64, u64, u64) {
    match item {
        Item::Blob { size, slice } => (BLOB, *size, slice.len() as u64),
        Item::NotFound => (ABSENT, 0, 0),
        Item::TooLarge { size } => (TOO_LARGE, *size, 0),
    }
}

fn peer_form(peer: &SwarmPeer) -> (ByteBuf, Vec<ByteBuf>) {
    let addresses = peer
        .addresses
        .iter()
        .map(Multiaddr::to_vec)
        .filter(|bytes| bytes.len() <= MAX_ADDRESS_LEN);
    (
        ByteBuf::from(peer.peer.to_bytes()),
        addresses.take(MAX_ADDRESSES).map(ByteBuf::from).collect(),
    )
}

/// Runs as distances: pieces missing before each, pieces in it.
fn gaps(runs: &[Range<u64>]) -> Vec<u64> {
    let mut end = 0;
    runs.iter()
        .flat_map(|run| {
            let pair = [run.start - end, run.end - run.start];
            end = run.end;
            pair
        })
        .collect()
}

/// A response without its payload.
pub(super) struct Header {
    shape: Shape,
    payload: usize,
}

enum Shape {
    /// All there is.
    Whole(Response),
    Slices {
        size: u64,
        lens: Vec<usize>,
    },
    Many {
        items: Vec<(u64, u64, usize)>,
    },
}

impl Header {
    pub(super) fn decode(header: &[u8]) -> io::Result<Self> {
        serde_ipld_dagcbor::from_slice(header).map_err(invalid)
    }

    /// Bytes of payload that follow; never more than `MAX_PAYLOAD`.
    pub(super) fn payload_len(&self) -> usize {
        self.payload
    }

    /// Shares out the payload, whose length is [`payload_len`](Self::payload_len).
    pub(super) fn join(self, mut payload: Bytes) -> Response {
        match self.shape {
            Shape::Whole(response) => response,
            Shape::Slices { size, lens } => Response::Slices {
                size,
                slices: lens.into_iter().map(|len| payload.split_to(len)).collect(),
            },
            Shape::Many { items } => Response::Many {
                items: items
                    .into_iter()
                    .map(|(status, size, len)| match status {
                        BLOB => Item::Blob {
                            size,
                            slice: payload.split_to(len),
                        },
                        TOO_LARGE => Item::TooLarge { size },
                        _ => Item::NotFound,
                    })
                    .collect(),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Header, A::Error> {
        let response = match field::<u64, _>(&mut seq)? {
            SLICES => return slices(size(field(&mut seq)?)?, field(&mut seq)?),
            MANY => return many(field(&mut seq)?),
            HAVE => have(size(field(&mut seq)?)?, field(&mut seq)?, field(&mut seq)?)?,
            SWARM => swarm(field(&mut seq)?)?,
            NOT_FOUND => Response::NotFound,
            BUSY => {
                let retry_after = Duration::from_millis(field(&mut seq)?).min(MAX_RETRY);
                Response::Busy { retry_after }
            }
            DENIED => Response::Denied,
            COMING => Response::Coming {
                bytes: size(field(&mut seq)?)?,
            },
            kind => {
                return Err(de::Error::custom(format_args!(
                    "responses of kind {kind} are not known"
                )));
            }
        };
        Ok(Header {
            shape: Shape::Whole(response),
            payload: 0,
        })
    }
}

fn size<E: de::Error>(size: u64) -> Result<u64, E> {
    if size > MAX_SIZE {
        Err(E::custom("a blob is larger than any may be"))
    } else {
        Ok(size)
    }
}

/// Adds up lengths, each of which is then known to be small.
fn payload<E: de::Error>(lens: impl Iterator<Item = u64>) -> Result<usize, E> {
    let total = lens.fold(0, u64::saturating_add);
    if total > MAX_PAYLOAD {
        return Err(E::custom(format_args!(
            "a payload of {total} bytes; at most {MAX_PAYLOAD} are allowed"
        )));
    }
    Ok(total as usize)
}

fn slices<E: de::Error>(size: u64, lens: Vec<u64>) -> Result<Header, E> {
    if lens.len() > MAX_RANGES {
        return Err(E::custom("too many slices"));
    }
    let payload = payload(lens.iter().copied())?;
    let lens = lens.into_iter().map(|len| len as usize).collect();
    Ok(Header {
        shape: Shape::Slices { size, lens },
        payload,
    })
}

fn many<E: de::Error>(items: Vec<(u64, u64, u64)>) -> Result<Header, E> {
    if items.len() > MAX_MANY {
        return Err(E::custom("too many items"));
    }
    for &(status, bytes, len) in &items {
        size(bytes)?;
        match (status, bytes, len) {
            (BLOB, ..) | (TOO_LARGE, _, 0) | (ABSENT, 0, 0) => {}
            _ => return Err(E::custom("an item is not well formed")),
        }
    }
    let payload = payload(items.iter().map(|item| item.2))?;
    let items = items
        .into_iter()
        .map(|(status, size, len)| (status, size, len as usize))
        .collect();
    Ok(Header {
        shape: Shape::Many { items },
        payload,
    })
}

fn have<E: de::Error>(size: u64, version: u64, gaps: Vec<u64>) -> Result<Response, E> {
    let malformed = || E::custom("the runs of pieces are not well formed");
    let (pairs, []) = gaps.as_chunks::<2>() else {
        return Err(malformed());
    };
    if pairs.len() > MAX_RUNS {
        return Err(E::custom("too many runs of pieces"));
    }
    let mut runs = Vec::with_capacity(pairs.len());
    let mut end = 0_u64;
    for &[gap, run] in pairs {
        let start = end.checked_add(gap).ok_or_else(malformed)?;
        end = start.checked_add(run).ok_or_else(malformed)?;
        runs.push(start..end);
    }
    let pieces = PieceSet::from_runs(piece_count(size), &runs).ok_or_else(malformed)?;
    Ok(Response::Have {
        size,
        version,
        pieces,
    })
}

fn swarm<E: de::Error>(peers: Vec<(ByteBuf, Vec<ByteBuf>)>) -> Result<Response, E> {
    if peers.len() > MAX_PEERS {
        return Err(E::custom("too many peers"));
    }
    let peer = |(id, addresses): (ByteBuf, Vec<ByteBuf>)| {
        if addresses.len() > MAX_ADDRESSES || addresses.iter().any(|bytes| bytes.len() > MAX_ADDRESS_LEN) {
            return Err(E::custom("too many or too long addresses"));
        }
        let peer = PeerId::from_bytes(&id).map_err(E::custom)?;
        // An address of a kind that we do not know is no fault of the sender.
        let addresses = addresses
            .into_iter()
            .filter_map(|bytes| Multiaddr::try_from(bytes.into_vec()).ok())
            .collect();
        Ok(SwarmPeer { peer, addresses })
    };
    Ok(Response::Swarm {
        peers: peers.into_iter().map(peer).collect::<Result<_, _>>()?,
    })
}
