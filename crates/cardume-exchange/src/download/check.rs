//! Answers verified and written, on blocking threads.
use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use cardume_content::{
    Cid, GROUP, Hash, Manifest, PIECE, PieceSet,
    pieces::{piece_count, piece_range},
    slice::{self, DecodeError, Part},
};
use cardume_store::{Store, Target, WriteError};
use libp2p_identity::PeerId;

use super::Sink;
use crate::{
    FetchError,
    goal::Goal,
    schedule::{BlobId, ItemId, Ticket},
};

/// What became of an answer.
pub(super) enum Checked {
    Piece {
        ticket: Ticket,
        peer: PeerId,
        blob: BlobId,
        piece: u64,
        got: Result<Got, Failure>,
    },
    Many {
        ticket: Ticket,
        peer: PeerId,
        lacking: Vec<ItemId>,
        results: Vec<(ItemId, Result<Kept, Failure>)>,
    },
    /// Small blobs from a web server.
    Web {
        results: Vec<(ItemId, Result<Kept, Failure>)>,
    },
}

/// What a piece brought.
pub(super) enum Got {
    /// So many bytes of content.
    Written(u64),
    /// The proof of the size; what was there before, and what has come with the proof, are in `held`.
    Opened {
        fetch: cardume_store::Fetch,
        held: PieceSet,
        bytes: u64,
    },
}

/// A small blob that is verified.
pub(super) struct Kept {
    pub(super) size: u64,
    pub(super) manifest: Option<Manifest>,
    pub(super) fetch: Option<cardume_store::Fetch>,
}

/// Why an answer is of no use.
pub(super) enum Failure {
    /// The peer lied.
    Lie(String),
    /// Going on is of no use.
    Fatal(FetchError),
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Slice(error) => error.into(),
            error => Self::Fatal(error.into()),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Lie(error.to_string())
    }
}

/// What is done with a piece on a blocking thread.
pub(super) type Work = Box<dyn FnOnce(&Store) -> Result<Got, Failure> + Send>;

/// The bytes that prove how large a blob is: as few as do, or all of a blob of one piece.
pub(super) fn proof_range(size: u64) -> Range<u64> {
    if size <= PIECE {
        return 0..size;
    }
    size.saturating_sub(1) / GROUP * GROUP..size
}

/// One slice that came.
pub(super) struct Check {
    hash: Hash,
    size: u64,
    range: Range<u64>,
    slice: Bytes,
}

impl Check {
    pub(super) const fn new(hash: Hash, size: u64, range: Range<u64>, slice: Bytes) -> Self {
        Self {
            hash,
            size,
            range,
            slice,
        }
    }

    /// Verifies and writes.
    pub(super) fn write(self, fetch: Arc<cardume_store::Fetch>) -> Work {
        Box::new(move |_| Ok(Got::Written(fetch.write(self.range, self.slice)?)))
    }

    /// Verifies the end, which proves the size, and only then opens the blob, and takes in what came `along`.
    pub(super) fn prove(
        self,
        expected: Option<u64>,
        max: u64,
        goal: Goal,
        along: Vec<(Range<u64>, Bytes)>,
    ) -> Work {
        Box::new(move |store| {
            for part in slice::decode(self.hash, self.size, self.range.clone(), self.slice.clone()) {
                part?;
            }
            check_size(self.size, expected, max)?;
            let target = goal.target().map_err(Failure::Fatal)?;
            // A root of which nobody knew the size before has not claimed any room.
            let claim = expected
                .is_none()
                .then(|| claim(store, self.hash, self.size, &target))
                .transpose()?;
            let fetch = store.fetch(self.hash, self.size, target)?;
            drop(claim);
            // Of a longer blob the end is a part of a piece, and comes again with the rest of it.
            let last = piece_range(self.size, piece_count(self.size).saturating_sub(1));
            let mut bytes = if self.range == last {
                fetch.write(last, self.slice)?
            } else {
                0
            };
            for (range, slice) in along {
                bytes += fetch.write(range, slice)?;
            }
            let held = fetch.pieces();
            Ok(Got::Opened { fetch, held, bytes })
        })
    }
}

/// Has room promised for a blob of which nobody knew the size before.
pub(super) fn claim(
    store: &Store,
    hash: Hash,
    size: u64,
    target: &Target,
) -> Result<cardume_store::Claim, WriteError> {
    let site = match target {
        Target::Store => None,
        Target::File { temporary, .. } => Some(temporary.as_path()),
    };
    store.claim(&[(hash, size)], site)
}

/// Compares a proven size with what was expected.
fn check_size(size: u64, expected: Option<u64>, max: u64) -> Result<(), Failure> {
    if let Some(expected) = expected
        && expected != size
    {
        let reason = format!("a directory says that a file has {expected} bytes, but it has {size}");
        return Err(Failure::Fatal(FetchError::Refused(reason)));
    }
    if size > max {
        let reason = format!(
            "it has {size} bytes, more than the {max} that [exchange] allows (max_total, max_manifest)"
        );
        return Err(Failure::Fatal(FetchError::Limit(reason)));
    }
    Ok(())
}

/// A small blob that came.
pub(super) struct Small {
    pub(super) id: ItemId,
    pub(super) cid: Cid,
    pub(super) size: u64,
    pub(super) expected: Option<u64>,
    pub(super) sink: Sink,
    pub(super) slice: Bytes,
}

/// Verifies and keeps small blobs; ends with the first lie.
pub(super) fn small(store: &Store, blobs: Vec<Small>) -> Vec<(ItemId, Result<Kept, Failure>)> {
    let mut results = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let id = blob.id;
        let kept = keep(store, blob);
        let lied = matches!(kept, Err(Failure::Lie(_)));
        results.push((id, kept));
        if lied {
            break;
        }
    }
    results
}

fn keep(store: &Store, blob: Small) -> Result<Kept, Failure> {
    let (hash, size) = (blob.cid.hash(), blob.size);
    match blob.sink {
        Sink::Manifest(limits) => {
            let content = decode(hash, size, blob.slice)?;
            check_size(size, None, limits.manifest_bytes)?;
            let manifest = Manifest::decode(&content, &limits);
            let manifest = manifest.map_err(|error| Failure::Fatal(error.into()))?;
            store.put(blob.cid, &content)?;
            Ok(Kept {
                size,
                manifest: Some(manifest),
                fetch: None,
            })
        }
        Sink::Goal(goal) => {
            for part in slice::decode(hash, size, 0..size, blob.slice.clone()) {
                part?;
            }
            check_size(size, blob.expected, u64::MAX)?;
            let fetch = store.fetch(hash, size, goal.target().map_err(Failure::Fatal)?)?;
            fetch.write(0..size, blob.slice)?;
            if matches!(goal, Goal::Store) && *fetch.target() == Target::Store {
                fetch.clone().finish()?;
            }
            Ok(Kept {
                size,
                manifest: None,
                fetch: Some(fetch),
            })
        }
    }
}

/// Verifies the slice of a whole blob and returns its bytes.
fn decode(hash: Hash, size: u64, slice: Bytes) -> Result<Bytes, DecodeError> {
    let mut content = BytesMut::new();
    for part in slice::decode(hash, size, 0..size, slice) {
        if let Part::Leaf { data, .. } = part? {
            content.extend_from_slice(&data);
        }
    }
    Ok(content.freeze())
}
