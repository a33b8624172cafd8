//! How fast content goes between the node and each peer, from what has gone since somebody looked last.
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cardume_transfer::Traffic;
use libp2p_identity::PeerId;

/// Between two looks that are kept.
const APART: Duration = Duration::from_secs(2);
/// What is compared with now is no older. A piece counts when all of it has gone: slow peers need seconds for one, and
/// would seem to stand still in less.
const SPAN: Duration = Duration::from_secs(11);

/// Bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

struct Look {
    at: Instant,
    traffic: HashMap<PeerId, Traffic>,
}

/// The last looks at the counters, six at most; each is as large as those.
#[derive(Default)]
pub(crate) struct Flows(Mutex<VecDeque<Look>>);

impl Flows {
    /// Compares the counters with those of some seconds ago; nothing goes where nobody has looked for long.
    pub(crate) fn look(&self, traffic: HashMap<PeerId, Traffic>, now: Instant) -> HashMap<PeerId, Rates> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|look| now.saturating_duration_since(look.at) < SPAN);
        let rates = looks.front().map(|older| rates(older, &traffic, now));
        if looks
            .back()
            .is_none_or(|newest| now.saturating_duration_since(newest.at) >= APART)
        {
            looks.push_back(Look { at: now, traffic });
        }
        rates.unwrap_or_default()
    }
}

fn rates(older: &Look, traffic: &HashMap<PeerId, Traffic>, now: Instant) -> HashMap<PeerId, Rates> {
    let span = now.saturating_duration_since(older.at).as_secs_f64();
    // Within less, one piece would seem to be much.
    if span < 1.0 {
        return HashMap::new();
    }
    let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / span) as u64;
    let since = |(peer, now): (&PeerId, &Traffic)| {
        let then = older.traffic.get(peer).copied().unwrap_or_default();
        let rates = Rates {
            sent: rate(now.sent, then.sent),
            received: rate(now.received, then.received),
        };
        (rates != Rates::default()).then_some((*peer, rates))
    };
    traffic.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_and_nothing_after_a_pause() {
        let (flows, peer, start) = (Flows::default(), PeerId::random(), Instant::now());
        let counters = |sent| HashMap::from([(peer, Traffic { sent, received: 0 })]);
        let look = |sent, seconds| flows.look(counters(sent), start + Duration::from_secs(seconds));
        assert!(look(1_000, 0).is_empty());
        assert_eq!(look(3_000, 2)[&peer].sent, 1_000);
        assert_eq!(look(3_000, 3)[&peer].sent, 666);
        assert_eq!(look(3_000, 10)[&peer].sent, 200);
        assert!(look(3_000, 12).is_empty(), "it has stopped");
        assert!(look(9_000, 60).is_empty(), "nobody knows when");
        (0..100).for_each(|second| drop(look(9_000, 60 + second)));
        assert!(flows.0.lock().unwrap().len() <= 6);
    }
}
