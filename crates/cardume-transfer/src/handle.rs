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
    Request, RequestError, Response, Traffic,
    message::HAVE_WAIT,
    outbound::Call,
    stream::{Ask, Terms},
    traffic::Counters,
};

/// Requests of ours to one peer at once.
///
/// As many as a peer serves by default, and few enough that they, those of the peer, and some that are just
/// ending stay below the streams of one connection.
const PER_PEER: usize = 16;
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
}

impl Handle {
    pub(crate) fn new(mailbox: Mailbox<Call>, counters: Counters, request_timeout: Duration) -> Self {
        Self {
            mailbox,
            slots: Arc::default(),
            counters,
            request_timeout,
        }
    }

    /// Makes a handle whose every request answers `Closed` at once.
    pub fn closed() -> Self {
        Self::new(Mailbox::closed(), Counters::default(), Duration::ZERO)
    }

    /// Sends one request to `peer` (dialled if it has a known address) and waits for the answer.
    ///
    /// Waits its turn first: at most 16 requests, and 8 more that wait for a change, go to one peer at
    /// once, and at most [`Config::max_in_flight`](crate::Config::max_in_flight) to all.
    ///
    /// # Errors
    /// [`RequestError`]; `NotFound`, `Busy` and `Denied` are answers, not errors.
    ///
    /// # Cancel safety
    /// Dropping the future frees the slot and resets the stream; a late answer is thrown away.
    pub async fn request(&self, peer: PeerId, request: Request) -> Result<Response, RequestError> {
        request.check().map_err(RequestError::Invalid)?;
        let waits = request.waits();
        let slot = self.slots(peer).of(waits).acquire_owned().await;
        let slot = slot.expect("nobody closes these semaphores");
        let over = CancellationToken::new();
        let _over_when_dropped = over.clone().drop_guard();
        let limit = self.request_timeout + if waits { HAVE_WAIT } else { Duration::ZERO };
        let ask = Ask {
            request,
            terms: Some(Terms { limit, over, slot }),
        };
        self.mailbox.call(|reply| Call { peer, ask, reply }).await?
    }

    /// Tells the bytes of payload received from and sent to each peer since the start.
    ///
    /// Of at most 4,096 peers; those with the least traffic are forgotten.
    pub fn traffic(&self) -> Vec<(PeerId, Traffic)> {
        self.counters.all()
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
    waiting: Arc<Semaphore>,
}

impl Slots {
    fn of(self, waits: bool) -> Arc<Semaphore> {
        if waits { self.waiting } else { self.requests }
    }

    /// Whether a request holds a slot or waits for one: both keep the semaphore alive.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.requests) > 1 || Arc::strong_count(&self.waiting) > 1
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(PER_PEER)),
            waiting: Arc::new(Semaphore::new(WAITING_PER_PEER)),
        }
    }
}
