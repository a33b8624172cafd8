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

use bytes::Bytes;
use cardume_content::{Cid, Manifest, PIECE, PieceSet, manifest::Limits, pieces::piece_range};
use cardume_transfer::{Request, RequestError, Response, message::Item};
use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::FuturesUnordered,
};
use libp2p_identity::PeerId;

use self::check::{Check, Checked, Got};
use crate::{
    Config, FetchError,
    disk::Disk,
    goal::Goal,
    schedule::{Ask, BlobId, Bounds, ItemId, Order, Refusal, Schedule, Ticket},
    sources::{Finder, Found, Sources},
    tally::Tally,
};

mod check;

/// Answers being verified or waiting for it; more stay with their peers.
const MAX_CHECKS: usize = 8;
/// A download with requests out counts as stuck only after this much longer.
const IN_FLIGHT_GRACE: Duration = Duration::from_secs(60);
/// Pause before peers are asked again for small blobs they did not have.
const FORGIVE_PAUSE: Duration = Duration::from_secs(1);
/// How long others are looked for when everybody so far lied.
const CORRUPT_GRACE: Duration = Duration::from_secs(5);

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
    missing: u64,
    size: u64,
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
    claims: HashMap<PeerId, Found>,
    blobs: HashMap<BlobId, BlobState>,
    items: HashMap<ItemId, ItemState>,
    last_id: u32,
    requests: FuturesUnordered<BoxFuture<'static, Answer>>,
    aborts: HashMap<Ticket, AbortHandle>,
    checks: FuturesUnordered<BoxFuture<'static, Result<Checked, FetchError>>>,
    cut: FuturesUnordered<BoxFuture<'static, ()>>,
    ready: VecDeque<Event>,
    /// When something last went forward.
    moved: Instant,
    patience: Duration,
    patience_once_moving: Duration,
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
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), root);
        let bounds = Bounds {
            window: config.max_window,
            in_flight: config.max_in_flight,
        };
        let patience = deadline.unwrap_or_else(|| config.find_timeout.get());
        Self {
            root,
            sources: Sources::new(finder.clone(), root, peers),
            finder,
            disk,
            schedule: Schedule::new(bounds, seed),
            tally,
            max_peers: config.max_peers.max(1),
            claims: HashMap::new(),
            blobs: HashMap::new(),
            items: HashMap::new(),
            last_id: 0,
            requests: FuturesUnordered::new(),
            aborts: HashMap::new(),
            checks: FuturesUnordered::new(),
            cut: FuturesUnordered::new(),
            ready: VecDeque::new(),
            moved: Instant::now(),
            patience,
            patience_once_moving: patience.max(config.lost_timeout.get()),
            forgiven: Instant::now(),
        }
    }

    /// Whether somebody has been found, and what size is claimed for the root.
    pub(crate) fn claimed_size(&self) -> Option<u64> {
        self.claims.values().map(|found| found.size).max()
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
        self.schedule.add_blob(id, only_focus, now);
        let state = BlobState {
            cid,
            expected,
            max,
            goal,
            fetch: None,
            missing: 0,
            size: 0,
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
    /// `NotFound` when nobody has it (any more), `Corrupt` when only liars do, and what the disk says.
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
            let end = self.end(now)?;
            let wake = self.schedule.wake(now).map_or(end, |wake| wake.min(end));
            let wake = wake.min(now + FORGIVE_PAUSE).max(now + Duration::from_millis(1));
            tokio::select! {
                biased;
                Some(checked) = self.checks.next() => self.on_checked(checked?)?,
                Some(answer) = self.requests.next() => self.on_answer(answer),
                found = self.sources.next() => self.on_found(found),
                Some(()) = self.cut.next() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
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
        while self.checks.len() < MAX_CHECKS
            && let Some(order) = self.schedule.next(now)
        {
            self.send(order);
        }
    }

    fn send(&mut self, order: Order) {
        let Order { ticket, peer, ask } = order;
        let Some(request) = self.request(&ask) else {
            self.schedule.end(ticket);
            return;
        };
        let transfer = self.finder.transfer.clone();
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(ticket, abort);
        let request = Abortable::new(async move { transfer.request(peer, request).await }, registration);
        self.requests
            .push(request.map(move |answer| (ticket, peer, ask, answer)).boxed());
    }

    fn request(&self, ask: &Ask) -> Option<Request> {
        Some(match ask {
            Ask::Have { blob, since } => Request::Have {
                cid: self.blobs.get(blob)?.cid,
                since: *since,
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

    // -- in

    fn on_found(&mut self, found: Found) {
        let now = Instant::now();
        if self.schedule.is_banned(&found.peer) {
            return;
        }
        if self.schedule.add_peer(found.peer, now) {
            tracing::debug!(peer = %found.peer, cid = %self.root, size = found.size, "found a source");
        }
        let of_root = self.blobs.iter().find(|(_, blob)| blob.cid == self.root);
        if let Some(id) = of_root.map(|(id, _)| *id) {
            let pieces = found.pieces.clone();
            if !self
                .schedule
                .know(&found.peer, id, now, found.size, found.version, pieces)
            {
                self.ban(found.peer, "it claims a size that is not the content's");
                return;
            }
        }
        let first = self.claims.is_empty();
        self.claims.insert(found.peer, found);
        if first {
            self.ready.push_back(Event::Claimed);
        }
        self.sources.want(self.schedule.peer_count() < self.max_peers);
    }

    fn on_answer(&mut self, (ticket, peer, ask, answer): Answer) {
        self.aborts.remove(&ticket);
        let Ok(answer) = answer else { return };
        let now = Instant::now();
        let refusal = match answer {
            Ok(Response::NotFound) => Refusal::NotFound,
            Ok(Response::Busy { retry_after }) => Refusal::Busy(retry_after),
            Ok(Response::Denied) => return self.drop_peer(peer, "it denies the content"),
            Ok(response) => return self.on_response(ticket, peer, ask, response, now),
            Err(RequestError::Malformed(reason)) => return self.ban(peer, &reason),
            Err(RequestError::Unsupported) => return self.drop_peer(peer, "it does not speak the protocol"),
            Err(RequestError::Unreachable(reason)) => return self.drop_peer(peer, &reason),
            Err(error) => {
                tracing::debug!(%peer, %error, "a request failed");
                Refusal::Failed
            }
        };
        if !self.schedule.on_refusal(ticket, now, refusal) {
            self.drop_peer(peer, "it failed too often");
        }
    }

    fn on_response(&mut self, ticket: Ticket, peer: PeerId, ask: Ask, response: Response, now: Instant) {
        match (ask, response) {
            (
                Ask::Have { .. },
                Response::Have {
                    size,
                    version,
                    pieces,
                },
            ) => {
                if !self.schedule.on_have(ticket, now, size, version, pieces) {
                    self.ban(peer, "it claims a size that is not the content's");
                }
            }
            (Ask::Piece { blob, size, piece }, Response::Slices { size: told, slices }) => {
                self.schedule.on_content(ticket, now);
                match <[Bytes; 1]>::try_from(slices) {
                    Ok([slice]) if told == size => self.check_piece(ticket, peer, blob, size, piece, slice),
                    _ => self.ban(peer, "its answer is for another size than it claimed"),
                }
            }
            (Ask::Many { items }, Response::Many { items: given }) => {
                self.schedule.on_content(ticket, now);
                self.check_many(ticket, peer, items, given);
            }
            _ => self.ban(peer, "its answer is none to what was asked"),
        }
    }

    fn check_piece(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        blob: BlobId,
        size: u64,
        piece: u64,
        slice: Bytes,
    ) {
        let Some(state) = self.blobs.get(&blob) else {
            return self.schedule.end(ticket);
        };
        let check = Check::piece(state.cid.hash(), size, piece, slice);
        let work = match &state.fetch {
            Some(fetch) => check.write(fetch.clone()),
            None => {
                self.schedule.set_proving(blob, true);
                check.prove(state.expected, state.max, state.goal.clone())
            }
        };
        let disk = self.disk.clone();
        let checked = async move {
            let got = disk.run(work).await?;
            Ok(Checked::Piece {
                ticket,
                peer,
                blob,
                piece,
                got,
            })
        };
        self.checks.push(checked.boxed());
    }

    fn check_many(&mut self, ticket: Ticket, peer: PeerId, items: Vec<ItemId>, given: Vec<Item>) {
        let mut wanted = Vec::new();
        let mut lacking = Vec::new();
        for (id, item) in items.into_iter().zip(given) {
            let Some(state) = self.items.get(&id) else {
                continue;
            };
            match item {
                Item::Blob { size, slice } => {
                    wanted.push(check::Small {
                        id,
                        cid: state.cid,
                        size,
                        expected: state.expected,
                        sink: state.sink.clone(),
                        slice,
                    });
                }
                Item::NotFound => lacking.push(id),
                Item::TooLarge { size } if size > PIECE => {
                    self.items.remove(&id);
                    self.schedule.item_verified(id);
                    self.ready.push_back(Event::TooLarge { item: id });
                }
                Item::TooLarge { .. } => lacking.push(id),
            }
        }
        let disk = self.disk.clone();
        let checked = async move {
            let results = disk.run(move |store| check::small(store, wanted)).await?;
            Ok(Checked::Many {
                ticket,
                peer,
                lacking,
                results,
            })
        };
        self.checks.push(checked.boxed());
    }

    fn on_checked(&mut self, checked: Checked) -> Result<(), FetchError> {
        match checked {
            Checked::Piece {
                ticket,
                peer,
                blob,
                piece,
                got,
            } => self.on_piece(ticket, peer, blob, piece, got),
            Checked::Many {
                ticket,
                peer,
                lacking,
                results,
            } => self.on_many(ticket, peer, &lacking, results),
        }
    }

    fn on_piece(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        id: BlobId,
        piece: u64,
        got: Result<Got, check::Failure>,
    ) -> Result<(), FetchError> {
        match got {
            Ok(Got::Written(bytes)) => {
                self.credit(peer, self.counted(id, bytes));
                self.schedule.end(ticket);
                self.on_written(id, piece, bytes);
            }
            Ok(Got::Opened { fetch, held, bytes }) => {
                self.credit(peer, self.counted(id, bytes));
                self.schedule.end(ticket);
                self.on_opened(id, fetch, &held);
            }
            Err(check::Failure::Lie(reason)) => {
                self.schedule.set_proving(id, false);
                self.ban(peer, &reason);
            }
            Err(check::Failure::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    /// The size of a blob is proven: everybody who claimed another has lied.
    fn on_opened(&mut self, id: BlobId, fetch: cardume_store::Fetch, held: &PieceSet) {
        let Some(state) = self.blobs.get_mut(&id) else {
            return;
        };
        state.size = fetch.size();
        state.missing = held.len() - held.count();
        let here: u64 = held.iter().map(|piece| piece_len(state.size, piece)).sum();
        let fetch = Arc::new(fetch);
        state.fetch = Some(fetch.clone());
        let complete = state.missing == 0;
        let hash = state.cid.hash();
        let liars = self.schedule.start_blob(id, fetch.size(), held.clone());
        for liar in liars {
            self.ban(liar, "it claims a size that is not the content's");
        }
        self.tally.done(self.counted(id, here));
        self.disk.changes.tell(hash);
        self.ready.push_back(Event::Started {
            blob: id,
            fetch: fetch.clone(),
        });
        if complete {
            self.complete(id, fetch);
        }
    }

    fn on_written(&mut self, id: BlobId, piece: u64, bytes: u64) {
        let tickets = self.schedule.verified(id, piece);
        self.abort(&tickets);
        let Some(state) = self.blobs.get_mut(&id) else {
            return;
        };
        let Some(fetch) = state.fetch.clone() else { return };
        if bytes > 0 {
            state.missing = state.missing.saturating_sub(1);
            let counted = if matches!(state.goal, Goal::Manifest) {
                0
            } else {
                bytes
            };
            self.tally.done(counted);
        } else {
            // Another answer brought it meanwhile, to us or to another fetch of the same blob.
            let held = fetch.pieces();
            state.missing = held.len() - held.count();
        }
        let (complete, hash) = (state.missing == 0, state.cid.hash());
        self.disk.changes.tell(hash);
        self.ready.push_back(Event::Piece);
        if complete {
            self.complete(id, fetch);
        }
    }

    fn complete(&mut self, id: BlobId, fetch: Arc<cardume_store::Fetch>) {
        self.blobs.remove(&id);
        let tickets = self.schedule.remove_blob(id);
        self.abort(&tickets);
        self.ready.push_back(Event::Complete { blob: id, fetch });
    }

    fn on_many(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        lacking: &[ItemId],
        results: Vec<(ItemId, Result<check::Kept, check::Failure>)>,
    ) -> Result<(), FetchError> {
        let mut lie = None;
        for (item, kept) in results {
            match kept {
                Ok(kept) => {
                    let Some(state) = self.items.remove(&item) else {
                        continue;
                    };
                    self.schedule.item_verified(item);
                    let counted = if matches!(state.sink, Sink::Goal(_)) {
                        kept.size
                    } else {
                        0
                    };
                    self.credit(peer, counted);
                    self.tally.done(counted);
                    self.disk.changes.tell(state.cid.hash());
                    self.ready.push_back(Event::Item {
                        item,
                        manifest: kept.manifest,
                        fetch: kept.fetch,
                    });
                }
                Err(check::Failure::Lie(reason)) => lie = Some(reason),
                Err(check::Failure::Fatal(error)) => return Err(error),
            }
        }
        self.schedule.end_many(ticket, Instant::now(), lacking);
        if let Some(reason) = lie {
            self.ban(peer, &reason);
        }
        Ok(())
    }

    /// What of the bytes of a blob counts as content: descriptions of directories do not.
    fn counted(&self, id: BlobId, bytes: u64) -> u64 {
        let is_manifest = |blob: &BlobState| matches!(blob.goal, Goal::Manifest);
        if self.blobs.get(&id).is_some_and(is_manifest) {
            0
        } else {
            bytes
        }
    }

    fn credit(&mut self, peer: PeerId, bytes: u64) {
        self.moved = Instant::now();
        if bytes > 0 {
            self.tally.fetched(peer, bytes);
        }
    }

    // -- peers going

    fn drop_peer(&mut self, peer: PeerId, reason: &str) {
        tracing::debug!(%peer, cid = %self.root, reason, "a source is let go");
        let tickets = self.schedule.drop_peer(&peer);
        self.let_go(peer, &tickets);
        self.sources.lost(&peer);
    }

    fn ban(&mut self, peer: PeerId, reason: &str) {
        tracing::warn!(%peer, cid = %self.root, ?reason, "a peer lies and is cut off");
        let tickets = self.schedule.ban(peer);
        self.let_go(peer, &tickets);
        self.finder.known.forget(&peer);
        let connect = self.finder.connect.clone();
        self.cut.push(
            async move {
                // Fails only when the node is stopping.
                let _ = connect.block(peer).await;
                let _ = connect.disconnect(peer).await;
            }
            .boxed(),
        );
    }

    fn let_go(&mut self, peer: PeerId, tickets: &[Ticket]) {
        self.abort(tickets);
        self.claims.remove(&peer);
        self.sources.want(self.schedule.peer_count() < self.max_peers);
    }

    /// When to give up if nothing moves; an error if that is now.
    fn end(&self, now: Instant) -> Result<Instant, FetchError> {
        let alone = self.schedule.peer_count() == 0;
        if alone && self.schedule.has_banned() && self.sources.is_exhausted() {
            let end = self.moved + self.patience.min(CORRUPT_GRACE);
            if now >= end {
                return Err(FetchError::Corrupt);
            }
            return Ok(end);
        }
        let moving = self.tally.fetched_bytes() > 0;
        let patience = if moving {
            self.patience_once_moving
        } else {
            self.patience
        };
        let busy = !self.requests.is_empty() || !self.checks.is_empty();
        let grace = if alone || !busy {
            Duration::ZERO
        } else {
            IN_FLIGHT_GRACE
        };
        let end = self.moved.checked_add(patience.saturating_add(grace));
        let end = end.unwrap_or_else(|| now + Duration::from_secs(86_400));
        if now < end || !self.checks.is_empty() {
            return Ok(end.max(now + Duration::from_millis(10)));
        }
        if self.schedule.has_banned() {
            return Err(FetchError::Corrupt);
        }
        if self.sources.was_denied() {
            return Err(FetchError::Denied(format!(
                "peers have {} and do not give it to this node",
                self.root
            )));
        }
        Err(FetchError::NotFound { cid: self.root })
    }
}

fn piece_len(size: u64, piece: u64) -> u64 {
    let range = piece_range(size, piece);
    range.end - range.start
}
