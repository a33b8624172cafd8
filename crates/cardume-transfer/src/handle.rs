//! The way in: requests to peers.
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cardume_behaviour::Mailbox;
use libp2p_identity::PeerId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Backlog, Request, RequestError, Response, Traffic,
    awaited::Awaited,
    lines::Lines,
    message::HAVE_WAIT,
    outbound::Call,
    rates,
    stream::{Ask, Terms},
    traffic::Counters,
};

/// Requests of ours to one peer at once.
///
/// As many as a peer serves by default, and few enough that they, those of the peer, and some that are just
/// ending stay below the streams of one connection.
const PER_PEER: usize = 16;
/// Questions of ours to one peer at once, whose answers are small; beside [`PER_PEER`], so that they do not wait
/// behind content that comes slowly.
const QUESTIONS_PER_PEER: usize = 8;
/// Requests of ours that wait for a change at one peer; beside [`PER_PEER`], so that they hold up no others.
pub(crate) const WAITING_PER_PEER: usize = 8;
/// Peers remembered before those without requests are forgotten.
const MANY_PEERS: usize = 256;

/// Asks peers for content; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    mailbox: Mailbox<Call>,
    slots: Arc<Mutex<HashMap<PeerId, Slots>>>,
    counters: Counters,
    request_timeout: Duration,
    rates: rates::Handle,
    lines: Lines,
    awaited: Awaited,
}

impl Handle {
    pub(crate) fn new(
        mailbox: Mailbox<Call>,
        counters: Counters,
        request_timeout: Duration,
        rates: rates::Handle,
        lines: Lines,
    ) -> Self {
        Self {
            mailbox,
            slots: Arc::default(),
            counters,
            request_timeout,
            rates,
            lines,
            awaited: Awaited::default(),
        }
    }

    /// Makes a handle whose every request answers `Closed` at once.
    pub fn closed() -> Self {
        Self::new(
            Mailbox::closed(),
            Counters::default(),
            Duration::ZERO,
            rates::Handle::unlimited(),
            Lines::default(),
        )
    }

    /// Sends one request to `peer` (dialled if it has a known address) and waits for the answer.
    ///
    /// Waits its turn first: at most 16 requests for content, 8 questions, and 8 more that wait for a change, go
    /// to one peer at once, and at most [`Config::max_in_flight`](crate::Config::max_in_flight) to all. What it
    /// asks for counts as [`backlog`](Self::backlog) from now on, before the future is polled.
    ///
    /// # Errors
    /// [`RequestError`]; `NotFound`, `Busy` and `Denied` are answers, not errors.
    ///
    /// # Cancel safety
    /// Dropping the future frees the slot and resets the stream; a late answer is thrown away.
    pub fn request(
        &self,
        peer: PeerId,
        request: Request,
    ) -> impl Future<Output = Result<Response, RequestError>> + Send + use<> {
        let bytes = request.check().map_or(0, |()| request.max_payload());
        let share = self.awaited.add(peer, bytes);
        let this = self.clone();
        async move {
            let _share = share;
            this.answer(peer, request).await
        }
    }

    async fn answer(&self, peer: PeerId, request: Request) -> Result<Response, RequestError> {
        request.check().map_err(RequestError::Invalid)?;
        let slot = self.slots(peer).of(&request).acquire_owned().await;
        let slot = slot.expect("nobody closes these semaphores");
        let over = CancellationToken::new();
        let _over_when_dropped = over.clone().drop_guard();
        let patience = self.request_timeout;
        let first = patience
            + if request.waits() {
                HAVE_WAIT
            } else {
                Duration::ZERO
            };
        let ask = Ask {
            request,
            terms: Some(Terms {
                peer,
                first,
                patience,
                over,
                slot,
            }),
        };
        self.mailbox.call(|reply| Call { peer, ask, reply }).await?
    }

    /// Tells how long our own limits need for `more` bytes and what was asked for before. Asking for much more
    /// than a second's worth only fills buffers.
    pub fn backlog(&self, peer: &PeerId, more: u64) -> Backlog {
        let download = self.rates.download();
        if !download.is_limited() {
            return Backlog::default();
        }
        self.awaited.backlog(peer, more, &download.budgets(), &self.lines)
    }

    /// Whether there is any connection through a relay.
    pub fn has_relayed(&self) -> bool {
        self.lines.has_relayed()
    }

    /// Whether a request to `peer` may go through a relay now: one of its connections does.
    pub fn is_relayed(&self, peer: &PeerId) -> bool {
        self.lines.is_relayed(peer)
    }

    /// Tells the bytes of payload received from and sent to each peer since the start.
    ///
    /// Of at most 4,096 peers; those with the least traffic are forgotten.
    pub fn traffic(&self) -> Vec<(PeerId, Traffic)> {
        self.counters.all()
    }

    /// Tells the bytes of payload received from and sent to all peers since the start, those forgotten among them.
    pub fn total_traffic(&self) -> Traffic {
        self.counters.total()
    }

    fn slots(&self, peer: PeerId) -> Slots {
        let mut peers = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MANY_PEERS {
            peers.retain(|_, slots| slots.is_used());
        }
        peers.entry(peer).or_default().clone()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("mailbox", &self.mailbox)
            .finish_non_exhaustive()
    }
}

/// The slots of one peer.
#[derive(Clone)]
struct Slots {
    requests: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Slots {
    fn of(self, request: &Request) -> Arc<Semaphore> {
        if request.waits() {
            self.waiting
        } else if request.is_question() {
            self.questions
        } else {
            self.requests
        }
    }

    /// Whether a request holds a slot or waits for one: both keep its semaphore alive.
    fn is_used(&self) -> bool {
        [&self.requests, &self.questions, &self.waiting]
            .into_iter()
            .any(|slots| Arc::strong_count(slots) > 1)
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(PER_PEER)),
            questions: Arc::new(Semaphore::new(QUESTIONS_PER_PEER)),
            waiting: Arc::new(Semaphore::new(WAITING_PER_PEER)),
        }
    }
}
