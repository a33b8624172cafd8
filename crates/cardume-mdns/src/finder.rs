//! The mDNS behaviour of libp2p, within bounds, and dialling whom it finds.
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cardume_behaviour::{Listening, Onlooker};
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_mdns::{self as mdns, tokio as tokio_mdns};
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionError, DialError, DialFailure, FromSwarm, NetworkBehaviour,
    NewListenAddr, ToSwarm, dial_opts::DialOpts,
};
use tokio::time::{Sleep, sleep_until};

use crate::{
    Config,
    address::{bare, is_believable},
    neighbours::Neighbours,
};

/// Addresses that libp2p's behaviour may keep before it is started anew; it has no bound of its own,
/// searches them one by one, and believes any lifetime.
const MAX_INNER: usize = 4096;
/// Turns of one `poll` before the swarm goes on: a flood of announcements must not hold it.
const TURNS: usize = 64;
/// The least time between two such starts.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// What happened on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer is at this address.
    Discovered {
        /// Who.
        peer: PeerId,
        /// Where.
        address: Multiaddr,
    },
}

/// Finds peers on the local network and connects to them.
pub struct Finder {
    config: Config,
    local: PeerId,
    inner: Vec<tokio_mdns::Behaviour>,
    restarted: Option<Instant>,
    /// Which links we are on, and what a restarted inner behaviour has to be told.
    listening: Listening,
    neighbours: Neighbours,
    connected: HashSet<PeerId>,
    pending: VecDeque<ToSwarm<Event, Infallible>>,
    timer: Pin<Box<Sleep>>,
}

impl Finder {
    pub(crate) fn new(config: &Config, local: PeerId) -> io::Result<Self> {
        Ok(Self {
            inner: start(config, local)?,
            neighbours: Neighbours::new(local, config.max_peers, config.max_connections),
            config: config.clone(),
            local,
            restarted: None,
            listening: Listening::default(),
            connected: HashSet::new(),
            pending: VecDeque::new(),
            timer: Box::pin(sleep_until(tokio::time::Instant::now())),
        })
    }

    fn on_inner(&mut self, event: &mdns::Event) {
        match event {
            mdns::Event::Discovered(found) => found
                .iter()
                .for_each(|(peer, address)| self.on_found(*peer, address)),
            mdns::Event::Expired(gone) => gone
                .iter()
                .for_each(|(peer, address)| self.on_gone(*peer, address)),
        }
    }

    fn on_found(&mut self, peer: PeerId, announced: &Multiaddr) {
        let Some(address) = bare(peer, announced).filter(|a| is_believable(a, &self.listening)) else {
            return;
        };
        let is_connected = self.connected.contains(&peer);
        let now = Instant::now();
        if self.neighbours.announced(peer, &address, is_connected, now) {
            self.pending.push_back(ToSwarm::NewExternalAddrOfPeer {
                peer_id: peer,
                address: address.clone(),
            });
            self.pending
                .push_back(ToSwarm::GenerateEvent(Event::Discovered { peer, address }));
        }
    }

    fn on_gone(&mut self, peer: PeerId, announced: &Multiaddr) {
        if let Some(address) = bare(peer, announced) {
            self.neighbours.expired(peer, &address);
        }
    }

    /// Starts libp2p's behaviour anew when somebody has filled it.
    ///
    /// Tasks of the old one end by themselves, with the next announcement that they cannot hand on.
    fn restart_when_full(&mut self) {
        let kept: usize = self
            .inner
            .iter()
            .map(|inner| inner.discovered_nodes().len())
            .sum();
        let paused = self.restarted.is_some_and(|at| at.elapsed() < RESTART_PAUSE);
        if kept <= MAX_INNER || paused {
            return;
        }
        self.restarted = Some(Instant::now());
        tracing::warn!(
            kept,
            "somebody floods the local network with announcements; starting mDNS anew"
        );
        match start(&self.config, self.local) {
            Ok(inner) => self.inner = inner,
            Err(error) => tracing::warn!(%error, "mDNS cannot be started anew"),
        }
        for (listener_id, addr) in self.listening.iter() {
            let event = FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr });
            self.inner
                .iter_mut()
                .for_each(|inner| inner.on_swarm_event(event));
        }
    }

    /// Polls libp2p's behaviours, of whose actions only discoveries count.
    ///
    /// They report every address to the swarm too, believed or not; that is dropped here.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> bool {
        let mut events = Vec::new();
        let mut moved = false;
        for inner in &mut self.inner {
            if let Poll::Ready(action) = inner.poll(cx) {
                moved = true;
                if let ToSwarm::GenerateEvent(event) = action {
                    events.push(event);
                }
            }
        }
        events.iter().for_each(|event| self.on_inner(event));
        if moved {
            self.restart_when_full();
        }
        moved
    }

    fn dial(&mut self) -> Option<DialOpts> {
        let (peer, addresses) = self.neighbours.dial(Instant::now())?;
        // With the default condition: only if it is neither connected nor being dialled.
        let opts = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        self.neighbours.dialing(peer, opts.connection_id());
        Some(opts)
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        if event.remaining_established > 0 {
            return;
        }
        self.connected.remove(&event.peer_id);
        let now = Instant::now();
        if matches!(event.cause, Some(ConnectionError::KeepAliveTimeout)) {
            self.neighbours.given_up(event.peer_id, now);
        } else {
            self.neighbours.disconnected(event.peer_id, now);
        }
    }

    fn on_dial_failure(&mut self, event: DialFailure<'_>) {
        if let Some(peer) = event.peer_id {
            let is_other = matches!(
                event.error,
                DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. }
            );
            self.neighbours
                .failed(peer, event.connection_id, is_other, Instant::now());
        }
    }
}

fn start(config: &Config, local: PeerId) -> io::Result<Vec<tokio_mdns::Behaviour>> {
    let inner = config.inner().into_iter();
    inner
        .map(|config| tokio_mdns::Behaviour::new(config, local))
        .collect()
}

impl Onlooker for Finder {
    type Event = Event;

    fn on_pending_outbound(&mut self, peer: Option<PeerId>) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer
            .map(|peer| self.neighbours.addresses(&peer).to_vec())
            .unwrap_or_default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.connected.insert(established.peer_id);
                self.neighbours.connected(established.peer_id, Instant::now());
            }
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::DialFailure(failure) => self.on_dial_failure(failure),
            event => self.listening.on_swarm_event(&event),
        }
        self.inner
            .iter_mut()
            .for_each(|inner| inner.on_swarm_event(event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, Infallible>> {
        for _ in 0..TURNS {
            if let Some(action) = self.pending.pop_front() {
                return Poll::Ready(action);
            }
            if let Some(opts) = self.dial() {
                return Poll::Ready(ToSwarm::Dial { opts });
            }
            if self.poll_inner(cx) {
                continue;
            }
            let Some(due) = self.neighbours.due() else {
                return Poll::Pending;
            };
            self.timer.as_mut().reset(due.into());
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
