//! Answers to other peers' requests, from the store.
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cardume_content::{Cid, GROUP, PIECE, PieceSet, pieces::piece_count, slice};
use cardume_store::{Presence, ReadError, Store};
use cardume_transfer::{
    Buffers, Request, Response, SwarmPeer,
    message::{Item, MAX_ADDRESSES, MAX_PAYLOAD},
};
use libp2p_identity::PeerId;

use crate::{
    announce::Board,
    config::Settings,
    disk::Disk,
    door::Door,
    giving::Verdict,
    known::{self, Known},
    pulls::Pulls,
    sending::Sending,
    served::Served,
};

/// How long an answer is held back for a change; well below what the asker waits.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// When to come back if too many are being answered.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// … and if others are bringing the blob to everybody.
const CROWD_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Bytes expected of an answer with many blobs, which tells its size only when it has been read.
const MANY: u64 = 2 * PIECE;
/// How long learning the other peers' addresses may take.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(5);

/// What requests are answered with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Answerer {
    pub(crate) door: Door,
    pub(crate) disk: Disk,
    pub(crate) pulls: Pulls,
    pub(crate) connect: cardume_connect::Handle,
    pub(crate) known: Arc<Known>,
    pub(crate) board: Arc<Board>,
    /// Peers that wait for a change.
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) settings: Settings,
    pub(crate) buffers: Buffers,
    pub(crate) sending: Arc<Sending>,
    pub(crate) served: Arc<Served>,
}

impl Answerer {
    /// Answers one request.
    pub(crate) async fn answer(&self, peer: PeerId, request: Request) -> Response {
        match self.admit(&peer, request) {
            Request::Get { cid, ranges } => {
                let buffers = self.buffers.clone();
                let now = Instant::now();
                self.known.saw(cid, peer, now);
                if let Some(retry_after) = self.turns_away(cid, peer, &ranges, now) {
                    return Response::Busy { retry_after };
                }
                let lengths = ranges.iter().map(|range| range.end.saturating_sub(range.start));
                let room = self
                    .sending
                    .room(peer, lengths.fold(0, u64::saturating_add))
                    .await;
                let read = self.on_disk(cid, move |store| get(store, cid, &ranges, &buffers));
                self.noted(peer, cid, room.with(read.await))
            }
            Request::GetMany { cids } => {
                let Some(first) = cids.first().copied() else {
                    return Response::NotFound;
                };
                let room = self.sending.room(peer, MANY).await;
                let read = self.on_disk(first, move |store| Ok(get_many(store, &cids)));
                self.noted(peer, first, room.with(read.await))
            }
            Request::Have { cid, since } => {
                self.known.saw(cid, peer, Instant::now());
                self.have(cid, since).await
            }
            Request::Swarm { cid } => {
                let peers = self.others(cid, peer).await;
                Response::Swarm { peers }
            }
        }
    }

    /// The answer, of which is remembered that the peer is given something, if it is.
    fn noted(&self, peer: PeerId, cid: Cid, response: Response) -> Response {
        if matches!(response, Response::Slices { .. } | Response::Many { .. }) {
            self.served.gave(peer, cid, Instant::now());
        }
        response
    }

    /// The request, for what this peer may have: rules on who may get what are asked here, and nowhere else.
    fn admit(&self, peer: &PeerId, mut request: Request) -> Request {
        match &mut request {
            Request::GetMany { cids } => {
                for cid in cids {
                    *cid = self.door.admit(peer, *cid);
                }
            }
            Request::Get { cid, .. } | Request::Have { cid, .. } | Request::Swarm { cid } => {
                *cid = self.door.admit(peer, *cid);
            }
        }
        request
    }

    /// When a peer is to come back that does not get this now.
    fn turns_away(&self, cid: Cid, peer: PeerId, ranges: &[Range<u64>], now: Instant) -> Option<Duration> {
        match self.sending.ask(cid, peer, ranges.first()?, now) {
            Verdict::Give => None,
            Verdict::AskOthers => Some(Duration::ZERO),
            Verdict::ComeLater => Some(CROWD_RETRY_AFTER),
        }
    }

    /// Answers that too much is going on.
    pub(crate) fn busy() -> Response {
        Response::Busy {
            retry_after: RETRY_AFTER,
        }
    }

    async fn on_disk(
        &self,
        cid: Cid,
        work: impl FnOnce(&Store) -> Result<Response, ReadError> + Send + 'static,
    ) -> Response {
        match self.disk.run(work).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => self.explain(cid, &error),
            Err(_) => Response::NotFound,
        }
    }

    /// What a peer is told of a failure: that we do not have it. What our operator is told: why.
    fn explain(&self, cid: Cid, error: &ReadError) -> Response {
        match error {
            ReadError::NotFound | ReadError::NotHeld(_) => {}
            ReadError::Changed { path } => {
                tracing::warn!(%cid, path = %path.display(), "a shared file has changed and is taken off the air");
                self.board.set(cid, false);
            }
            error => tracing::warn!(%cid, %error, "content cannot be read"),
        }
        Response::NotFound
    }

    async fn have(&self, cid: Cid, since: Option<u64>) -> Response {
        let mut changes = self.disk.changes.subscribe(cid.hash());
        let until = tokio::time::Instant::now() + MAX_WAIT;
        // Of those that would wait only so many do; the others are answered as things are.
        let max = self.settings.now().max_waiting;
        let turn = since.and_then(|_| Turn::take(self.waiting.clone(), max));
        loop {
            let response = self.on_disk(cid, move |store| have(store, cid)).await;
            let Response::Have { version, pieces, .. } = &response else {
                return match self.pulls.of(cid.hash()) {
                    Some(bytes) if response == Response::NotFound => Response::Coming { bytes },
                    _ => response,
                };
            };
            if turn.is_none() || since != Some(*version) || pieces.is_full() {
                return response;
            }
            match tokio::time::timeout_at(until, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return response,
            }
        }
    }

    /// Peers known with a root, and where they are.
    async fn others(&self, cid: Cid, asker: PeerId) -> Vec<SwarmPeer> {
        let mut others = Vec::new();
        let until = tokio::time::Instant::now() + ADDRESSES_TIMEOUT;
        for peer in self.known.peers(cid, Instant::now()) {
            if peer == asker || others.len() >= known::MAX_PEERS {
                continue;
            }
            let addresses = tokio::time::timeout_at(until, self.connect.addresses_of(peer)).await;
            let Ok(Ok(mut addresses)) = addresses else { break };
            addresses.truncate(MAX_ADDRESSES);
            if !addresses.is_empty() {
                others.push(SwarmPeer { peer, addresses });
            }
        }
        others
    }
}

/// One of those that wait.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// Counts one more, unless there are as many as may be.
    fn take(waiting: Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let turn = Self(waiting);
        // One that is too many goes at once, with what it holds.
        (turn.0.fetch_add(1, Ordering::Relaxed) < max).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn have(store: &Store, cid: Cid) -> Result<Response, ReadError> {
    Ok(match store.presence(cid.hash())? {
        Presence::Absent => Response::NotFound,
        Presence::Complete { size } => {
            let pieces = PieceSet::full(piece_count(size));
            Response::Have {
                size,
                version: pieces.count(),
                pieces,
            }
        }
        Presence::Partial { size, pieces } => Response::Have {
            size,
            version: pieces.count(),
            pieces,
        },
    })
}

/// Slices of all ranges, or nothing: an asker has no use for a part of what it asked.
fn get(store: &Store, cid: Cid, ranges: &[Range<u64>], buffers: &Buffers) -> Result<Response, ReadError> {
    let size = match store.presence(cid.hash())? {
        Presence::Absent => return Err(ReadError::NotFound),
        Presence::Complete { size } | Presence::Partial { size, .. } => size,
    };
    let asked = |range: &Range<u64>| slice::encoded_len(size, range.clone());
    let total = ranges.iter().map(asked).fold(0, u64::saturating_add);
    let is_inside = ranges
        .iter()
        .all(|range| range.start < size || (size == 0 && range.end == 0));
    if total > MAX_PAYLOAD || !is_inside {
        return Err(ReadError::NotFound);
    }
    let mut slices = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut slice = buffers.of(usize::try_from(asked(range)).unwrap_or(0));
        store.fill_slice(cid.hash(), range.clone(), &mut slice)?;
        slices.push(slice.freeze());
    }
    Ok(Response::Slices { size, slices })
}

/// As many whole blobs as one answer can carry, at least one.
fn get_many(store: &Store, cids: &[Cid]) -> Response {
    let mut items = Vec::with_capacity(cids.len());
    let mut room = MAX_PAYLOAD - GROUP;
    for cid in cids {
        let item = small(store, *cid, room);
        match &item {
            Ok(Item::Blob { slice, .. }) => room = room.saturating_sub(slice.len() as u64),
            Ok(_) => {}
            Err(Full) => break,
        }
        items.extend(item);
    }
    Response::Many { items }
}

struct Full;

fn small(store: &Store, cid: Cid, room: u64) -> Result<Item, Full> {
    let size = match store.presence(cid.hash()) {
        Ok(Presence::Complete { size }) => size,
        Ok(Presence::Partial { size, pieces }) if pieces.is_full() => size,
        _ => return Ok(Item::NotFound),
    };
    if size > PIECE {
        return Ok(Item::TooLarge { size });
    }
    if slice::encoded_len(size, 0..size) > room {
        return Err(Full);
    }
    let mut slice = Vec::new();
    match store.slice(cid.hash(), 0..size, &mut slice) {
        Ok(()) => Ok(Item::Blob {
            size,
            slice: slice.into(),
        }),
        Err(error) => {
            tracing::debug!(%cid, %error, "content cannot be read");
            Ok(Item::NotFound)
        }
    }
}
