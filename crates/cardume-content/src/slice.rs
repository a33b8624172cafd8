//! Verifiable slices: tree nodes and bytes of a range, in pre-order, provable against the root alone.
//!
//! A slice covers whole groups: a range is widened to group borders (the last group may be short).
use std::{io, ops::Range};

use bytes::Bytes;

use crate::{
    GROUP, Hash,
    shape::{PAIR, Subtree, hash_group, hash_pair, split_pair},
};

/// `range` widened to whole groups and clamped to `size`.
///
/// Empty (but at its place) when the range is empty or begins at or after the end.
pub fn widen(size: u64, range: Range<u64>) -> Range<u64> {
    let start = range.start.min(size);
    let end = range.end.min(size);
    if start >= end {
        return start..start;
    }
    let start = start / GROUP * GROUP;
    let end = end.div_ceil(GROUP).saturating_mul(GROUP).min(size);
    start..end
}

/// The range whose slice proves that a blob has `size` bytes: its last group.
///
/// The slice of any other range verifies for a wrong `size` too, as long as the tree has the same shape on
/// the way to it; so believe a peer's size only after the slice of this range has been decoded.
pub fn proof_range(size: u64) -> Range<u64> {
    size.saturating_sub(1) / GROUP * GROUP..size
}

/// Bytes that the slice of `range` takes; saturates for sizes near 2⁶⁴.
pub fn encoded_len(size: u64, range: Range<u64>) -> u64 {
    fn parents(subtree: Subtree, groups: &Range<u64>) -> u64 {
        let Range { start, end } = subtree.range();
        if end <= groups.start || groups.end <= start {
            0
        } else if groups.start <= start && end <= groups.end {
            subtree.parents()
        } else {
            let (left, right) = subtree.halves();
            1 + parents(left, groups) + parents(right, groups)
        }
    }
    let bytes = widen(size, range.clone());
    let parents = parents(Subtree::whole(size), &groups(size, range));
    (bytes.end - bytes.start).saturating_add(parents * PAIR)
}

/// Groups that the slice of `range` holds. An empty blob's only group is in every slice of it.
fn groups(size: u64, range: Range<u64>) -> Range<u64> {
    if size == 0 {
        return 0..1;
    }
    let bytes = widen(size, range);
    if bytes.is_empty() {
        return 0..0;
    }
    bytes.start / GROUP..bytes.end.div_ceil(GROUP)
}

/// Appends the slice of `range` to `out`, verifying every byte read on the way.
///
/// `data(offset, buffer)` fills the buffer with bytes of the blob, `tree(offset, buffer)` with its tree.
/// Who makes many slices does well to use one `out` again: fresh memory costs more than hashing.
///
/// # Errors
///
/// Fails when reading fails or what was read does not verify; `out` is then as it was before.
pub fn encode<D, T>(
    root: Hash,
    size: u64,
    range: Range<u64>,
    mut data: D,
    mut tree: T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError>
where
    D: FnMut(u64, &mut [u8]) -> io::Result<()>,
    T: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    let before = out.len();
    let mut walk = Walk::new(root, size, range);
    let done = loop {
        let Some(step) = walk.next() else { break Ok(()) };
        let start = out.len();
        out.resize(start + step.len(size), 0);
        if let Err(error) = walk.read(&step, &mut out[start..], &mut data, &mut tree) {
            break Err(error);
        }
    };
    if done.is_err() {
        out.truncate(before);
    }
    done
}

/// Fills `out`, which has [`encoded_len`] bytes, with the slice of `range`, as [`encode`] would.
///
/// Memory that is used again need not be cleared for it, which costs a tenth of the hashing.
///
/// # Errors
///
/// Fails when reading fails, what was read does not verify, or `out` has another length; what is in it is then of no use.
pub fn fill<D, T>(
    root: Hash,
    size: u64,
    range: Range<u64>,
    mut data: D,
    mut tree: T,
    out: &mut [u8],
) -> Result<(), EncodeError>
where
    D: FnMut(u64, &mut [u8]) -> io::Result<()>,
    T: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    let mut walk = Walk::new(root, size, range);
    let mut rest = out;
    while let Some(step) = walk.next() {
        let now = cut(&mut rest, step.len(size))?;
        walk.read(&step, now, &mut data, &mut tree)?;
    }
    filled(rest)
}

/// Fills `out` with the bytes of `range`, [widened](widen) to whole groups, verified; without their slice.
///
/// # Errors
///
/// As [`fill`].
pub fn read<D, T>(
    root: Hash,
    size: u64,
    range: Range<u64>,
    mut data: D,
    mut tree: T,
    out: &mut [u8],
) -> Result<(), EncodeError>
where
    D: FnMut(u64, &mut [u8]) -> io::Result<()>,
    T: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    let mut walk = Walk::new(root, size, range);
    let mut pair = [0; PAIR as usize];
    let mut rest = out;
    while let Some(step) = walk.next() {
        let now = match step.subtree.is_group() {
            true => cut(&mut rest, step.len(size))?,
            false => &mut pair,
        };
        walk.read(&step, now, &mut data, &mut tree)?;
    }
    filled(rest)
}

/// Takes the first `len` bytes of what is still to be filled.
fn cut<'a>(rest: &mut &'a mut [u8], len: usize) -> Result<&'a mut [u8], EncodeError> {
    let parts = std::mem::take(rest).split_at_mut_checked(len);
    let (now, behind) = parts.ok_or_else(other_length)?;
    *rest = behind;
    Ok(now)
}

fn filled(rest: &[u8]) -> Result<(), EncodeError> {
    match rest {
        [] => Ok(()),
        _ => Err(other_length().into()),
    }
}

fn other_length() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "that many bytes do not belong there")
}

/// Why a slice could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// What was read is not what was hashed.
    #[error("the bytes at {offset} do not verify: the content has changed")]
    Changed {
        /// Where the group begins, or the first group below a parent.
        offset: u64,
    },
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A verified part of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A parent: where it stands in the tree, and its two chaining values.
    Parent {
        /// Bytes from the beginning of the tree.
        offset: u64,
        /// Left and right chaining value.
        pair: [u8; 64],
    },
    /// Bytes of the blob.
    Leaf {
        /// Bytes from the beginning of the blob.
        offset: u64,
        /// One group, sharing the slice's memory.
        data: Bytes,
    },
}

/// Verifies `slice` as the slice of `range` of the blob `root` with `size` bytes, part by part.
///
/// Ends after the first error. Bytes left over are an error. A slice that reaches the last group proves
/// `size`; no other does (see [`proof_range`]).
pub fn decode(root: Hash, size: u64, range: Range<u64>, slice: Bytes) -> Decoder {
    Decoder {
        walk: Walk::new(root, size, range),
        size,
        slice,
    }
}

/// The verified parts of a slice, in the order in which they stand in it.
#[derive(Debug, Clone)]
pub struct Decoder {
    walk: Walk,
    size: u64,
    slice: Bytes,
}

impl Decoder {
    fn fail(&mut self, error: DecodeError) -> Option<Result<Part, DecodeError>> {
        self.walk.stop();
        self.slice.clear();
        Some(Err(error))
    }
}

impl Iterator for Decoder {
    type Item = Result<Part, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(step) = self.walk.next() else {
            return match self.slice.len() as u64 {
                0 => None,
                trailing => self.fail(DecodeError::Trailing(trailing)),
            };
        };
        let len = step.len(self.size);
        if self.slice.len() < len {
            return self.fail(DecodeError::Truncated);
        }
        let bytes = self.slice.split_to(len);
        let offset = step.subtree.first * GROUP;
        Some(Ok(match self.walk.take(&step, &bytes) {
            Err(Mismatch) => return self.fail(DecodeError::Mismatch { offset }),
            Ok(Some(pair)) => Part::Parent {
                offset: step.subtree.offset(),
                pair,
            },
            Ok(None) => Part::Leaf { offset, data: bytes },
        }))
    }
}

impl std::iter::FusedIterator for Decoder {}

/// Why a slice was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A part is not what the root commits to.
    #[error("the slice does not verify at byte {offset}")]
    Mismatch {
        /// Where the group begins, or the first group below a parent.
        offset: u64,
    },
    /// The slice lacks parts.
    #[error("the slice ends too early")]
    Truncated,
    /// The slice has more than it should.
    #[error("{0} bytes too many after the slice")]
    Trailing(u64),
}

/// The way through a slice: what comes next, and which hash it must have.
#[derive(Debug, Clone)]
struct Walk {
    groups: Range<u64>,
    /// What is still to come, next on top: at most one subtree for each level of the tree.
    stack: Vec<Step>,
}

/// A parent or a group on the way, not yet seen.
#[derive(Debug, Clone)]
struct Step {
    subtree: Subtree,
    expected: [u8; 32],
    is_root: bool,
}

impl Step {
    /// Bytes that it takes in the slice: at most those of a group.
    fn len(&self, size: u64) -> usize {
        if self.subtree.is_group() {
            let bytes = self.subtree.bytes(size);
            (bytes.end - bytes.start) as usize
        } else {
            PAIR as usize
        }
    }
}

/// What was seen has another hash.
struct Mismatch;

impl Walk {
    fn new(root: Hash, size: u64, range: Range<u64>) -> Self {
        let top = Step {
            subtree: Subtree::whole(size),
            expected: *root.as_bytes(),
            is_root: true,
        };
        Self {
            groups: groups(size, range),
            stack: vec![top],
        }
    }

    fn next(&mut self) -> Option<Step> {
        while let Some(step) = self.stack.pop() {
            let Range { start, end } = step.subtree.range();
            if start < self.groups.end && self.groups.start < end {
                return Some(step);
            }
        }
        None
    }

    /// Reads the bytes of a step, and verifies them.
    fn read(
        &mut self,
        step: &Step,
        bytes: &mut [u8],
        data: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
        tree: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<(), EncodeError> {
        if step.subtree.is_group() {
            data(step.subtree.first * GROUP, bytes)?;
        } else {
            tree(step.subtree.offset(), bytes)?;
        }
        match self.take(step, bytes) {
            Ok(_) => Ok(()),
            Err(Mismatch) => Err(EncodeError::Changed {
                offset: step.subtree.first * GROUP,
            }),
        }
    }

    /// Verifies the bytes of a step; a parent's pair opens the way below it.
    fn take(&mut self, step: &Step, bytes: &[u8]) -> Result<Option<[u8; 64]>, Mismatch> {
        let Step {
            subtree,
            expected,
            is_root,
        } = step;
        if subtree.is_group() {
            let hash = hash_group(subtree.first * GROUP, bytes, *is_root);
            return if hash == *expected {
                Ok(None)
            } else {
                Err(Mismatch)
            };
        }
        let pair = <[u8; 64]>::try_from(bytes).map_err(|_| Mismatch)?;
        if hash_pair(&pair, *is_root) != *expected {
            return Err(Mismatch);
        }
        let (left, right) = subtree.halves();
        let (left_hash, right_hash) = split_pair(&pair);
        self.stack.push(Step {
            subtree: right,
            expected: right_hash,
            is_root: false,
        });
        self.stack.push(Step {
            subtree: left,
            expected: left_hash,
            is_root: false,
        });
        Ok(Some(pair))
    }

    fn stop(&mut self) {
        self.stack.clear();
    }
}
