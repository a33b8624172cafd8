//! When each key of our own is announced: at its place on a clock face that one interval goes round.
//!
//! The place of a key is its place in the DHT. So keys are due evenly over the interval however many were
//! taken on together, and neighbours in the DHT are due one after the other, for one lookup to serve them.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use libp2p_kad::{KBucketKey, RecordKey as Key, U256};

use crate::config::TTL;

/// Keys announced together; more would be a burst.
pub(super) const BATCH: usize = 64;

/// The part of the interval that a key may be announced early together with a neighbour, as its divisor.
const EARLY: u64 = 100;

/// Keys looked at in one turn; passing over a million at once would hold up the swarm.
const GLANCE: usize = 4096;

/// The wait after a first failure; doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// Where a key is in the DHT.
pub(crate) type Place = U256;

/// The place of a key.
pub(crate) fn place(key: &Key) -> Place {
    U256::from_big_endian(KBucketKey::new(key.clone()).hashed_bytes())
}

/// The keys that this node provides.
#[derive(Debug)]
pub(super) struct Ring {
    interval: Duration,
    started: Instant,
    /// Where on the face the hand was when it started; nodes that share content differ in it.
    offset: u64,
    /// How far the hand has been followed since, a turn being 2^64.
    done: u128,
    keys: BTreeMap<Place, Entry>,
    /// Announced never or too long ago: at once, in order of place.
    fresh: BTreeSet<Place>,
    /// Still known to others: at little more than the mean rate.
    renewed: BTreeSet<Place>,
    /// Not before then is the next batch renewed.
    ready: Instant,
    retries: BTreeSet<(Instant, Place)>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// Seconds from the start of the ring to the last announcement; negative if an earlier run made it.
    told: Option<i64>,
    failures: u8,
}

impl Ring {
    pub(super) fn new(interval: Duration, offset: u64, now: Instant) -> Self {
        Self {
            interval,
            started: now,
            offset,
            done: 0,
            keys: BTreeMap::new(),
            fresh: BTreeSet::new(),
            renewed: BTreeSet::new(),
            ready: now,
            retries: BTreeSet::new(),
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains_key(&place(key))
    }

    /// Takes a key on, that others were told of so long ago.
    pub(super) fn add(&mut self, key: Key, told: Option<Duration>, now: Instant) {
        let place = place(&key);
        let told = told.map(|ago| self.seconds(now) - ago.as_secs() as i64);
        let entry = Entry {
            key,
            told,
            failures: 0,
        };
        if self.is_fresh(&entry, now) {
            self.fresh.insert(place);
        }
        self.keys.insert(place, entry);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let place = place(key);
        self.keys.remove(&place);
        self.fresh.remove(&place);
        self.renewed.remove(&place);
    }

    /// Follows the hand to `now`; when it next has to be.
    pub(super) fn follow(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, place)) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.remove(&(at, place));
            self.again(place, now);
        }
        let next = self.sweep(now);
        let retry = self.retries.first().map(|(at, _)| *at);
        let paced = (!self.renewed.is_empty()).then_some(self.ready);
        next.into_iter().chain(retry).chain(paced).min()
    }

    /// The next keys to be announced, neighbours of each other; nothing before it is time.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Place, Key)> {
        let fresh = !self.fresh.is_empty();
        let set = if fresh {
            &mut self.fresh
        } else if now >= self.ready {
            &mut self.renewed
        } else {
            return Vec::new();
        };
        let places: Vec<_> = set.iter().take(BATCH).copied().collect();
        for place in &places {
            set.remove(place);
        }
        if !fresh {
            self.ready = now + self.pace(places.len());
        }
        let key = |place| Some((place, self.keys.get(&place)?.key.clone()));
        places.into_iter().filter_map(key).collect()
    }

    /// Puts back what another lookup has to serve; it was not announced, so it takes no time.
    pub(super) fn put_back(&mut self, places: &[Place], now: Instant) {
        let paid = self.pace(places.len());
        self.ready = self.ready.checked_sub(paid).unwrap_or(now).max(now);
        for place in places {
            self.again(*place, now);
        }
    }

    /// Notes that somebody has heard of the keys.
    pub(super) fn told(&mut self, places: &[Place], now: Instant) {
        let at = self.seconds(now);
        for place in places {
            if let Some(entry) = self.keys.get_mut(place) {
                entry.told = Some(at);
                entry.failures = 0;
            }
        }
    }

    /// Notes that nobody has heard of the keys: they are due again after a while.
    pub(super) fn failed(&mut self, places: &[Place], now: Instant) {
        for place in places {
            if let Some(entry) = self.keys.get_mut(place) {
                let wait = FIRST_RETRY * 2_u32.pow(u32::from(entry.failures.min(12)));
                entry.failures = entry.failures.saturating_add(1);
                self.retries.insert((now + wait.min(self.interval), *place));
            }
        }
    }

    /// There is somebody new to tell: what could not be announced is due.
    pub(super) fn retry(&mut self, now: Instant) {
        for (_, place) in std::mem::take(&mut self.retries) {
            self.again(place, now);
        }
    }

    fn again(&mut self, place: Place, now: Instant) {
        let Some(entry) = self.keys.get(&place) else {
            return;
        };
        if self.is_fresh(entry, now) {
            self.fresh.insert(place);
        } else {
            self.renewed.insert(place);
        }
    }

    /// Moves the neighbours that the hand has reached to the renewed ones.
    fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let turn = 1_u128 << 64;
        let total = now.saturating_duration_since(self.started).as_nanos() * turn / self.interval.as_nanos();
        // A round that was missed as a whole is not made up for.
        self.done = self.done.max(total.saturating_sub(turn));
        for _ in 0..GLANCE {
            if self.renewed.len() >= BATCH {
                return None;
            }
            let from = self.offset.wrapping_add(self.done as u64);
            let (place, entry) = self.after(from)?;
            let ahead = u128::from(high(&place).wrapping_sub(from));
            let reached = self.done + ahead;
            if reached > total {
                let nanos = reached * self.interval.as_nanos() / turn + 1;
                let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                return Some(self.started + Duration::from_nanos(nanos));
            }
            if !self.is_due(entry, now) {
                self.done = reached + 1;
                continue;
            }
            let end = high(&place).saturating_add(u64::MAX / EARLY);
            let batch = self.neighbours(high(&place)..=end, now);
            let last = high(batch.last().unwrap_or(&place));
            self.done = reached + u128::from(last - high(&place)) + 1;
            self.renewed.extend(batch);
        }
        Some(now)
    }

    /// The first key from there on, around the clock.
    fn after(&self, from: u64) -> Option<(Place, &Entry)> {
        let start = U256::from(from) << 192;
        let next = self
            .keys
            .range(start..)
            .next()
            .or_else(|| self.keys.iter().next());
        next.map(|(place, entry)| (*place, entry))
    }

    fn neighbours(&self, range: RangeInclusive<u64>, now: Instant) -> Vec<Place> {
        let start = U256::from(*range.start()) << 192;
        let room = BATCH - self.renewed.len();
        let keys = self.keys.range(start..).take(GLANCE);
        let keys = keys.take_while(|(place, _)| high(place) <= *range.end());
        let due = keys.filter(|(_, entry)| self.is_due(entry, now));
        due.map(|(place, _)| *place).take(room).collect()
    }

    /// Whether others have to hear of the key this time round, for the next time would be late.
    fn is_due(&self, entry: &Entry, now: Instant) -> bool {
        let Some(told) = entry.told else {
            return false;
        };
        let ago = Duration::from_secs((self.seconds(now) - told).max(0).unsigned_abs());
        ago >= self.interval / 2 || ago + self.interval > TTL * 3 / 4
    }

    fn is_fresh(&self, entry: &Entry, now: Instant) -> bool {
        let since = |told: i64| (self.seconds(now) - told).unsigned_abs();
        entry.told.is_none_or(|told| since(told) >= TTL.as_secs())
    }

    /// How long as many keys take at four thirds of the mean rate: with one batch on top, no minute has more than
    /// twice the mean.
    fn pace(&self, keys: usize) -> Duration {
        let all = self.keys.len().max(1) as f64;
        self.interval.mul_f64(keys as f64 / all * 0.75)
    }

    fn seconds(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.started).as_secs() as i64
    }
}

fn high(place: &Place) -> u64 {
    (*place >> 192).low_u64()
}
