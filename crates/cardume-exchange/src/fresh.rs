//! Pieces that have just come and been verified, passed on as they came.
//!
//! What a fetcher brings to a crowd is asked for by the others at once. The slice that came proves the piece to them
//! as it did to us, so nothing is read, hashed or put together anew for them.
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cardume_content::Hash;

/// Slices kept, a mebibyte each; an older piece is read from the page cache.
const KEPT: usize = 16;
/// Blobs remembered as asked for.
const ASKED: usize = 16;
/// A blob that nobody has asked for during so long is not kept for anybody.
const WANTED: Duration = Duration::from_secs(2);

/// The last pieces of what others fetch at the same time.
#[derive(Default)]
pub(crate) struct Fresh(Mutex<State>);

#[derive(Default)]
struct State {
    slices: VecDeque<(Hash, Range<u64>, Bytes)>,
    asked: VecDeque<(Hash, Instant)>,
}

impl Fresh {
    /// Keeps the slice of a verified piece, if somebody fetches the blob from us.
    pub(crate) fn keep(&self, hash: Hash, range: Range<u64>, slice: Bytes, now: Instant) {
        let mut state = self.lock();
        let is_wanted =
            |(asked, at): &(Hash, Instant)| *asked == hash && now.saturating_duration_since(*at) < WANTED;
        if !state.asked.iter().any(is_wanted) {
            return;
        }
        if state.slices.len() >= KEPT {
            state.slices.pop_front();
        }
        state.slices.push_back((hash, range, slice));
    }

    /// The slice that proves `range` of a blob, if it has just come; notes that somebody asks for the blob.
    pub(crate) fn of(&self, hash: Hash, range: &Range<u64>, now: Instant) -> Option<Bytes> {
        let mut state = self.lock();
        state.asked.retain(|(asked, _)| *asked != hash);
        if state.asked.len() >= ASKED {
            state.asked.pop_front();
        }
        state.asked.push_back((hash, now));
        let mut slices = state.slices.iter();
        let found = slices.find(|(kept, held, _)| *kept == hash && held == range);
        found.map(|(.., slice)| slice.clone())
    }

    /// Lets go of all of them: a fetch has ended.
    pub(crate) fn clear(&self) {
        self.lock().slices = VecDeque::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_fetch_is_kept_and_no_more_of_it_than_there_is_room_for() {
        let (fresh, now) = (Fresh::default(), Instant::now());
        let hash = Hash::of(b"x");
        let keep = |piece: u64, now| fresh.keep(hash, piece..piece + 1, Bytes::from_static(b"slice"), now);
        keep(0, now);
        assert_eq!(fresh.of(hash, &(0..1), now), None, "nobody had asked before");
        keep(1, now);
        assert_eq!(fresh.of(hash, &(1..2), now), Some(Bytes::from_static(b"slice")));
        assert_eq!(fresh.of(hash, &(1..3), now), None, "another range");
        assert_eq!(fresh.of(Hash::of(b"y"), &(1..2), now), None, "another blob");
        for piece in 0..100 {
            keep(piece, now);
            fresh.of(Hash::of(&piece.to_le_bytes()), &(0..1), now);
            fresh.of(hash, &(0..1), now);
        }
        let kept = fresh.lock().slices.len();
        let asked = fresh.lock().asked.len();
        assert_eq!((kept, asked), (KEPT, ASKED));
        keep(200, now + WANTED);
        assert_eq!(fresh.of(hash, &(200..201), now), None, "nobody asks any more");
        fresh.clear();
        assert_eq!(fresh.of(hash, &(99..100), now), None);
    }
}
