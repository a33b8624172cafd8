//! Places at relays: asked for at the start, and again, with back-off, when lost.
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cardume_behaviour::Onlooker;
use libp2p_core::{Multiaddr, multiaddr::Protocol, transport::ListenerId};
use libp2p_identity::PeerId;
use libp2p_swarm::{FromSwarm, ListenOpts, ToSwarm};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::handle::{Place, PlaceState};

/// The first wait before a relay is asked again.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one; a relay that comes back is found within it.
const LONGEST: Duration = Duration::from_secs(60);
/// Characters of other people's words in a reason, at most.
const MAX_REASON: usize = 200;

#[derive(Debug)]
enum State {
    /// To be asked at this time.
    Due(Instant),
    /// The client renews a place by itself for as long as its listener is there.
    Listening { listener: ListenerId, is_held: bool },
}

#[derive(Debug)]
struct Relay {
    peer: PeerId,
    address: Multiaddr,
    state: State,
    wait: Duration,
    problem: Option<String>,
}

/// Keeps a place at each relay.
#[derive(Debug)]
pub struct Places {
    relays: Vec<Relay>,
    /// Made when first needed: only then is there surely a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Places {
    pub(crate) fn new(relays: impl Iterator<Item = (PeerId, Multiaddr)>) -> Self {
        let relays = relays.map(|(peer, address)| Relay {
            peer,
            address,
            state: State::Due(Instant::now()),
            wait: SHORTEST,
            problem: None,
        });
        Self {
            relays: relays.collect(),
            timer: None,
            pending: VecDeque::new(),
        }
    }

    /// How it stands with each relay.
    pub(crate) fn status(&self) -> Vec<Place> {
        let place = |relay: &Relay| Place {
            relay: relay.peer,
            address: relay.address.clone(),
            state: match relay.state {
                State::Due(_) => PlaceState::Waiting,
                State::Listening { is_held: false, .. } => PlaceState::Asking,
                State::Listening { is_held: true, .. } => PlaceState::Held,
            },
            problem: relay.problem.clone(),
        };
        self.relays.iter().map(place).collect()
    }

    fn of(&mut self, id: ListenerId) -> Option<&mut Relay> {
        let is_its =
            |relay: &&mut Relay| matches!(relay.state, State::Listening { listener, .. } if listener == id);
        self.relays.iter_mut().find(is_its)
    }

    fn held(&mut self, id: ListenerId) {
        if let Some(relay) = self.of(id)
            && let State::Listening { is_held, .. } = &mut relay.state
            && !std::mem::replace(is_held, true)
        {
            tracing::info!(relay = %relay.peer, "a place at a relay");
            (relay.wait, relay.problem) = (SHORTEST, None);
        }
    }

    fn lost(&mut self, id: ListenerId, reason: Option<String>) {
        if let Some(relay) = self.of(id) {
            let reason =
                reason.unwrap_or_else(|| "the connection with it was lost, or cannot be made".to_owned());
            tracing::info!(relay = %relay.peer, reason, again_in = ?relay.wait, "no place at a relay");
            relay.state = State::Due(Instant::now() + jitter(relay.wait));
            relay.wait = (relay.wait * 2).min(LONGEST);
            relay.problem = Some(reason);
        }
    }

    /// Asks every relay that is due.
    fn ask(&mut self, now: Instant) {
        for relay in &mut self.relays {
            if !matches!(relay.state, State::Due(at) if at <= now) {
                continue;
            }
            let through = relay.address.clone().with(Protocol::P2p(relay.peer));
            let opts = ListenOpts::new(through.with(Protocol::P2pCircuit));
            relay.state = State::Listening {
                listener: opts.listener_id(),
                is_held: false,
            };
            self.pending.push_back(ToSwarm::ListenOn { opts });
        }
    }

    fn next(&self) -> Option<Instant> {
        let due = self.relays.iter().filter_map(|relay| match relay.state {
            State::Due(at) => Some(at),
            State::Listening { .. } => None,
        });
        due.min()
    }
}

/// Between three quarters and five quarters of `wait`, so that a crowd does not come back all at once.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}

fn tame(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON)
        .collect()
}

impl Onlooker for Places {
    type Event = Infallible;

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(new) => self.held(new.listener_id),
            FromSwarm::ListenerError(error) => self.lost(error.listener_id, Some(tame(error.err))),
            FromSwarm::ListenerClosed(closed) => {
                self.lost(closed.listener_id, closed.reason.err().map(|error| tame(error)));
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        loop {
            self.ask(Instant::now());
            if let Some(action) = self.pending.pop_front() {
                return Poll::Ready(action);
            }
            let Some(next) = self.next() else {
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            timer.as_mut().reset(next);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
