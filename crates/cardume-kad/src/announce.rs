//! Announcing what we provide, evenly and again.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p_kad::{QueryId, RecordKey as Key};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use crate::{handle::KadError, inner::Dht, routing::table_size};

type Waiter = oneshot::Sender<Result<(), KadError>>;

/// Announcements at the same time: enough for 100,000 keys in half a day, too few to be felt.
const IN_FLIGHT: usize = 8;

/// The wait after a first failure; doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The part of the interval over which the next round is spread, as its divisor.
const SPREAD: u32 = 10;

/// The keys that this node provides, and when each is due.
#[derive(Debug)]
pub(crate) struct Announcements {
    interval: Duration,
    keys: HashMap<Vec<u8>, Entry>,
    due: BTreeSet<(Instant, Vec<u8>)>,
    flying: HashMap<QueryId, Vec<u8>>,
    failed: HashSet<Vec<u8>>,
    waiters: HashMap<Vec<u8>, Vec<Waiter>>,
    /// The routing table was empty when last looked at.
    alone: bool,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Not set while an announcement is under way.
    due: Option<Instant>,
    failures: u32,
}

impl Announcements {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            keys: HashMap::new(),
            due: BTreeSet::new(),
            flying: HashMap::new(),
            failed: HashSet::new(),
            waiters: HashMap::new(),
            alone: false,
            timer: None,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Takes a key on, to be announced at once; the store has it already.
    pub(crate) fn add(&mut self, key: Vec<u8>, waiter: Waiter) {
        let now = Instant::now();
        if !self.flying.values().any(|flying| *flying == key) {
            self.schedule(&key, now);
        }
        self.waiters.entry(key).or_default().push(waiter);
    }

    /// Lets a key go, and its announcement if one is under way.
    pub(crate) fn remove(&mut self, dht: &mut Dht, key: &[u8]) {
        if let Some(Entry { due: Some(at), .. }) = self.keys.remove(key) {
            self.due.remove(&(at, key.to_vec()));
        }
        self.failed.remove(key);
        for (id, _) in self.flying.iter().filter(|(_, flying)| *flying == key) {
            if let Some(mut query) = dht.query_mut(id) {
                query.finish();
            }
        }
        self.flying.retain(|_, flying| flying != key);
        self.answer(key);
    }

    /// Notes the end of an announcement; `heard` when any peer answered it.
    pub(crate) fn finished(&mut self, id: QueryId, heard: bool) {
        let Some(key) = self.flying.remove(&id) else {
            return;
        };
        self.answer(&key);
        let Some(entry) = self.keys.get_mut(&key) else {
            return;
        };
        let wait = if heard {
            entry.failures = 0;
            self.failed.remove(&key);
            self.interval - spread(&key, self.interval / SPREAD)
        } else {
            let wait = FIRST_RETRY * 2_u32.saturating_pow(entry.failures.min(16));
            entry.failures += 1;
            self.failed.insert(key.clone());
            wait.min(self.interval)
        };
        self.schedule(&key, Instant::now() + wait);
    }

    /// A peer has entered the routing table: what could not be announced is due again.
    pub(crate) fn peer_joined(&mut self) {
        self.alone = false;
        let now = Instant::now();
        for key in std::mem::take(&mut self.failed) {
            if self.keys.get(&key).is_some_and(|entry| entry.due.is_some()) {
                self.schedule(&key, now);
            }
        }
    }

    /// Starts what is due; with nobody to tell, answers those who wait and keeps everything due.
    pub(crate) fn poll(&mut self, dht: &mut Dht, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if self.flying.len() >= IN_FLIGHT {
            return Poll::Pending;
        }
        if self.due.first().is_none_or(|(at, _)| *at > now) {
            return self.wait(cx);
        }
        // Counting the table visits every bucket: not again before it has grown.
        self.alone = self.alone || table_size(dht) == 0;
        if self.alone {
            let waiters = std::mem::take(&mut self.waiters);
            for waiter in waiters.into_values().flatten() {
                let _ = waiter.send(Ok(()));
            }
            return Poll::Pending;
        }
        while self.flying.len() < IN_FLIGHT && self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.due.pop_first() else {
                break;
            };
            self.start(dht, key);
        }
        Poll::Ready(())
    }

    fn start(&mut self, dht: &mut Dht, key: Vec<u8>) {
        if let Some(entry) = self.keys.get_mut(&key) {
            entry.due = None;
        }
        match dht.start_providing(Key::from(key.clone())) {
            Ok(id) => {
                self.flying.insert(id, key);
            }
            Err(error) => {
                tracing::debug!(%error, "a key was not announced");
                self.schedule(&key, Instant::now() + self.interval);
                self.answer(&key);
            }
        }
    }

    fn schedule(&mut self, key: &[u8], at: Instant) {
        let entry = self.keys.entry(key.to_vec()).or_default();
        if let Some(before) = entry.due.replace(at) {
            self.due.remove(&(before, key.to_vec()));
        }
        self.due.insert((at, key.to_vec()));
    }

    fn answer(&mut self, key: &[u8]) {
        for waiter in self.waiters.remove(key).into_iter().flatten() {
            let _ = waiter.send(Ok(()));
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((first, _)) = self.due.first() else {
            return Poll::Pending;
        };
        let first = *first;
        if self.timer.as_ref().is_none_or(|(at, _)| *at != first) {
            self.timer = Some((first, Box::pin(sleep_until(first.into()))));
        }
        let Some((_, sleep)) = &mut self.timer else {
            return Poll::Pending;
        };
        if sleep.as_mut().poll(cx).is_ready() {
            self.timer = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// A part of `range` that is always the same for a key, so that keys taken on together drift apart.
fn spread(key: &[u8], range: Duration) -> Duration {
    // The end of a CID is the end of a digest: as good as random.
    let end = key
        .iter()
        .rev()
        .take(2)
        .fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    range * end / 0x1_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_drift_apart_within_a_tenth_of_the_interval() {
        let range = Duration::from_secs(3600);
        assert_eq!(spread(&[7, 0, 0], range), Duration::ZERO);
        assert!(spread(&[0xff, 0xff], range) < range);
        assert!(spread(&[0x00, 0x80], range) != spread(&[0x00, 0x40], range));
        assert_eq!(spread(&[], range), Duration::ZERO);
    }

    #[test]
    fn a_failed_announcement_is_due_again_when_a_peer_joins() {
        let mut announcements = Announcements::new(Duration::from_secs(43_200));
        announcements.schedule(b"key", Instant::now() + Duration::from_secs(60));
        announcements.failed.insert(b"key".to_vec());
        announcements.peer_joined();
        let (at, key) = announcements.due.first().cloned().unwrap();
        assert_eq!(key, b"key");
        assert!(at <= Instant::now());
        assert_eq!(announcements.due.len(), 1);
    }
}
