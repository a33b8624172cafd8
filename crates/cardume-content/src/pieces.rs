//! Which pieces of a blob are there.
use std::ops::Range;

use crate::PIECE;

/// Most pieces that a set can hold: 64 TiB of content, a bitmap of 8 MiB. Without it a peer that claims a
/// blob of 2⁶³ bytes would make us allocate a bitmap of a tebibyte.
pub const MAX_PIECES: u64 = 1 << 26;

/// Number of pieces in a blob of `size` bytes; an empty blob has one empty piece.
pub fn piece_count(size: u64) -> u64 {
    size.div_ceil(PIECE).max(1)
}

/// Byte range of piece `index` in a blob of `size` bytes; empty when there is no such piece.
pub fn piece_range(size: u64, index: u64) -> Range<u64> {
    let start = index.saturating_mul(PIECE).min(size);
    start..start.saturating_add(PIECE).min(size)
}

/// A set of piece indexes of one blob: a bitmap of `len` bits.
///
/// Holds at most [`MAX_PIECES`]; a larger `len` is cut to that, since it is a peer's claim and not content
/// that any node has. Indexes at or above `len` are never in the set and never get into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceSet {
    words: Vec<u64>,
    len: u64,
    count: u64,
}

impl PieceSet {
    /// Makes the set of none of `len` pieces.
    pub fn empty(len: u64) -> Self {
        let len = len.min(MAX_PIECES);
        Self {
            words: vec![0; len.div_ceil(64) as usize],
            len,
            count: 0,
        }
    }

    /// Makes the set of all of `len` pieces.
    pub fn full(len: u64) -> Self {
        let mut set = Self::empty(len);
        set.fill(0..set.len);
        set
    }

    /// Number of pieces of the blob.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of pieces in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Tells whether every piece of the blob is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Tells whether piece `index` is in the set.
    pub fn contains(&self, index: u64) -> bool {
        self.word(index).is_some_and(|word| word & mask(index) != 0)
    }

    /// Adds one; whether it was new.
    pub fn insert(&mut self, index: u64) -> bool {
        if index >= self.len || self.contains(index) {
            return false;
        }
        self.words[(index / 64) as usize] |= mask(index);
        self.count += 1;
        true
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, index: u64) -> bool {
        if !self.contains(index) {
            return false;
        }
        self.words[(index / 64) as usize] &= !mask(index);
        self.count -= 1;
        true
    }

    /// Adds every piece of `other` below this set's `len`.
    pub fn union_with(&mut self, other: &Self) {
        if other.len > self.len {
            // The other's bitmap may have bits above our end.
            for index in other.iter() {
                self.insert(index);
            }
            return;
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            self.count += u64::from((theirs & !*mine).count_ones());
            *mine |= theirs;
        }
    }

    /// Walks the pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words
            .iter()
            .zip(0..)
            .flat_map(|(word, number)| bits(*word, number))
    }

    /// Walks the pieces not in the set, in order.
    pub fn iter_missing(&self) -> impl Iterator<Item = u64> + '_ {
        self.words
            .iter()
            .zip(0..)
            .flat_map(|(word, number)| bits(!*word, number))
            .take_while(|index| *index < self.len)
    }

    /// Walks the pieces in both sets: from `start` on in order, then those before it.
    pub fn iter_shared<'a>(&'a self, other: &'a Self, start: u64) -> impl Iterator<Item = u64> + 'a {
        let words = self.words.len().min(other.words.len()) as u64;
        let first = start / 64;
        let after = u64::MAX.checked_shl((start % 64) as u32).unwrap_or(0);
        let in_word = move |number: u64, keep: u64| {
            let shared = self
                .words
                .get(number as usize)
                .zip(other.words.get(number as usize));
            bits(shared.map_or(0, |(mine, theirs)| mine & theirs & keep), number)
        };
        let rest = (first + 1..words).chain(0..first.min(words));
        in_word(first, after)
            .chain(rest.flat_map(move |number| in_word(number, u64::MAX)))
            .chain(in_word(first, !after))
    }

    /// Walks the pieces in this set and not in `other`, in order.
    pub fn iter_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        let words = self.words.iter().zip(theirs).zip(0..);
        words.flat_map(|((mine, theirs), number)| bits(mine & !theirs, number))
    }

    /// Runs `[start, end)` in order: the compact form on the wire.
    pub fn runs(&self) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        let mut at = 0;
        while let Some(start) = self.next(at, true) {
            at = self.next(start, false).unwrap_or(self.len);
            runs.push(start..at);
        }
        runs
    }

    /// The longest `most` runs, in order: true of the set, and never longer than a message has room for.
    pub fn longest_runs(&self, most: usize) -> Vec<Range<u64>> {
        let mut runs = self.runs();
        if runs.len() > most {
            runs.sort_by_key(|run| std::cmp::Reverse(run.end - run.start));
            runs.truncate(most);
            runs.sort_by_key(|run| run.start);
        }
        runs
    }

    /// Rebuilds from runs; `None` unless they are sorted, disjoint, non-empty and below `len`.
    ///
    /// Also `None` when `len` is above [`MAX_PIECES`]. Checks everything before it allocates.
    pub fn from_runs(len: u64, runs: &[Range<u64>]) -> Option<Self> {
        let mut floor = 0;
        for run in runs {
            if run.start < floor || run.start >= run.end {
                return None;
            }
            floor = run.end;
        }
        if floor > len || len > MAX_PIECES {
            return None;
        }
        let mut set = Self::empty(len);
        runs.iter().for_each(|run| set.fill(run.clone()));
        Some(set)
    }

    /// Sets a run of bits that are all clear.
    fn fill(&mut self, run: Range<u64>) {
        let (first, last) = (run.start / 64, run.end.div_ceil(64));
        for number in first..last {
            let low = run.start.saturating_sub(number * 64);
            let high = (run.end - number * 64).min(64);
            self.words[number as usize] |= (u64::MAX >> (64 - (high - low))) << low;
        }
        self.count += run.end - run.start;
    }

    /// The first index from `at` on that is in the set (or, for `false`, is not).
    fn next(&self, at: u64, present: bool) -> Option<u64> {
        let mut number = at / 64;
        let mut keep = u64::MAX << (at % 64);
        while let Some(word) = self.words.get(number as usize) {
            let found = if present { *word } else { !*word } & keep;
            if found != 0 {
                return Some(number * 64 + u64::from(found.trailing_zeros()))
                    .filter(|index| *index < self.len);
            }
            keep = u64::MAX;
            number += 1;
        }
        None
    }

    fn word(&self, index: u64) -> Option<u64> {
        self.words.get(usize::try_from(index / 64).ok()?).copied()
    }
}

fn mask(index: u64) -> u64 {
    1 << (index % 64)
}

/// Indexes of the bits set in word `number`.
fn bits(mut word: u64, number: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(number * 64 + u64::from(bit))
    })
}
