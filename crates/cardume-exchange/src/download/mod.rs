//! Blobs coming in from many peers: the schedule's orders sent, the answers verified and written.
//!
//! # Invariants
//!
//! * Nothing is hashed or written on the task that polls this.
//! * No size is believed before the last piece has been verified under it.
//! * A peer whose bytes do not verify, or whose claims are disproven, is cut off and never asked again by this download.
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use cardume_content::{Cid, Manifest, PIECE, manifest::Limits, pieces::piece_range};
use cardume_transfer::{Request, RequestError, Response};
use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::FuturesUnordered,
};
use libp2p_identity::PeerId;

use self::{check::Checked, hope::Hope, relayed::Relayed, web::Web};
use crate::{
    Config, FetchError,
    disk::Disk,
    goal::Goal,
    load::Part,
    schedule::{self, Ask, BlobId, Bounds, ItemId, Order, Schedule, Ticket},
    sources::{Finder, Found, Sources},
    tally::Tally,
};

mod answers;
mod check;
mod hope;
mod peers;
mod pull;
mod relayed;
mod web;

/// Answers being verified or waiting for it; more stay with their peers.
const MAX_CHECKS: usize = 8;
/// Requests for content that each fetch may have on their way, however much the others have.
const MIN_IN_FLIGHT: usize = 2;
/// Pause before peers are asked again for small blobs they did not have.
const FORGIVE_PAUSE: Duration = Duration::from_secs(1);

/// What came.
pub(crate) enum Event {
    /// The first source is there; it claims this size for the root.
    Claimed,
    /// The size is proven, and what was there already is known.
    Started {
        blob: BlobId,
        fetch: Arc<cardume_store::Fetch>,
    },
    /// A piece is verified and written.
    Piece,
    /// A blob is complete.
    Complete {
        blob: BlobId,
        fetch: Arc<cardume_store::Fetch>,
    },
    /// A small blob is verified: a manifest, or what a fetch has written.
    Item {
        item: ItemId,
        manifest: Option<Manifest>,
        fetch: Option<cardume_store::Fetch>,
    },
    /// A small blob turned out to be a large one.
    TooLarge { item: ItemId },
}

/// Where a small blob goes.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Into the store's own data and to whoever asked: a manifest.
    Manifest(Limits),
    /// Into a file, or the store.
    Goal(Goal),
}

struct BlobState {
    cid: Cid,
    expected: Option<u64>,
    max: u64,
    goal: Goal,
    fetch: Option<Arc<cardume_store::Fetch>>,
    size: u64,
    /// Answers being verified or written; what they bring is counted before the blob is complete.
    checking: usize,
}

struct ItemState {
    cid: Cid,
    expected: Option<u64>,
    sink: Sink,
}

type Answer = (
    Ticket,
    PeerId,
    Ask,
    Result<Result<Response, RequestError>, Aborted>,
);

/// One root being downloaded, with what is below it.
pub(crate) struct Download {
    root: Cid,
    finder: Finder,
    disk: Disk,
    sources: Sources,
    schedule: Schedule,
    pub(crate) tally: Tally,
    max_peers: usize,
    max_in_flight: usize,
    /// Requests for content, as told to the other downloads.
    load: Part,
    claims: HashMap<PeerId, Found>,
    blobs: HashMap<BlobId, BlobState>,
    items: HashMap<ItemId, ItemState>,
    last_id: u32,
    requests: FuturesUnordered<BoxFuture<'static, Answer>>,
    aborts: HashMap<Ticket, AbortHandle>,
    checks: FuturesUnordered<BoxFuture<'static, Result<Checked, FetchError>>>,
    cut: FuturesUnordered<BoxFuture<'static, ()>>,
    ready: VecDeque<Event>,
    hope: Hope,
    web: Web,
    relayed: Relayed,
    /// When peers were last asked again for small blobs they did not have.
    forgiven: Instant,
}

impl Download {
    pub(crate) fn new(
        root: Cid,
        finder: Finder,
        disk: Disk,
        peers: &[multiaddr::Multiaddr],
        tally: Tally,
        config: &Config,
        deadline: Option<Duration>,
    ) -> Self {
        let local = finder.local;
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), root);
        let bounds = Bounds {
            window: config.max_window,
            in_flight: config.max_in_flight,
        };
        Self {
            root,
            sources: Sources::new(finder.clone(), root, peers),
            load: Part::of(finder.load.clone()),
            web: Web::new(finder.origin.clone(), disk.clone(), root),
            finder,
            disk,
            schedule: Schedule::new(local, bounds, seed),
            tally,
            max_peers: config.max_peers.max(1),
            max_in_flight: config.max_in_flight,
            claims: HashMap::new(),
            blobs: HashMap::new(),
            items: HashMap::new(),
            last_id: 0,
            requests: FuturesUnordered::new(),
            aborts: HashMap::new(),
            checks: FuturesUnordered::new(),
            cut: FuturesUnordered::new(),
            ready: VecDeque::new(),
            hope: Hope::new(config, deadline),
            relayed: Relayed::new(config),
            forgiven: Instant::now(),
        }
    }

    /// Whether somebody has been found, and what size is claimed for the root.
    pub(crate) fn claimed_size(&self) -> Option<u64> {
        let claimed = self.claims.values().map(|found| found.size).max();
        claimed.or_else(|| self.web.size())
    }

    /// Begins to get a blob piece by piece; with `only_focus`, just what [`focus`](Self::focus) names.
    pub(crate) fn add_blob(
        &mut self,
        cid: Cid,
        expected: Option<u64>,
        max: u64,
        goal: Goal,
        only_focus: bool,
    ) -> BlobId {
        self.last_id += 1;
        let id = self.last_id;
        let now = Instant::now();
        let salt = schedule::salt(cid.hash());
        self.schedule.add_blob(id, salt, only_focus, now);
        let state = BlobState {
            cid,
            expected,
            max,
            goal,
            fetch: None,
            size: 0,
            checking: 0,
        };
        self.blobs.insert(id, state);
        if cid == self.root {
            for found in self.claims.values() {
                let pieces = found.pieces.clone();
                self.schedule
                    .know(&found.peer, id, now, found.size, found.version, pieces);
            }
        }
        id
    }

    /// Moves the pieces a reader waits for.
    pub(crate) fn focus(&mut self, blob: BlobId, pieces: Range<u64>) {
        self.schedule.focus(blob, pieces);
    }

    /// Begins to get a small blob, together with others.
    pub(crate) fn add_item(&mut self, cid: Cid, expected: Option<u64>, sink: Sink) -> ItemId {
        self.last_id += 1;
        let id = self.last_id;
        // Manifests do not say how large they are themselves; most are small.
        self.schedule.add_item(id, expected.unwrap_or(16 * 1024));
        self.items.insert(id, ItemState { cid, expected, sink });
        id
    }

    /// Small blobs that are not complete.
    pub(crate) fn unfinished_items(&self) -> usize {
        self.items.len()
    }

    /// Large blobs that are not complete.
    pub(crate) fn unfinished_blobs(&self) -> usize {
        self.blobs.len()
    }

    /// Runs until something has come.
    ///
    /// # Errors
    /// `NotFound` when nobody has it, `Gone` when nobody has it any more, `Corrupt` when only liars do, and what the disk says.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Event, FetchError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let now = Instant::now();
            self.schedule.expire(now);
            self.forgive(now);
            self.send_orders(now);
            self.ask_web(now);
            let end = self.end(now)?;
            let wake = self.schedule.wake(now).map_or(end, |wake| wake.min(end));
            let wake = self.web.due(now).map_or(wake, |due| due.min(wake));
            let wake = wake
                .min(now + self.look_pause())
                .max(now + Duration::from_millis(1));
            tokio::select! {
                biased;
                Some(checked) = self.checks.next() => self.on_checked(checked?)?,
                Some(answer) = self.requests.next() => self.on_answer(answer),
                found = self.sources.next() => self.on_found(found),
                Some(step) = self.web.next() => self.on_web(step)?,
                Some(()) = self.cut.next() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Time until something is looked at that nothing tells of.
    fn look_pause(&self) -> Duration {
        if self.relayed.waits() {
            relayed::LOOK_PAUSE
        } else {
            FORGIVE_PAUSE
        }
    }

    // -- out

    /// Asks everybody again for what nobody had, as fetchers have more by now.
    fn forgive(&mut self, now: Instant) {
        if self.requests.is_empty() && now.saturating_duration_since(self.forgiven) >= FORGIVE_PAUSE {
            self.forgiven = now;
            self.schedule.forgive();
        }
    }

    fn send_orders(&mut self, now: Instant) {
        let room = self.max_in_flight.saturating_sub(self.load.others());
        self.schedule.limit(room.max(MIN_IN_FLIGHT));
        let transfer = &self.finder.transfer;
        self.relayed.bar(&mut self.schedule, transfer, self.tally.left());
        while self.checks.len() < MAX_CHECKS {
            let transfer = &self.finder.transfer;
            let backlog = |peer: &PeerId| transfer.backlog(peer, PIECE);
            let Some(order) = self.schedule.next_within(now, backlog) else {
                break;
            };
            self.send(order);
        }
        self.load.set(self.schedule.window(), self.schedule.in_flight());
    }

    fn send(&mut self, order: Order) {
        let Order { ticket, peer, ask } = order;
        let Some(request) = self.request(&ask) else {
            self.schedule.end(ticket);
            return;
        };
        // Called here and not in the future, so that the next order already counts it.
        let request = self.finder.transfer.request(peer, request);
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(ticket, abort);
        let request = Abortable::new(request, registration);
        self.requests
            .push(request.map(move |answer| (ticket, peer, ask, answer)).boxed());
    }

    fn request(&self, ask: &Ask) -> Option<Request> {
        Some(match ask {
            Ask::Have { blob, since } => Request::Have {
                cid: self.blobs.get(blob)?.cid,
                since: *since,
            },
            Ask::Proof { blob, size, along } => Request::Get {
                cid: self.blobs.get(blob)?.cid,
                ranges: (along.clone().map(|piece| piece_range(*size, piece)))
                    .chain([check::proof_range(*size)])
                    .collect(),
            },
            Ask::Piece { blob, size, piece } => Request::Get {
                cid: self.blobs.get(blob)?.cid,
                ranges: vec![piece_range(*size, *piece)],
            },
            Ask::Many { items } => {
                let cids = items.iter().map(|item| self.items.get(item).map(|item| item.cid));
                Request::GetMany {
                    cids: cids.collect::<Option<_>>()?,
                }
            }
        })
    }

    fn abort(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(abort) = self.aborts.remove(ticket) {
                abort.abort();
            }
        }
    }
}
