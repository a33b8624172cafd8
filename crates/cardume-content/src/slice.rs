//! Verifiable slices: tree nodes and bytes of a range, in pre-order, provable against the root alone.
//!
//! A slice covers whole groups: a range is widened to group borders (the last group may be short).
use std::{io, ops::Range};

use bytes::Bytes;

use crate::Hash;

/// `range` widened to whole groups and clamped to `size`.
pub fn widen(_size: u64, _range: Range<u64>) -> Range<u64> {
    todo!()
}
/// Bytes that the slice of `range` takes.
pub fn encoded_len(_size: u64, _range: Range<u64>) -> u64 {
    todo!()
}

/// Appends the slice of `range` to `out`, verifying every byte read on the way.
///
/// `data(offset, buffer)` fills the buffer with bytes of the blob, `tree(offset, buffer)` with its tree.
pub fn encode<D, T>(
    _root: Hash,
    _size: u64,
    _range: Range<u64>,
    _data: D,
    _tree: T,
    _out: &mut Vec<u8>,
) -> Result<(), EncodeError>
where
    D: FnMut(u64, &mut [u8]) -> io::Result<()>,
    T: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    todo!()
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("the bytes at {offset} do not verify: the content has changed")]
    Changed { offset: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A verified part of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A parent: where it stands in the tree, and its two chaining values.
    Parent { offset: u64, pair: [u8; 64] },
    /// Bytes of the blob.
    Leaf { offset: u64, data: Bytes },
}

/// Verifies `slice` as the slice of `range` of the blob `root` with `size` bytes, part by part.
///
/// Ends after the first error. Bytes left over are an error. A slice that reaches the last group proves
/// `size`; no other does.
pub fn decode(_root: Hash, _size: u64, _range: Range<u64>, _slice: Bytes) -> Decoder {
    todo!()
}

pub struct Decoder {
    _private: (),
}
impl Iterator for Decoder {
    type Item = Result<Part, DecodeError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the slice does not verify at byte {offset}")]
    Mismatch { offset: u64 },
    #[error("the slice ends too early")]
    Truncated,
    #[error("{0} bytes too many after the slice")]
    Trailing(u64),
}
