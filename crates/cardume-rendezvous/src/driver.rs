//! The feature on the swarm's task.
use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use cardume_behaviour::Driver;
use libp2p_identity::{Keypair, PeerId};
use libp2p_request_response::{Event, Message, OutboundRequestId, ResponseChannel};
use libp2p_swarm::{
    ConnectionId, DialError, FromSwarm,
    dial_opts::{DialOpts, PeerCondition},
};
use tokio::time::{Sleep, sleep_until};

use crate::{
    Status,
    found::Found,
    handle::Command,
    inner::{Inner, Told},
    points::{Points, Step},
    reach::{Reach, believable},
    registry::Registry,
    wire::{Discovered, MAX_REGISTRATIONS, Record, Request, Response},
};

/// Characters of other people's words in a reason, at most.
const MAX_REASON: usize = 200;

/// Registers and asks at points, and is one.
pub struct Rendezvous {
    key: Keypair,
    namespace: String,
    ttl: u64,
    points: Points,
    found: Found,
    registry: Option<Registry>,
    reach: Reach,
    /// Made when first needed: only then is there surely a runtime.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rendezvous {
    pub(crate) fn new(
        key: Keypair,
        namespace: String,
        ttl: u64,
        points: Points,
        found: Found,
        registry: Option<Registry>,
    ) -> Self {
        Self {
            key,
            namespace,
            ttl,
            points,
            found,
            registry,
            reach: Reach::default(),
            timer: None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            points: self.points.status(Instant::now()),
            registrations: self.registry.as_ref().map(Registry::len),
        }
    }

    /// Begins a round at a point that is connected: what others are to know comes before what they are asked.
    fn begin(&mut self, inner: &mut Inner, point: PeerId) {
        let addresses = self.reach.told(self.reach.distance(&point));
        let record = (!addresses.is_empty())
            .then(|| Record::sign(&self.key, addresses))
            .flatten();
        let Some(record) = record else {
            self.points.has_no_address(&point);
            return self.discover(inner, point);
        };
        let request = Request::Register {
            namespace: self.namespace.clone(),
            record,
            ttl: Some(self.ttl),
        };
        let id = inner.requests.send_request(&point, request);
        self.points.registering(&point, id);
    }

    fn discover(&mut self, inner: &mut Inner, point: PeerId) {
        let request = Request::Discover {
            namespace: Some(self.namespace.clone()),
            limit: Some(MAX_REGISTRATIONS as u64),
            cookie: self.points.cookie(&point),
        };
        let id = inner.requests.send_request(&point, request);
        self.points.discovering(&point, id);
    }

    fn answered(&mut self, inner: &mut Inner, point: PeerId, id: OutboundRequestId, response: Response) {
        let now = Instant::now();
        match response {
            Response::Registered(Ok(ttl)) if self.points.registered(id, ttl, now) => {
                return self.discover(inner, point);
            }
            Response::Discovered(Ok(found)) => self.discovered(inner, id, found, now),
            Response::Registered(Err(refused)) | Response::Discovered(Err(refused)) => {
                self.points.failed(id, format!("it refuses: {refused}"), now);
            }
            Response::Registered(Ok(_)) => {}
        }
        // Only what was answered with something else is still waited for.
        self.points.failed(id, "it answers something else".into(), now);
    }

    fn discovered(&mut self, inner: &mut Inner, id: OutboundRequestId, found: Discovered, now: Instant) {
        let registrations = found.registrations;
        let count = (registrations.len(), registrations.len() >= MAX_REGISTRATIONS);
        let Some(point) = self.points.discovered(id, found.cookie, count, now) else {
            return;
        };
        let distance = self.reach.distance(&point);
        for registration in registrations {
            let record = registration.record;
            if registration.namespace != self.namespace || record.peer == point {
                continue;
            }
            let addresses = believable(&record.peer, &record.addresses, distance);
            if record.peer != self.key.public().to_peer_id() {
                for address in &addresses {
                    inner.orders.tell(record.peer, address.clone());
                }
            }
            if !self.reach.is_connected(&record.peer) {
                self.found.named(record.peer, addresses, now);
            }
        }
    }

    /// Answers a client, if this node is a point.
    fn asked(
        &mut self,
        inner: &mut Inner,
        (peer, connection): (PeerId, ConnectionId),
        request: Request,
        channel: ResponseChannel<Response>,
    ) {
        let Some(registry) = &mut self.registry else {
            return;
        };
        let now = Instant::now();
        let response = match request {
            Request::Register {
                namespace,
                record,
                ttl,
            } => {
                let range = self.reach.range(connection);
                let granted = registry.register(peer, range, (namespace, record), ttl, now);
                tracing::debug!(%peer, ?granted, registrations = registry.len(), "registers here");
                Response::Registered(granted)
            }
            Request::Discover {
                namespace,
                limit,
                cookie,
            } => Response::Discovered(registry.discover(namespace.as_deref(), limit, cookie.as_deref(), now)),
            Request::Unregister { namespace } => {
                registry.unregister(peer, &namespace);
                return;
            }
            Request::Malformed(refused) => Response::Registered(Err(refused)),
        };
        // Whoever has gone needs no answer.
        let _ = inner.requests.send_response(channel, response);
    }

    /// Does one thing that is due; whether there was one.
    fn act(&mut self, inner: &mut Inner, now: Instant) -> bool {
        match self.points.due(|peer| self.reach.is_connected(peer), now) {
            Some(Step::Begin(point)) => {
                self.begin(inner, point);
                return true;
            }
            Some(Step::Dial(point, address)) => {
                // Whatever else dials it: nobody else may know this address.
                let opts = DialOpts::peer_id(point)
                    .condition(PeerCondition::Disconnected)
                    .addresses(vec![address])
                    .extend_addresses_through_behaviour()
                    .build();
                self.points.dialing(&point, opts.connection_id());
                inner.orders.dial(opts);
                return true;
            }
            None => {}
        }
        if let Some((peer, addresses)) = self.found.dial(now) {
            // With the default condition: whoever else dials this peer does our work.
            let opts = DialOpts::peer_id(peer)
                .addresses(addresses)
                .extend_addresses_through_behaviour()
                .build();
            self.found.dialing(opts.connection_id());
            inner.orders.dial(opts);
            return true;
        }
        false
    }
}

fn shorten(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON)
        .collect()
}

impl Driver for Rendezvous {
    type Inner = Inner;
    type Command = Command;
    type Event = Infallible;

    fn is_ready(&self) -> bool {
        true
    }

    fn on_command(&mut self, _: &mut Inner, command: Command) {
        let Command::Status(reply) = command;
        let _ = reply.send(self.status());
    }

    fn on_event(&mut self, inner: &mut Inner, Told(event): Told) -> Option<Infallible> {
        match event {
            Event::Message {
                peer,
                connection_id,
                message: Message::Request { request, channel, .. },
            } => self.asked(inner, (peer, connection_id), request, channel),
            Event::Message {
                peer,
                message: Message::Response { request_id, response },
                ..
            } => self.answered(inner, peer, request_id, response),
            Event::OutboundFailure {
                request_id, error, ..
            } => {
                self.points
                    .failed(request_id, shorten(&error.to_string()), Instant::now());
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, error = shorten(&error.to_string()), "a request was not answered");
            }
            Event::ResponseSent { .. } => {}
        }
        None
    }

    fn on_swarm_event(&mut self, _: &mut Inner, event: &FromSwarm<'_>) {
        let now = Instant::now();
        if self.reach.on_swarm_event(event) {
            self.points.addresses_changed(now);
        }
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.points.connected(&e.peer_id, now);
                self.found.established(e.peer_id, e.connection_id);
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.found.disconnected(&e.peer_id);
            }
            FromSwarm::DialFailure(e) => {
                self.found.dial_failed(e.connection_id);
                match (e.error, e.peer_id) {
                    // It is connected already, so the round can begin.
                    (DialError::DialPeerConditionFalse(_), Some(peer)) => self.points.connected(&peer, now),
                    (error, _) => {
                        let problem = shorten(&error.to_string());
                        self.points.dial_failed(e.connection_id, problem, now);
                    }
                }
            }
            _ => {}
        }
    }

    fn poll_local(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        if self.act(inner, Instant::now()) {
            return Poll::Ready(());
        }
        let next = [self.points.next(), self.found.next()]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.map(tokio::time::Instant::from_std) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        timer.as_mut().reset(next);
        timer.as_mut().poll(cx)
    }
}
