//! The shape of a hash tree: which groups a subtree covers, and where its parents stand.
use std::ops::Range;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::GROUP;

/// Bytes of a parent: left and right chaining value.
pub(crate) const PAIR: u64 = 64;

/// A subtree: `groups` groups from group `first` on, its parents from parent `at` on, in pre-order.
///
/// A blob has at most 2⁴⁸ groups, so nothing here overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subtree {
    pub(crate) first: u64,
    pub(crate) groups: u64,
    pub(crate) at: u64,
}

impl Subtree {
    /// The tree of a blob of `size` bytes; an empty blob has one empty group.
    pub(crate) fn whole(size: u64) -> Self {
        Self {
            first: 0,
            groups: size.div_ceil(GROUP).max(1),
            at: 0,
        }
    }

    /// Whether it is a single group, which has no parent.
    pub(crate) fn is_group(self) -> bool {
        self.groups == 1
    }

    /// Number of parents in it.
    pub(crate) fn parents(self) -> u64 {
        self.groups - 1
    }

    /// Its halves: the left one has the largest power of two below its groups (BLAKE3 paper, section 2.1).
    pub(crate) fn halves(self) -> (Self, Self) {
        debug_assert!(!self.is_group(), "a group has no halves");
        let left = self.groups.div_ceil(2).next_power_of_two();
        (
            Self {
                first: self.first,
                groups: left,
                at: self.at + 1,
            },
            Self {
                first: self.first + left,
                groups: self.groups - left,
                at: self.at + left,
            },
        )
    }

    /// Its groups.
    pub(crate) fn range(self) -> Range<u64> {
        self.first..self.first + self.groups
    }

    /// Its bytes in a blob of `size` bytes.
    pub(crate) fn bytes(self, size: u64) -> Range<u64> {
        let Range { start, end } = self.range();
        start * GROUP..end.saturating_mul(GROUP).min(size)
    }

    /// Where its top parent stands in the tree, in bytes.
    pub(crate) fn offset(self) -> u64 {
        self.at * PAIR
    }
}

/// Hashes one group that begins at byte `offset`; `is_root` when it is the whole blob.
pub(crate) fn hash_group(offset: u64, bytes: &[u8], is_root: bool) -> [u8; 32] {
    if is_root {
        return *blake3::hash(bytes).as_bytes();
    }
    blake3::Hasher::new()
        .set_input_offset(offset)
        .update(bytes)
        .finalize_non_root()
}

/// Hashes a parent.
pub(crate) fn hash_pair(pair: &[u8; 64], is_root: bool) -> [u8; 32] {
    let (left, right) = split_pair(pair);
    if is_root {
        *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(&left, &right, Mode::Hash)
    }
}

/// Parts a parent into its two chaining values.
pub(crate) fn split_pair(pair: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&pair[..32]);
    right.copy_from_slice(&pair[32..]);
    (left, right)
}

/// Joins two chaining values to a parent.
pub(crate) fn join_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 64] {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    pair
}
