//! Requests of others: bounded, handed to the server, answered.
use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU64,
    task::{Context, Poll},
    time::Duration,
};

use cardume_access::rates::Class;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_request_response::{InboundRequestId, ResponseChannel};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Inbound, Request, Responder, Response, handle::WAITING_PER_PEER, outbound::Inner, rates, stream::Reply,
    traffic::Counters,
};

/// Requests held back until something changes, over all peers. They cost next to nothing, but not nothing.
pub(crate) const MAX_WAITING: usize = 512;
/// Bytes of answers that one peer has not taken yet; more of its requests are answered `Busy`. Without it,
/// a peer that reads slowly makes us keep everything it asks for in memory.
const MAX_UNSENT_PER_PEER: u64 = 32 << 20;
/// … and all peers together.
const MAX_UNSENT: u64 = 128 << 20;
/// Answers that our own limits need longer for than this are too many, but for a peer's first. They would only
/// wait in memory, while others may have the content.
const UNSENT_TIME: Duration = Duration::from_secs(1);
/// … though never less than some whole answers.
const LEAST_UNSENT: u64 = 8 << 20;
/// What a peer is told when we have too much to do.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A request of a peer between its coming and the end of its answer.
struct Serving {
    peer: PeerId,
    class: Class,
    waits: bool,
    gone: CancellationToken,
    state: State,
}

enum State {
    /// The server has it.
    Asked(ResponseChannel<Reply>),
    /// The server has it, but the peer has gone.
    Gone,
    /// The answer is on its way.
    Sending { bytes: u64 },
}

/// What one peer, or all, keep us busy with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    serving: usize,
    waiting: usize,
    unsent: u64,
}

impl Load {
    fn slots(&mut self, waits: bool) -> &mut usize {
        if waits {
            &mut self.waiting
        } else {
            &mut self.serving
        }
    }

    fn has_room(&self, request: &Request, most: &Self) -> bool {
        if request.waits() {
            self.waiting < most.waiting
        } else {
            self.serving < most.serving && (request.is_question() || self.unsent < most.unsent)
        }
    }
}

/// The answer of the server, or `None` when it gave none.
type Answer = (InboundRequestId, Option<Response>);

/// All requests of others that have not ended.
pub(crate) struct Serves {
    most: Load,
    most_per_peer: Load,
    total: Load,
    peers: HashMap<PeerId, Load>,
    serving: HashMap<InboundRequestId, Serving>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    requests: mpsc::Sender<Inbound>,
    counters: Counters,
    rates: rates::Handle,
}

impl Serves {
    pub(crate) fn new(
        max: usize,
        max_per_peer: usize,
        counters: Counters,
        rates: rates::Handle,
    ) -> (Self, mpsc::Receiver<Inbound>) {
        // As large as all that may be asked at once, so that handing over never fails for lack of room.
        let (requests, receiver) = mpsc::channel(max.saturating_add(MAX_WAITING).min(1 << 20));
        let serves = Self {
            most: Load {
                serving: max,
                waiting: MAX_WAITING,
                unsent: MAX_UNSENT,
            },
            most_per_peer: Load {
                serving: max_per_peer,
                waiting: WAITING_PER_PEER,
                unsent: MAX_UNSENT_PER_PEER,
            },
            total: Load::default(),
            peers: HashMap::new(),
            serving: HashMap::new(),
            answers: FuturesUnordered::new(),
            requests,
            counters,
            rates,
        };
        (serves, receiver)
    }

    /// Hands a request to the server, or answers `Busy` at once.
    pub(crate) fn asked(
        &mut self,
        inner: &mut Inner,
        (peer, class): (PeerId, Class),
        id: InboundRequestId,
        request: Request,
        channel: ResponseChannel<Reply>,
    ) {
        let waits = request.waits();
        let load = self.peers.get(&peer).copied().unwrap_or_default();
        let has_room =
            self.total.has_room(&request, &self.most) && load.has_room(&request, &self.most_per_peer);
        if !has_room || (!request.is_question() && self.is_late(load, class)) {
            tracing::debug!(%peer, ?load, "too much to do: told a peer to come back later");
            // Fails when the peer has gone already.
            let _ = inner.send_response(
                channel,
                Reply::free(Response::Busy {
                    retry_after: RETRY_AFTER,
                }),
            );
            return;
        }
        let (answer, answered) = oneshot::channel();
        let gone = CancellationToken::new();
        let responder = Responder {
            answer,
            gone: gone.clone(),
        };
        if self
            .requests
            .try_send(Inbound {
                peer,
                request,
                responder,
            })
            .is_err()
        {
            // There is no server; dropping the channel ends the peer's stream.
            return;
        }
        self.answers
            .push(answered.map(move |answer| (id, answer.ok())).boxed());
        self.serving.insert(
            id,
            Serving {
                peer,
                class,
                waits,
                gone,
                state: State::Asked(channel),
            },
        );
        self.change(peer, |load| *load.slots(waits) += 1);
    }

    /// The answer has been sent, or can no longer be.
    pub(crate) fn ended(&mut self, id: InboundRequestId, was_sent: bool) {
        let Entry::Occupied(mut entry) = self.serving.entry(id) else {
            return;
        };
        let serving = entry.get_mut();
        serving.gone.cancel();
        let State::Sending { bytes } = serving.state else {
            serving.state = State::Gone;
            return;
        };
        let peer = entry.remove().peer;
        self.change(peer, |load| load.unsent -= bytes);
        if was_sent {
            self.counters.sent(peer, bytes);
        }
    }

    /// Sends the answers that are due.
    pub(crate) fn poll(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        match self.answers.poll_next_unpin(cx) {
            Poll::Ready(Some((id, answer))) => {
                self.answer(inner, id, answer);
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn answer(&mut self, inner: &mut Inner, id: InboundRequestId, answer: Option<Response>) {
        let Some(mut serving) = self.serving.remove(&id) else {
            return;
        };
        let (peer, class, waits) = (serving.peer, serving.class, serving.waits);
        self.change(peer, |load| *load.slots(waits) -= 1);
        let (State::Asked(channel), Some(response)) = (serving.state, answer) else {
            // Dropping the channel ends the peer's stream.
            return;
        };
        let bytes = response.payload_len();
        if inner
            .send_response(channel, Reply::to(peer, class, response))
            .is_ok()
        {
            serving.state = State::Sending { bytes };
            self.serving.insert(id, serving);
            self.change(peer, |load| load.unsent += bytes);
        }
    }

    /// Whether a peer has to wait for what it was promised: our own limits need too long for that already.
    fn is_late(&self, load: Load, class: Class) -> bool {
        let upload = self.rates.upload();
        if load.unsent == 0 || !upload.is_limited() {
            return false;
        }
        let budgets = upload.budgets();
        let most = |rate: NonZeroU64| rate.get().saturating_mul(UNSENT_TIME.as_secs()).max(LEAST_UNSENT);
        let shared = [budgets.total(), budgets.class(class)];
        shared
            .into_iter()
            .flatten()
            .any(|rate| self.total.unsent >= most(rate))
            || budgets
                .per_peer(class)
                .is_some_and(|rate| load.unsent >= most(rate))
    }

    /// Changes the load of a peer and of all.
    fn change(&mut self, peer: PeerId, change: impl Fn(&mut Load)) {
        change(&mut self.total);
        let load = self.peers.entry(peer).or_default();
        change(load);
        if *load == Load::default() {
            self.peers.remove(&peer);
        }
    }
}
