//! What a source gives to whom while many fetch the same blob. No I/O and no clock.
//!
//! A node that fetches a blob itself gives of it to all who ask. A source that many ask at once sends each piece once,
//! to one of them, who brings it to the others: whoever else asks for it soon after is told to ask elsewhere. Second
//! copies are for what did not spread, a few more for what could spread faster.
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;

/// Peers served of one blob while there is a crowd: these bring it to the others, who are told to come back later.
const TAKERS: usize = 16;
/// A peer that has asked for nothing for so long leaves its place to another.
const IDLE: Duration = Duration::from_secs(5);
/// How long a piece that was given to one is not given to another.
const SPREADING: Duration = Duration::from_secs(4);
/// Second copies for each piece that was given for the first time.
const SPARE: f32 = 0.08;
/// Second copies put by, at most.
const MAX_SPARE: f32 = 4.0;
/// A blob of fewer pieces is given to whoever asks: it is gone before the others know of each other.
const FEW: u64 = 16;
/// Who asks for nothing but what is spreading gets it after so long: there may be nobody else to ask.
const HUNGER: Duration = Duration::from_secs(1);
/// Pieces remembered as given; more are given again.
const MAX_GIVEN: usize = 16 * 1024;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Give,
    /// Others have what it asks for, or will have: they are to be asked, or this peer for something else.
    AskOthers,
    /// Others bring the blob to this peer.
    ComeLater,
}

/// Who takes a blob from us, and which of its pieces are spreading.
#[derive(Debug, Default)]
pub struct Giving {
    /// Whether we fetch or have fetched it ourselves, and pass on what others lack.
    is_relay: bool,
    takers: HashMap<PeerId, Taker>,
    /// The highest piece asked for, and one: proofs of the size ask for the last.
    pieces: u64,
    given: HashMap<u64, (PeerId, Instant)>,
    /// The same, oldest first; what was given again stands in it twice.
    order: VecDeque<(Instant, u64)>,
    spare: f32,
}

#[derive(Debug)]
struct Taker {
    seen: Instant,
    /// Since when it has been given nothing of what it asked for, and when it last asked.
    hungry: Option<(Instant, Instant)>,
}

impl Giving {
    /// Notes that somebody asked about a piece.
    pub fn saw(&mut self, piece: u64) {
        self.pieces = self.pieces.max(piece.saturating_add(1));
    }

    /// Gives to everybody from now on: what we fetch ourselves is to spread as fast as it can.
    pub fn relay(&mut self) {
        self.is_relay = true;
    }

    /// Decides about one piece asked for; `is_crowded` if there is much to do.
    pub fn ask(&mut self, peer: PeerId, piece: u64, is_crowded: bool, now: Instant) -> Verdict {
        if self.is_relay {
            return Verdict::Give;
        }
        if !self.admits(peer, is_crowded, now) {
            return Verdict::ComeLater;
        }
        self.saw(piece);
        self.forget(now);
        let is_spreading = self.given.get(&piece).is_some_and(|(taker, _)| *taker != peer);
        if !is_spreading {
            self.spare = (self.spare + SPARE).min(MAX_SPARE);
        } else if self.spare >= 1.0 {
            self.spare -= 1.0;
        } else if self.pieces >= FEW && !self.is_hungry(peer, now) {
            return Verdict::AskOthers;
        }
        if let Some(taker) = self.takers.get_mut(&peer) {
            taker.hungry = None;
        }
        if self.given.len() < MAX_GIVEN && self.order.len() < 2 * MAX_GIVEN {
            self.given.insert(piece, (peer, now));
            self.order.push_back((now, piece));
        }
        Verdict::Give
    }

    /// Whether a peer is served now. With little to do everybody is; else those who came first, until they are done.
    pub fn admits(&mut self, peer: PeerId, is_crowded: bool, now: Instant) -> bool {
        self.takers.retain(|_, taker| is_fresh(taker.seen, now));
        if self.takers.len() >= TAKERS && !self.takers.contains_key(&peer) {
            return !is_crowded;
        }
        let taker = self.takers.entry(peer);
        taker
            .or_insert(Taker {
                seen: now,
                hungry: None,
            })
            .seen = now;
        true
    }

    /// Whether nobody has taken anything lately.
    pub fn is_idle(&self, now: Instant) -> bool {
        !self.takers.values().any(|taker| is_fresh(taker.seen, now))
    }

    /// Whether `peer` has been refused for long; notes that it is now.
    fn is_hungry(&mut self, peer: PeerId, now: Instant) -> bool {
        let Some(taker) = self.takers.get_mut(&peer) else {
            return false;
        };
        let (since, last) = taker.hungry.unwrap_or((now, now));
        let goes_on = now.saturating_duration_since(last) < HUNGER;
        taker.hungry = Some((if goes_on { since } else { now }, now));
        goes_on && now.saturating_duration_since(since) >= HUNGER
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, piece)) = self.order.front().copied()
            && now.saturating_duration_since(at) >= SPREADING
        {
            self.order.pop_front();
            if self.given.get(&piece).is_some_and(|(_, given)| *given == at) {
                self.given.remove(&piece);
            }
        }
    }
}

fn is_fresh(seen: Instant, now: Instant) -> bool {
    now.saturating_duration_since(seen) < IDLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_crowd_those_who_came_first_are_served_first() {
        let (mut giving, now) = (Giving::default(), Instant::now());
        let first: Vec<PeerId> = (0..TAKERS).map(|_| PeerId::random()).collect();
        assert!(first.iter().all(|peer| giving.admits(*peer, true, now)));
        let late = PeerId::random();
        assert!(giving.admits(late, false, now), "there is room for everybody");
        assert!(!giving.admits(late, true, now));
        assert!(giving.admits(first[0], true, now));
        assert!(
            giving.admits(late, true, now + IDLE),
            "their places are free again"
        );
    }

    #[test]
    fn a_piece_goes_out_once_while_it_spreads() {
        let (mut giving, now) = (Giving::default(), Instant::now());
        let [one, other] = [PeerId::random(), PeerId::random()];
        giving.saw(99);
        assert_eq!(giving.ask(one, 7, true, now), Verdict::Give);
        assert_eq!(giving.ask(other, 7, true, now), Verdict::AskOthers);
        assert_eq!(
            giving.ask(one, 7, true, now),
            Verdict::Give,
            "it may have got lost"
        );
        assert_eq!(giving.ask(other, 8, true, now), Verdict::Give);
        let later = now + SPREADING;
        assert_eq!(
            giving.ask(other, 7, true, later),
            Verdict::Give,
            "it did not spread"
        );
        assert!(giving.order.len() <= 2);
    }

    #[test]
    fn a_crowd_costs_little_more_than_one_copy() {
        let (mut giving, now) = (Giving::default(), Instant::now());
        let peers: Vec<PeerId> = (0..8).map(|_| PeerId::random()).collect();
        giving.saw(999);
        let asked = (0..1_000).flat_map(|piece| peers.iter().map(move |peer| (*peer, piece)));
        let given = asked.filter(|(peer, piece)| giving.ask(*peer, *piece, true, now) == Verdict::Give);
        assert!((1_000..1_100).contains(&given.count()));
    }

    #[test]
    fn who_finds_nobody_else_gets_everything_after_a_while() {
        let (mut giving, now) = (Giving::default(), Instant::now());
        let [one, other] = [PeerId::random(), PeerId::random()];
        assert!((0..100).all(|piece| giving.ask(one, piece, false, now) == Verdict::Give));
        let given = (0..15).map(|turn| giving.ask(other, 50, false, now + HUNGER / 10 * turn));
        assert_eq!(given.last(), Some(Verdict::Give));
    }

    #[test]
    fn a_short_blob_is_given_to_everybody() {
        let (mut giving, now) = (Giving::default(), Instant::now());
        assert!((0..100).all(|_| giving.ask(PeerId::random(), 0, false, now) == Verdict::Give));
    }
}
