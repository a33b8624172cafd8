//! What was denied, and who has been spoken of lately.
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use libp2p_identity::PeerId;

/// Time between two lines of the log about one peer, for whoever does not look for them.
const QUIET: Duration = Duration::from_secs(60);
/// Peers remembered for that; identities cost nothing, and without a bound each would take memory and a line.
const MAX_TOLD: usize = 256;

/// What an `allow` list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Getting content, and learning that it is here.
    Fetch,
    /// Keeping a place at this relay.
    Reserve,
    /// A connection through this relay.
    Circuit,
    /// Having this node keep an announcement or a value of the DHT.
    Record,
    /// A service behind a tunnel.
    Tunnel,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [
        Self::Fetch,
        Self::Reserve,
        Self::Circuit,
        Self::Record,
        Self::Tunnel,
    ];

    /// What logs and metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Reserve => "reserve",
            Self::Circuit => "circuit",
            Self::Record => "record",
            Self::Tunnel => "tunnel",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Denials {
    counts: [AtomicU64; Action::ALL.len()],
    told: Mutex<HashMap<PeerId, SystemTime>>,
}

impl Denials {
    /// Counts one; whether the peer is to be spoken of aloud.
    pub(crate) fn count(&self, action: Action, peer: PeerId, now: SystemTime) -> bool {
        self.counts[action as usize].fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back lets everybody be told of once more.
        let is_recent = |then: &SystemTime| now.duration_since(*then).is_ok_and(|since| since < QUIET);
        if told.get(&peer).is_some_and(is_recent) {
            return false;
        }
        if told.len() >= MAX_TOLD {
            told.retain(|_, then| is_recent(then));
        }
        if told.len() >= MAX_TOLD {
            return false;
        }
        told.insert(peer, now);
        true
    }

    pub(crate) fn of(&self, action: Action) -> u64 {
        self.counts[action as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_of_once_a_minute_and_a_crowd_of_them_never_fills_the_log() {
        let denials = Denials::default();
        let peer = PeerId::random();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert!(denials.count(Action::Fetch, peer, start));
        assert!(!denials.count(Action::Fetch, peer, start + QUIET / 2));
        assert!(denials.count(Action::Fetch, peer, start + QUIET));
        assert!(
            denials.count(Action::Fetch, peer, start),
            "the clock was set back"
        );
        let crowd = (0..10 * MAX_TOLD).filter(|_| denials.count(Action::Record, PeerId::random(), start));
        assert_eq!(crowd.count(), MAX_TOLD - 1);
        assert!(denials.count(Action::Record, PeerId::random(), start + QUIET));
        assert_eq!(denials.of(Action::Fetch), 4);
    }
}
