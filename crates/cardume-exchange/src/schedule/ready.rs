//! Peers by whether they can be asked, so that a choice costs the same for any number of them.
use std::{collections::BTreeSet, time::Instant};

use libp2p_identity::PeerId;

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// It may be asked for more: requests on their way to it, and a number that decides among equals.
    Ready(usize, u64),
    /// It wants to be left alone until then.
    Quiet(Instant),
    /// It has nothing that is wanted, for all that is known.
    Barren,
    /// It has enough to do.
    Full,
}

/// All peers, in order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    ready: BTreeSet<(usize, u64, PeerId)>,
    quiet: BTreeSet<(Instant, PeerId)>,
    barren: BTreeSet<PeerId>,
}

impl Ready {
    /// Moves a peer.
    pub(super) fn place(&mut self, peer: PeerId, old: Stand, new: Stand) {
        match old {
            Stand::Ready(in_flight, tie) => drop(self.ready.remove(&(in_flight, tie, peer))),
            Stand::Quiet(until) => drop(self.quiet.remove(&(until, peer))),
            Stand::Barren => drop(self.barren.remove(&peer)),
            Stand::Full => {}
        }
        match new {
            Stand::Ready(in_flight, tie) => drop(self.ready.insert((in_flight, tie, peer))),
            Stand::Quiet(until) => drop(self.quiet.insert((until, peer))),
            Stand::Barren => drop(self.barren.insert(peer)),
            Stand::Full => {}
        }
    }

    /// The next peer after `last`: those with the fewest requests first, in random order among equals.
    pub(super) fn after(&self, last: Option<(usize, u64, PeerId)>) -> Option<(usize, u64, PeerId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(Unbounded, Excluded);
        self.ready.range((from, Unbounded)).next().copied()
    }

    /// One that was left alone for long enough.
    pub(super) fn rested(&self, now: Instant) -> Option<PeerId> {
        let (until, peer) = self.quiet.first()?;
        (*until <= now).then_some(*peer)
    }

    /// When the next one has rested.
    pub(super) fn next_rested(&self) -> Option<Instant> {
        self.quiet.first().map(|(until, _)| *until)
    }

    /// Those that may have something after all, now that more is wanted.
    pub(super) fn barren(&self) -> Vec<PeerId> {
        self.barren.iter().copied().collect()
    }
}
