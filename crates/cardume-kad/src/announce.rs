//! Announcing what we provide, evenly and again.
use std::{
    collections::{HashMap, HashSet},
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use libp2p_kad::{GetClosestPeersError, GetClosestPeersResult, QueryId, RecordKey as Key};
use multiaddr::Multiaddr;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use self::{
    region::share_out,
    ring::{Place, Ring},
};
use crate::{
    handle::KadError,
    inner::{Dht, Inner},
    routing::{Routing, table_size},
    tell::{Errand, Told},
};

mod region;
mod ring;

type Waiter = oneshot::Sender<Result<(), KadError>>;

/// Lookups at the same time; enough for 100,000 keys, too few to be felt.
const IN_FLIGHT: usize = 8;

/// Callers that wait for their key's first announcement; whoever brings more has no use for waiting.
const WAITING: usize = 64;

/// How long peers are told of one batch, dials included.
const TELLING: Duration = Duration::from_secs(15);

/// How long keys of an earlier run may take to be provided again before they are forgotten.
const RETURNING: Duration = Duration::from_secs(3600);

/// The keys that this node provides, and who is being told of them.
pub(crate) struct Announcements {
    ring: Ring,
    flights: HashMap<u64, Flight>,
    last: u64,
    waiters: HashMap<Place, Vec<Waiter>>,
    /// What an earlier run has announced, and how long ago that was at the start.
    earlier: HashMap<Vec<u8>, Duration>,
    started: Instant,
    /// The routing table was empty when last looked at.
    alone: bool,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    lookups: u64,
    told: u64,
}

/// One batch on its way.
struct Flight {
    keys: Vec<(Place, Key)>,
    stage: Stage,
}

enum Stage {
    Lookup(QueryId),
    Telling {
        waiting: HashSet<PeerId>,
        heard: bool,
        until: Instant,
    },
}

impl Announcements {
    pub(crate) fn new(interval: Duration, offset: u64, earlier: HashMap<Vec<u8>, Duration>) -> Self {
        let started = Instant::now();
        Self {
            ring: Ring::new(interval, offset, started),
            flights: HashMap::new(),
            last: 0,
            waiters: HashMap::new(),
            earlier,
            started,
            alone: false,
            timer: None,
            lookups: 0,
            told: 0,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Lookups made, and keys announced by them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.lookups, self.told)
    }

    /// Takes a key on; the store has it already.
    pub(crate) fn add(&mut self, key: Key, waiter: Waiter) {
        let now = Instant::now();
        if self.ring.contains(&key) {
            let _ = waiter.send(Ok(()));
            return;
        }
        let ago = self.earlier.remove(key.as_ref());
        let ago = ago.map(|ago| ago + self.started.elapsed());
        let place = ring::place(&key);
        self.ring.add(key, ago, now);
        if ago.is_some() || self.waiters.len() >= WAITING {
            let _ = waiter.send(Ok(()));
        } else {
            self.waiters.entry(place).or_default().push(waiter);
        }
    }

    /// Lets a key go; a batch that is on its way is not called back.
    pub(crate) fn remove(&mut self, dht: &mut Dht, key: &Key) {
        self.ring.remove(key);
        self.earlier.remove(key.as_ref());
        dht.store_mut().withdraw(key);
        self.answer(&[ring::place(key)]);
    }

    /// Forgets what an earlier run has provided and this one does not.
    pub(crate) fn settle(&mut self, dht: &mut Dht) {
        if self.started.elapsed() > RETURNING {
            for (key, _) in self.earlier.drain() {
                dht.store_mut().withdraw(&Key::from(key));
            }
        }
    }

    /// A peer has entered the routing table: what could not be announced is due again.
    pub(crate) fn peer_joined(&mut self) {
        self.alone = false;
        self.ring.retry(Instant::now());
    }

    /// Whether the lookup is one of ours.
    pub(crate) fn owns(&self, id: QueryId) -> bool {
        self.flights.values().any(|flight| flight.is_lookup(id))
    }

    /// Takes the end of a lookup of ours: tells the peers found.
    pub(crate) fn on_closest(
        &mut self,
        inner: &mut Inner,
        routing: &Routing,
        ours: Vec<Multiaddr>,
        id: QueryId,
        result: GetClosestPeersResult,
    ) {
        let number = self.flights.iter().find(|(_, flight)| flight.is_lookup(id));
        let number = number.map(|(number, _)| *number);
        let Some((number, mut flight)) = number.and_then(|n| self.flights.remove_entry(&n)) else {
            return;
        };
        // What a lookup found before its time was over is as good.
        let peers = match result {
            Ok(found) => found.peers,
            Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        let now = Instant::now();
        let ids: Vec<_> = peers.iter().map(|info| info.peer_id).collect();
        let mut region = share_out(&flight.keys, &ids);
        self.ring.put_back(&region.left, now);
        flight.keys.retain(|(place, _)| region.served.contains(place));
        let ours: Arc<[Multiaddr]> = ours.into();
        let mut waiting = HashSet::new();
        for info in peers {
            let Some(keys) = region.told.remove(&info.peer_id) else {
                continue;
            };
            let mut addresses = info.addrs;
            addresses.retain(|address| routing.believes(&mut inner.dht, &info.peer_id, address));
            waiting.insert(info.peer_id);
            inner.teller.tell(Errand {
                number,
                peer: info.peer_id,
                addresses,
                keys,
                ours: Arc::clone(&ours),
            });
        }
        flight.stage = Stage::Telling {
            waiting,
            heard: false,
            until: now + TELLING,
        };
        self.flights.insert(number, flight);
        self.land(&mut inner.dht, number, now);
    }

    /// A peer was told, or could not be.
    pub(crate) fn on_told(&mut self, dht: &mut Dht, told: Told) {
        let Some(flight) = self.flights.get_mut(&told.number) else {
            return;
        };
        if let Stage::Telling { waiting, heard, .. } = &mut flight.stage {
            waiting.remove(&told.peer);
            *heard |= told.heard;
        }
        self.land(dht, told.number, Instant::now());
    }

    /// Ends a batch of which everybody has heard who will.
    fn land(&mut self, dht: &mut Dht, number: u64, now: Instant) {
        let Some(Flight {
            stage:
                Stage::Telling {
                    waiting,
                    heard,
                    until,
                },
            ..
        }) = self.flights.get(&number)
        else {
            return;
        };
        let heard = *heard;
        if !waiting.is_empty() && *until > now {
            return;
        }
        let Some(flight) = self.flights.remove(&number) else {
            return;
        };
        let places: Vec<_> = flight.keys.iter().map(|(place, _)| *place).collect();
        if heard {
            self.told += places.len() as u64;
            self.ring.told(&places, now);
            let keys = flight.keys.into_iter().map(|(_, key)| key);
            dht.store_mut().announced_now(keys.collect());
        } else {
            self.ring.failed(&places, now);
        }
        self.answer(&places);
    }

    /// Starts what is due; with nobody to tell, answers those who wait and keeps everything due.
    pub(crate) fn poll(&mut self, dht: &mut Dht, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        self.land_late(dht, now);
        let mut next = self.ring.follow(now);
        let mut moved = false;
        while self.flights.len() < IN_FLIGHT {
            if self.is_alone(dht) {
                for waiter in std::mem::take(&mut self.waiters).into_values().flatten() {
                    let _ = waiter.send(Ok(()));
                }
                break;
            }
            let keys = self.ring.take(now);
            let Some((_, centre)) = keys.first() else {
                break;
            };
            let id = dht.get_closest_peers(centre.to_vec());
            self.lookups += 1;
            self.last += 1;
            let stage = Stage::Lookup(id);
            self.flights.insert(self.last, Flight { keys, stage });
            next = self.ring.follow(now);
            moved = true;
        }
        let late = self.flights.values().filter_map(Flight::until).min();
        let full = self.alone || self.flights.len() >= IN_FLIGHT;
        let next = next.filter(|_| !full).into_iter().chain(late).min();
        if moved {
            Poll::Ready(())
        } else {
            self.wait(next, cx)
        }
    }

    /// Counting the table visits every bucket: an empty one is not counted again before a peer has joined.
    fn is_alone(&mut self, dht: &mut Dht) -> bool {
        self.alone = self.alone || table_size(dht) == 0;
        self.alone
    }

    fn land_late(&mut self, dht: &mut Dht, now: Instant) {
        let late = |flight: &Flight| flight.until().is_some_and(|until| until <= now);
        let late: Vec<_> = self
            .flights
            .iter()
            .filter(|(_, f)| late(f))
            .map(|(n, _)| *n)
            .collect();
        for number in late {
            self.land(dht, number, now);
        }
    }

    fn answer(&mut self, places: &[Place]) {
        for place in places {
            for waiter in self.waiters.remove(place).into_iter().flatten() {
                let _ = waiter.send(Ok(()));
            }
        }
    }

    fn wait(&mut self, next: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = next else {
            return Poll::Pending;
        };
        if self.timer.as_ref().is_none_or(|(at, _)| *at != next) {
            self.timer = Some((next, Box::pin(sleep_until(next.into()))));
        }
        let Some((_, sleep)) = &mut self.timer else {
            return Poll::Pending;
        };
        std::task::ready!(sleep.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }
}

impl Flight {
    fn is_lookup(&self, id: QueryId) -> bool {
        matches!(&self.stage, Stage::Lookup(lookup) if *lookup == id)
    }

    fn until(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Lookup(_) => None,
            Stage::Telling { until, .. } => Some(*until),
        }
    }
}

#[cfg(test)]
mod tests;
