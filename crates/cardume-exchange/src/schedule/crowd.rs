//! Fetchers of one blob that share what its only source sends them.
//!
//! Every fetcher asks the source for pieces of its own first, so that each piece leaves the source about once, and gets
//! the others from those whose they are. Whose a piece is, follows from who takes part (rendezvous hashing): nobody
//! need agree on anything, and two fetchers that see different crowds only fetch a few pieces twice.
use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;

/// A fetcher that got nothing new for so long holds nobody up, unless most get so little: its pieces are others' now.
const ACTIVE: Duration = Duration::from_secs(3);
/// How long what is known of the crowd is good.
const FRESH: Duration = Duration::from_millis(100);
/// Pause, for each fetcher, between two pieces asked of the source that are not one's own. All fetchers together ask
/// it for so many more than one copy; without any, a slow fetcher would hold up all others.
const PAUSE: Duration = Duration::from_millis(400);
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// Lots that pieces are dealt out in: whose a lot is, is worked out once for each crowd.
const LOTS: u64 = 8192;

/// What a fetcher knows of the others.
#[derive(Debug)]
pub(super) struct Crowd {
    me: u64,
    /// Keys of the other active fetchers, in order.
    others: Vec<u64>,
    /// Whose each lot is, as far as somebody has asked.
    lots: RefCell<Vec<Option<Turn>>>,
    looked: Option<Instant>,
    /// Complete from the beginning.
    sources: usize,
    /// When the source was last asked for a piece that is not ours, or could have been first.
    extra: Option<Instant>,
    /// Until when there is nothing of ours left to ask for; looking costs something.
    barren: Option<Instant>,
}

/// Whose a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Ours,
    /// Ours, if its owner does not come to it.
    Next {
        owner: u32,
    },
    Others,
}

/// One holder, as far as the crowd is concerned.
pub(super) struct Member {
    pub(super) key: u64,
    pub(super) is_source: bool,
    /// When it last had something new, if it is fetching.
    pub(super) grew: Option<Instant>,
}

impl Crowd {
    pub(super) const fn new(me: u64) -> Self {
        Self {
            me,
            others: Vec::new(),
            lots: RefCell::new(Vec::new()),
            looked: None,
            sources: 0,
            extra: None,
            barren: None,
        }
    }

    /// Looks at who takes part, now and then.
    pub(super) fn look(&mut self, now: Instant, members: impl Iterator<Item = Member>) {
        if self
            .looked
            .is_some_and(|looked| now.saturating_duration_since(looked) < FRESH)
        {
            return;
        }
        self.looked = Some(now);
        self.sources = 0;
        let mut fetchers: Vec<(Duration, u64)> = Vec::new();
        for member in members {
            self.sources += usize::from(member.is_source);
            let idle = member.grew.map(|grew| now.saturating_duration_since(grew));
            fetchers.extend(idle.map(|idle| (idle, member.key)));
        }
        fetchers.sort_unstable();
        let usual = fetchers
            .get(fetchers.len() / 2)
            .map_or(Duration::ZERO, |(idle, _)| *idle);
        fetchers.retain(|(idle, _)| *idle < ACTIVE.max(usual * 4));
        let mut others: Vec<u64> = fetchers.into_iter().map(|(_, key)| key).collect();
        others.sort_unstable();
        if others != self.others {
            self.others = others;
            self.lots.get_mut().clear();
        }
    }

    /// Looks anew next time.
    pub(super) const fn changed(&mut self) {
        self.looked = None;
    }

    /// Whether sources are to be spared: there are others, and fewer sources than fetchers.
    pub(super) fn spares(&self) -> bool {
        !self.others.is_empty() && self.sources <= self.others.len()
    }

    /// Whose a piece is to ask the source for.
    pub(super) fn turn(&self, piece: u64) -> Turn {
        let lot = super::random::mix(piece) % LOTS;
        let mut lots = self.lots.borrow_mut();
        lots.resize(LOTS as usize, None);
        match lots.get_mut(lot as usize) {
            Some(turn) => *turn.get_or_insert_with(|| self.turn_of(lot)),
            None => Turn::Others,
        }
    }

    fn turn_of(&self, piece: u64) -> Turn {
        let mine = rank(self.me, piece);
        let mut before = self
            .others
            .iter()
            .zip(0..)
            .filter(|(other, _)| rank(**other, piece) > mine);
        match (before.next(), before.next()) {
            (None, _) => Turn::Ours,
            (Some((_, owner)), None) => Turn::Next { owner },
            _ => Turn::Others,
        }
    }

    /// Whether it is worth looking for a piece of ours.
    pub(super) fn may_have_ours(&self, now: Instant) -> bool {
        self.barren.is_none_or(|until| until <= now)
    }

    /// Notes that there is none now.
    pub(super) fn has_none(&mut self, now: Instant) {
        self.barren = Some(now + FRESH);
    }

    /// Whether the source may be asked for one more that is not ours; sooner, if nothing else is on its way.
    pub(super) fn may_ask_extra(&mut self, now: Instant, is_idle: bool) -> bool {
        let pause = if is_idle {
            MIN_PAUSE
        } else {
            pause(self.others.len())
        };
        *self.extra.get_or_insert(now) + pause <= now
    }

    /// Notes that it has been.
    pub(super) const fn asked_extra(&mut self, now: Instant) {
        self.extra = Some(now);
    }

    /// When it may be next, at the soonest.
    pub(super) fn next_extra(&self) -> Option<Instant> {
        Some(self.extra? + MIN_PAUSE)
    }
}

fn pause(others: usize) -> Duration {
    let fetchers = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    PAUSE.saturating_mul(fetchers).clamp(MIN_PAUSE, MAX_PAUSE)
}

/// A peer's key in one blob: the same wherever it is worked out.
pub(super) fn key(peer: &PeerId, salt: u64) -> u64 {
    peer.to_bytes()
        .chunks(8)
        .map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        .fold(salt, |key, word| super::random::mix(key ^ word))
}

fn rank(key: u64, piece: u64) -> u64 {
    super::random::mix(key ^ super::random::mix(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(me: usize, keys: &[u64], now: Instant) -> Crowd {
        let mut crowd = Crowd::new(keys[me]);
        let others = keys.iter().enumerate().filter(|(number, _)| *number != me);
        let members = others.map(|(_, key)| Member {
            key: *key,
            is_source: false,
            grew: Some(now),
        });
        crowd.look(now, members);
        crowd
    }

    #[test]
    fn every_piece_is_for_one_of_the_crowd_and_all_have_about_as_many() {
        let now = Instant::now();
        let keys: Vec<u64> = (0..8).map(|_| key(&PeerId::random(), 7)).collect();
        let crowds: Vec<Crowd> = (0..8).map(|me| crowd(me, &keys, now)).collect();
        let mut shares = [0; 8];
        for piece in 0..8_000 {
            let owners: Vec<usize> = (0..8)
                .filter(|me| crowds[*me].turn(piece) == Turn::Ours)
                .collect();
            assert_eq!(owners.len(), 1, "{piece}");
            shares[owners[0]] += 1;
        }
        assert!(
            shares.iter().all(|share| (800..1_200).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn who_stands_still_has_no_part() {
        let now = Instant::now();
        let mut crowd = crowd(0, &[1, 2, 3], now);
        assert!(crowd.spares());
        let later = now + ACTIVE * 2;
        let half = [(2, now), (3, later), (4, later)].map(|(key, grew)| Member {
            key,
            is_source: false,
            grew: Some(grew),
        });
        crowd.look(later, half.into_iter());
        assert_eq!(crowd.others, [3, 4]);
    }
}
