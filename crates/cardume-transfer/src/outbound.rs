//! Requests of ours: on the wire, waiting for a connection, or given up.
//!
//! A connected peer's request goes out at once. Of the requests to a peer that is not connected, the
//! first (the leader) makes libp2p dial, the others are parked until the peer is connected and a slot on
//! the wire is free, or fail together with the dial. So requests to peers that cannot be reached take none
//! of the slots on the wire, and the mailbox stays open for requests to all others.
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_request_response::{self as request_response, OutboundFailure, OutboundRequestId};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    RequestError, Response,
    message::Expected,
    stream::{Ask, Codec, WHOLE},
    traffic::Counters,
};

/// The behaviour inside.
pub(crate) type Inner = request_response::Behaviour<Codec>;

/// Requests that only wait (for a connection, or for a change at a peer), for each one on the wire; without
/// it, requests to peers that cannot be reached would pile up in memory.
const WAITING_PER_SLOT: usize = 8;
/// Time beyond a request's own limit for dialling and for agreeing on the protocol, after which it is given up
/// even if libp2p never says how it ended.
const GRACE: Duration = Duration::from_secs(30);

/// One request, as the handle hands it over.
#[derive(Debug)]
pub struct Call {
    pub(crate) peer: PeerId,
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Response, RequestError>>,
}

impl cardume_behaviour::Command for Call {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A request that libp2p has.
struct Pending {
    peer: PeerId,
    expected: Expected,
    waits: bool,
    /// Whether it counts against the limit of requests on the wire.
    on_wire: bool,
    over: CancellationToken,
    reply: oneshot::Sender<Result<Response, RequestError>>,
}

/// The request that made libp2p dial a peer.
struct Leader {
    id: OutboundRequestId,
    /// Why the dial failed, once it has.
    reason: Option<String>,
}

/// All requests of ours that were taken and have not ended.
pub(crate) struct Outbound {
    limit: usize,
    on_wire: usize,
    pending: HashMap<OutboundRequestId, Pending>,
    leaders: HashMap<PeerId, Leader>,
    parked: HashMap<PeerId, VecDeque<Call>>,
    parked_len: usize,
    /// Peers whose parked requests may move: connected ones, and those that have lost their leader.
    movable: VecDeque<PeerId>,
    /// Ends when a caller has gone or its request has taken too long.
    ends: FuturesUnordered<BoxFuture<'static, OutboundRequestId>>,
    counters: Counters,
}

impl Outbound {
    pub(crate) fn new(limit: usize, counters: Counters) -> Self {
        Self {
            limit,
            on_wire: 0,
            pending: HashMap::new(),
            leaders: HashMap::new(),
            parked: HashMap::new(),
            parked_len: 0,
            movable: VecDeque::new(),
            ends: FuturesUnordered::new(),
            counters,
        }
    }

    /// Requests that count against the limit.
    pub(crate) fn on_wire(&self) -> usize {
        self.on_wire
    }

    /// Requests that wait for a connection, or for a change at a peer.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len() - self.on_wire + self.parked_len
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.on_wire < self.limit && self.waiting() < self.limit.saturating_mul(WAITING_PER_SLOT)
    }

    /// Sends a request, or parks it behind the one that makes libp2p dial.
    pub(crate) fn take(&mut self, inner: &mut Inner, call: Call) {
        let peer = call.peer;
        if inner.is_connected(&peer) {
            self.send(inner, call, true);
        } else if self.leaders.contains_key(&peer) {
            self.parked.entry(peer).or_default().push_back(call);
            self.parked_len += 1;
        } else {
            let id = self.send(inner, call, false);
            self.leaders.insert(peer, Leader { id, reason: None });
        }
    }

    fn send(&mut self, inner: &mut Inner, call: Call, connected: bool) -> OutboundRequestId {
        let Call { peer, ask, reply } = call;
        let terms = ask.terms.as_ref().expect("the handle sets terms");
        let (over, limit) = (terms.over.clone(), terms.first + terms.patience * WHOLE + GRACE);
        let (expected, waits) = (ask.request.expects(), ask.request.waits());
        let id = inner.send_request(&peer, ask);
        let on_wire = connected && !waits;
        self.on_wire += usize::from(on_wire);
        self.ends.push(
            timeout(limit, over.clone().cancelled_owned())
                .map(move |_| id)
                .boxed(),
        );
        self.pending.insert(
            id,
            Pending {
                peer,
                expected,
                waits,
                on_wire,
                over,
                reply,
            },
        );
        id
    }

    /// The peer is connected: its parked requests may go out.
    pub(crate) fn connected(&mut self, peer: PeerId) {
        if let Some(pending) = self
            .leaders
            .remove(&peer)
            .and_then(|leader| self.pending.get_mut(&leader.id))
            && !pending.waits
        {
            pending.on_wire = true;
            self.on_wire += 1;
        }
        self.unpark(peer);
    }

    /// Remembers why a dial failed; libp2p's own event comes later, without a reason.
    pub(crate) fn dial_failed(&mut self, peer: PeerId, reason: String) {
        if let Some(leader) = self.leaders.get_mut(&peer) {
            leader.reason = Some(reason);
        }
    }

    pub(crate) fn answered(&mut self, id: OutboundRequestId, response: Response) {
        let Some(pending) = self.remove(id) else { return };
        self.counters.received(pending.peer, response.payload_len());
        let answer = if pending.expected.accepts(&response) {
            Ok(response)
        } else {
            Err(RequestError::Malformed(
                "the answer does not fit the request".to_owned(),
            ))
        };
        // A caller that has just gone needs no answer.
        let _ = pending.reply.send(answer);
    }

    pub(crate) fn failed(&mut self, peer: PeerId, id: OutboundRequestId, failure: OutboundFailure) {
        if matches!(failure, OutboundFailure::DialFailure) {
            return self.unreachable(peer, id);
        }
        if let Some(pending) = self.remove(id) {
            let _ = pending.reply.send(Err(RequestError::from_failure(failure)));
        }
    }

    /// Ends all requests that waited for a connection to `peer`.
    fn unreachable(&mut self, peer: PeerId, id: OutboundRequestId) {
        let reason = self.leaders.get(&peer).and_then(|leader| leader.reason.clone());
        let error = reason.map_or_else(
            || RequestError::from_failure(OutboundFailure::DialFailure),
            RequestError::Unreachable,
        );
        if let Some(pending) = self.remove(id) {
            let _ = pending.reply.send(Err(error.clone()));
        }
        for call in self.parked.remove(&peer).unwrap_or_default() {
            self.parked_len -= 1;
            let _ = call.reply.send(Err(error.clone()));
        }
    }

    fn remove(&mut self, id: OutboundRequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        // Wakes what waits for its end, and resets the stream if there still is one.
        pending.over.cancel();
        self.on_wire -= usize::from(pending.on_wire);
        if let Entry::Occupied(leader) = self.leaders.entry(pending.peer)
            && leader.get().id == id
        {
            leader.remove();
            self.unpark(pending.peer);
        }
        Some(pending)
    }

    fn unpark(&mut self, peer: PeerId) {
        if self.parked.contains_key(&peer) && !self.movable.contains(&peer) {
            self.movable.push_back(peer);
        }
    }

    /// Ends requests whose callers have gone or that took too long, and sends parked ones.
    pub(crate) fn poll(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = self.send_parked(inner);
        while let Poll::Ready(Some(id)) = self.ends.poll_next_unpin(cx) {
            if let Some(pending) = self.remove(id) {
                // Nobody hears it when the caller has gone.
                let _ = pending.reply.send(Err(RequestError::TimedOut));
                moved = true;
            }
        }
        if moved { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends parked requests, one of each peer in turn, as long as there are slots.
    fn send_parked(&mut self, inner: &mut Inner) -> bool {
        let mut moved = false;
        while self.on_wire < self.limit
            && let Some(peer) = self.movable.pop_front()
        {
            let connected = inner.is_connected(&peer);
            if !connected && self.leaders.contains_key(&peer) {
                continue;
            }
            let Some(call) = self.next_parked(peer) else {
                continue;
            };
            if connected {
                self.unpark(peer);
            }
            self.take(inner, call);
            moved = true;
        }
        moved
    }

    /// The first parked request of a peer that somebody still waits for.
    fn next_parked(&mut self, peer: PeerId) -> Option<Call> {
        let Entry::Occupied(mut queue) = self.parked.entry(peer) else {
            return None;
        };
        let mut next = None;
        while next.is_none()
            && let Some(call) = queue.get_mut().pop_front()
        {
            self.parked_len -= 1;
            next = (!call.reply.is_closed()).then_some(call);
        }
        if queue.get().is_empty() {
            queue.remove();
        }
        next
    }
}
