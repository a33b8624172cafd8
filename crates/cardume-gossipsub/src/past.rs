//! What has been said on topics, kept as its authors signed it, for peers that come later.
//!
//! A message that somebody else has kept is believed for its author's signature alone: this node makes none up, and
//! believes none that others do. `docs/protocols/history.md` has the bytes.
mod asker;
mod server;
mod signed;
mod wire;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p_swarm::StreamProtocol;

pub(crate) use self::{
    asker::Asker,
    server::Answering,
    signed::{Signed, attach, detach},
};

/// Messages of one topic that may be kept for peers.
pub const MAX_HISTORY: usize = 1024;
/// Bytes of them. As an answer, they go over the line at once.
const MAX_BYTES: usize = 1024 * 1024;
/// How long a message is kept: what is older is of no use to somebody who has just come.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Time for one question and its answer.
const TIME: Duration = Duration::from_secs(10);

/// The name of the protocol in a network.
pub(crate) fn protocol(network: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/cardume/{network}/history/1")).expect("it begins with a slash")
}

/// The messages kept of all topics. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past(Arc<Mutex<HashMap<String, Kept>>>);

/// Those of one topic, oldest first.
#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<(Instant, Signed)>,
    bytes: usize,
}

impl Past {
    /// Keeps a message, and of all of its topic the last `max`.
    pub(crate) fn keep(&self, topic: &str, max: usize, message: Signed, now: Instant) {
        let mut topics = self.topics();
        // Only topics that configuration names are kept, so there are as many as it has.
        let kept = topics.entry(topic.to_owned()).or_default();
        kept.bytes += message.size();
        kept.messages.push_back((now, message));
        kept.trim(max, now);
    }

    /// Keeps of each topic no more than `max` says of it.
    pub(crate) fn limit(&self, max: impl Fn(&str) -> usize, now: Instant) {
        self.topics().retain(|topic, kept| {
            kept.trim(max(topic), now);
            !kept.messages.is_empty()
        });
    }

    /// The last messages of a topic, oldest first, and how old they are; as many as fit into an answer.
    pub(crate) fn last(&self, topic: &str, count: usize, now: Instant) -> Vec<(Duration, Signed)> {
        let mut topics = self.topics();
        let Some(kept) = topics.get_mut(topic) else {
            return Vec::new();
        };
        kept.trim(MAX_HISTORY, now);
        let first = kept.messages.len().saturating_sub(count);
        let last = kept.messages.iter().skip(first);
        last.map(|(at, message)| (now.saturating_duration_since(*at), message.clone()))
            .collect()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn trim(&mut self, max: usize, now: Instant) {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) > MAX_AGE;
        while self.messages.len() > max
            || self.bytes > MAX_BYTES
            || self.messages.front().is_some_and(|(at, _)| is_old(at))
        {
            let oldest = self.messages.pop_front();
            self.bytes -= oldest.map_or(0, |(_, message)| message.size());
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_number_bytes_and_time() {
        let (past, key, start) = (Past::default(), Keypair::generate_ed25519(), Instant::now());
        let say = |number: u64, bytes: usize, now| {
            let message = Signed::new(&key, "t", number, vec![7; bytes].into()).unwrap();
            past.keep("t", 5, message, now);
        };
        let numbers = |count, now| {
            let last = past.last("t", count, now).into_iter();
            last.map(|(_, message)| message.seqno).collect::<Vec<_>>()
        };
        (0..10).for_each(|number| say(number, 10, start));
        assert_eq!(numbers(100, start), [5, 6, 7, 8, 9]);
        assert_eq!(numbers(2, start), [8, 9]);
        assert_eq!(past.last("other", 9, start), []);
        (10..13).for_each(|number| say(number, MAX_BYTES / 2 - 1000, start));
        assert_eq!(numbers(100, start), [11, 12]);
        let later = start + MAX_AGE;
        say(13, 10, later);
        let ages: Vec<_> = past.last("t", 9, later).into_iter().map(|(age, _)| age).collect();
        assert_eq!(ages, [MAX_AGE, MAX_AGE, Duration::ZERO]);
        let later = later + Duration::from_secs(1);
        assert_eq!(numbers(100, later), [13]);
        (14..17).for_each(|number| say(number, 10, later));
        past.limit(|topic| usize::from(topic == "t") * 2, later);
        assert_eq!(numbers(100, later), [15, 16]);
        past.limit(|_| 0, later);
        assert!(numbers(100, later).is_empty());
        assert!(past.topics().is_empty(), "what is kept no more takes no memory");
    }
}
