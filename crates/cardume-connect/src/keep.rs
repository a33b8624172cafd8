//! Connections that are meant to last: dialled at the start, and again, with back-off, when lost.
use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dial_opts::DialOpts,
};
use tokio::time::{Instant, Sleep, sleep_until};

mod handler;

/// The first wait before a peer is dialled again.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait; a peer that comes back is found within it.
const LONGEST: Duration = Duration::from_secs(300);
/// A connection that lasted as long was a good one, and the back-off starts anew.
const GOOD: Duration = Duration::from_secs(60);
/// With as many connections there is no need to bother those who help others in.
const FEW: usize = 4;
/// How often to look whether bootstrap peers are needed after all.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

enum State {
    /// Since when.
    Connected(Instant),
    Dialing(ConnectionId),
    /// To be dialled at this time.
    Due(Instant),
}

struct Peer {
    state: State,
    wait: Duration,
    /// Dialled whatever other connections there are.
    always: bool,
}

impl Peer {
    fn back_off(&mut self, now: Instant) {
        self.state = State::Due(now + jitter(self.wait));
        self.wait = (self.wait * 2).min(LONGEST);
    }
}

/// Between three quarters and five quarters of `wait`, so that a crowd does not come back all at once.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}

/// Keeps kept peers connected, and idle connections open while there are few of them.
pub struct Behaviour {
    peers: HashMap<PeerId, Peer>,
    /// All connections of this node; handlers read it.
    connections: Arc<AtomicUsize>,
    /// Up to as many connections stay open when idle.
    idle: usize,
    timer: Pin<Box<Sleep>>,
}

impl Behaviour {
    /// Dials `always` peers whenever they are not connected, and `bootstrap` ones while there are few
    /// connections; lets connections close for being idle only when there are more than `idle`.
    pub(crate) fn new(always: &HashSet<PeerId>, bootstrap: &HashSet<PeerId>, idle: usize) -> Self {
        let mut this = Self {
            peers: HashMap::new(),
            connections: Arc::default(),
            idle,
            timer: Box::pin(sleep_until(Instant::now())),
        };
        this.set(always, bootstrap, idle, |_| false);
        this
    }

    /// Keeps other peers from now on, as [`new`](Self::new) says. Those kept before go on where they are; connections
    /// there are stay, and close for being idle as they would have.
    pub(crate) fn set(
        &mut self,
        always: &HashSet<PeerId>,
        bootstrap: &HashSet<PeerId>,
        idle: usize,
        is_connected: impl Fn(&PeerId) -> bool,
    ) {
        let mut before = std::mem::take(&mut self.peers);
        let now = Instant::now();
        let entered = bootstrap.iter().map(|id| (*id, false));
        for (id, always) in entered.chain(always.iter().map(|id| (*id, true))) {
            let known = before.remove(&id).or_else(|| self.peers.remove(&id));
            let (state, wait) = match known {
                Some(Peer { state, wait, .. }) => (state, wait),
                None if is_connected(&id) => (State::Connected(now), SHORTEST),
                None => (State::Due(now), SHORTEST),
            };
            self.peers.insert(id, Peer { state, wait, always });
        }
        self.idle = idle;
    }

    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(peer) = self.peers.get_mut(&event.peer_id)
            && !matches!(peer.state, State::Connected(_))
        {
            peer.state = State::Connected(Instant::now());
        }
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if event.remaining_established > 0 {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&event.peer_id) {
            let now = Instant::now();
            if matches!(peer.state, State::Connected(since) if now - since >= GOOD) {
                peer.wait = SHORTEST;
            }
            peer.back_off(now);
        }
    }

    fn on_dial_failure(&mut self, event: DialFailure<'_>) {
        let dialed = |peer: &Peer| matches!(peer.state, State::Dialing(id) if id == event.connection_id);
        if let Some(peer) = event.peer_id.and_then(|id| self.peers.get_mut(&id))
            && dialed(peer)
        {
            tracing::debug!(peer = ?event.peer_id, error = %event.error, wait = ?peer.wait, "dialling again later");
            peer.back_off(Instant::now());
        }
    }

    /// The next peer to dial now.
    fn due(&mut self, now: Instant) -> Option<DialOpts> {
        let enough = self.connections.load(Ordering::Relaxed) >= FEW;
        for (id, peer) in &mut self.peers {
            match peer.state {
                State::Due(at) if at > now => {}
                State::Due(_) if enough && !peer.always => {
                    peer.state = State::Due(now + jitter(LOOK_AGAIN));
                }
                State::Due(_) => {
                    // With the default condition: whoever else dials this peer does our work.
                    let opts = DialOpts::peer_id(*id).build();
                    peer.state = State::Dialing(opts.connection_id());
                    return Some(opts);
                }
                State::Connected(_) | State::Dialing(_) => {}
            }
        }
        None
    }

    fn next(&self) -> Option<Instant> {
        let due = self.peers.values().filter_map(|peer| match peer.state {
            State::Due(at) => Some(at),
            _ => None,
        });
        due.min()
    }

    fn handler(&self, peer: &PeerId) -> handler::Handler {
        let always = self.peers.get(peer).is_some_and(|peer| peer.always);
        let idle = if always { usize::MAX } else { self.idle };
        handler::Handler::new(Arc::clone(&self.connections), idle)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = handler::Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(&peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(&peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::DialFailure(failure) => self.on_dial_failure(failure),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(opts) = self.due(Instant::now()) {
                return Poll::Ready(ToSwarm::Dial { opts });
            }
            let Some(next) = self.next() else {
                return Poll::Pending;
            };
            self.timer.as_mut().reset(next);
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
