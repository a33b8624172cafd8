//! Sets of pieces against a plain set of numbers.
#![expect(clippy::single_range_in_vec_init, reason = "a list of one run is meant")]
use std::collections::BTreeSet;

use cardume_content::{
    PIECE, PieceSet,
    pieces::{MAX_PIECES, piece_count, piece_range},
};
use proptest::prelude::*;

#[test]
fn pieces_cover_a_blob_without_gaps() {
    assert_eq!(piece_count(0), 1);
    assert_eq!(piece_range(0, 0), 0..0);
    assert_eq!(piece_count(PIECE), 1);
    assert_eq!(piece_count(PIECE + 1), 2);
    assert_eq!(piece_range(PIECE + 1, 1), PIECE..PIECE + 1);
    assert!(piece_range(PIECE, 7).is_empty());
    assert_eq!(piece_count(u64::MAX), 1 << 44);
    assert_eq!(piece_range(u64::MAX, (1 << 44) - 1).end, u64::MAX);
    assert!(piece_range(u64::MAX, u64::MAX).is_empty());
}

#[test]
fn a_claim_of_countless_pieces_allocates_little() {
    let mut set = PieceSet::empty(u64::MAX);
    assert_eq!(set.len(), MAX_PIECES);
    assert!(!set.insert(u64::MAX));
    assert!(!set.contains(u64::MAX));
    assert_eq!(PieceSet::from_runs(u64::MAX, &[0..u64::MAX]), None);
    assert_eq!(PieceSet::from_runs(MAX_PIECES + 1, &[]), None);
}

#[test]
fn runs_that_overlap_touch_nothing_or_run_backwards_are_refused() {
    #[expect(clippy::reversed_empty_ranges, reason = "hostile runs")]
    for runs in [&[3..2][..], &[2..2], &[4..6, 5..7], &[4..6, 0..2], &[0..11]] {
        assert_eq!(PieceSet::from_runs(10, runs), None, "{runs:?}");
    }
    assert_eq!(PieceSet::from_runs(10, &[0..2, 2..10]), Some(PieceSet::full(10)));
}

#[test]
fn the_longest_runs_are_kept_in_order() {
    let set = PieceSet::from_runs(100, &[0..1, 10..20, 30..31, 40..45]).unwrap();
    assert_eq!(set.longest_runs(2), [10..20, 40..45]);
    assert_eq!(set.longest_runs(9), set.runs());
}

proptest! {
    #[test]
    fn a_piece_set_is_a_set(
        len in 0..300_u64,
        steps in prop::collection::vec((any::<bool>(), 0..320_u64), 0..200),
        other_len in 0..300_u64,
        others in prop::collection::vec(0..300_u64, 0..50),
    ) {
        let mut set = PieceSet::empty(len);
        let mut model = BTreeSet::new();
        for (add, index) in steps {
            if add {
                prop_assert_eq!(set.insert(index), index < len && model.insert(index));
            } else {
                prop_assert_eq!(set.remove(index), model.remove(&index));
            }
        }
        let mut other = PieceSet::empty(other_len);
        others.iter().for_each(|index| { other.insert(*index); });
        let mut both = set.clone();
        both.union_with(&other);
        let union: BTreeSet<u64> = model.iter().copied().chain(other.iter()).filter(|i| *i < len).collect();
        prop_assert!(both.iter().eq(union.iter().copied()));
        prop_assert_eq!(both.count(), union.len() as u64);

        let beyond: Vec<u64> = model.iter().copied().filter(|index| !other.contains(*index)).collect();
        prop_assert_eq!(set.iter_beyond(&other).collect::<Vec<_>>(), beyond);
        for start in [0, 1, 63, 64, len / 2, len] {
            let shared = || model.iter().copied().filter(|index| other.contains(*index));
            let expected: Vec<u64> = shared()
                .filter(|index| *index >= start)
                .chain(shared().filter(|index| *index < start))
                .collect();
            prop_assert_eq!(set.iter_shared(&other, start).collect::<Vec<_>>(), expected);
        }

        prop_assert!(set.iter().eq(model.iter().copied()));
        prop_assert!(set.iter_missing().eq((0..len).filter(|index| !model.contains(index))));
        prop_assert_eq!(set.count(), model.len() as u64);
        prop_assert_eq!(set.is_empty(), model.is_empty());
        prop_assert_eq!(set.is_full(), model.len() as u64 == len);
        let runs = set.runs();
        prop_assert!(runs.iter().cloned().flatten().eq(model.iter().copied()));
        prop_assert!(runs.is_sorted_by(|a, b| a.end < b.start));
        prop_assert_eq!(PieceSet::from_runs(len, &runs), Some(set));
    }

    #[test]
    fn a_full_set_is_one_run(len in 1..1000_u64) {
        let set = PieceSet::full(len);
        prop_assert!(set.is_full());
        prop_assert_eq!(set.runs(), vec![0..len]);
        prop_assert_eq!(set.iter_missing().count(), 0);
    }
}
