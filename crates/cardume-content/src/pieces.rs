//! Which pieces of a blob are there.
use std::ops::Range;

/// Number of pieces in a blob of `size` bytes; an empty blob has one empty piece.
pub fn piece_count(_size: u64) -> u64 {
    todo!()
}
/// Byte range of piece `index` in a blob of `size` bytes.
pub fn piece_range(_size: u64, _index: u64) -> Range<u64> {
    todo!()
}

/// A set of piece indexes of one blob: a bitmap of `len` bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceSet {
    _private: (),
}
impl PieceSet {
    pub fn empty(_len: u64) -> Self {
        todo!()
    }
    pub fn full(_len: u64) -> Self {
        todo!()
    }
    /// Number of pieces of the blob.
    pub fn len(&self) -> u64 {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    pub fn count(&self) -> u64 {
        todo!()
    }
    pub fn is_full(&self) -> bool {
        todo!()
    }
    pub fn contains(&self, _index: u64) -> bool {
        todo!()
    }
    /// Adds one; whether it was new.
    pub fn insert(&mut self, _index: u64) -> bool {
        todo!()
    }
    pub fn remove(&mut self, _index: u64) -> bool {
        todo!()
    }
    pub fn union_with(&mut self, _other: &Self) {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::empty()
    }
    pub fn iter_missing(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::empty()
    }
    /// Runs `[start, end)` in order: the compact form on the wire.
    pub fn runs(&self) -> Vec<Range<u64>> {
        todo!()
    }
    /// Rebuilds from runs; `None` unless they are sorted, disjoint, non-empty and below `len`.
    pub fn from_runs(_len: u64, _runs: &[Range<u64>]) -> Option<Self> {
        todo!()
    }
}
