//! The DHT behind its mailbox.
use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cardume_access::{Action, List};
use cardume_behaviour::{Driver, Scope};
use libp2p_identity::PeerId;
use libp2p_kad::{self as kad, InboundRequest, QueryResult, RecordKey as Key};
use libp2p_swarm::FromSwarm;
use multiaddr::Multiaddr;
use tokio::time::{Sleep, sleep};

use crate::{
    Config,
    announce::Announcements,
    command::Command,
    disk::Before,
    handle::{KadError, Status},
    inner::{Dht, Inner, InnerEvent},
    lookups::Lookups,
    reach::Reach,
    records::MAX_PROVIDED,
    routing::{Routing, table_size},
};

/// How often what has expired is forgotten.
const SWEEP: Duration = Duration::from_secs(30);

/// How often lookups under way are looked at: libp2p notices that the time of one is over only when it is polled, and on a
/// quiet node nothing else may happen for long.
const GLANCE: Duration = Duration::from_secs(1);

/// How many sweeps apart the buckets are refreshed: every 5 minutes. The inner behaviour does it on its
/// own soon after a peer has entered a small table.
const BOOTSTRAP: u32 = 10;

/// What the DHT does with commands and events.
pub struct Kad {
    lookups: Lookups,
    announcements: Announcements,
    reach: Reach,
    routing: Routing,
    /// For whom something is kept.
    allow: List,
    /// Made when first polled: only then is there surely a runtime.
    sweep: Option<Pin<Box<Sleep>>>,
    sweeps: u32,
    /// There while lookups are under way.
    glance: Option<Pin<Box<Sleep>>>,
}

impl Kad {
    /// Makes the driver, sets the inner behaviour's mode, and goes on where an earlier run has left off.
    pub(crate) fn new(
        local: PeerId,
        config: &Config,
        inner: &mut Inner,
        before: Before,
        allow: List,
    ) -> Self {
        let mut reach = Reach::new(config.mode);
        reach.settle(&mut inner.dht);
        let mut routing = Routing::default();
        routing.restore(&mut inner.dht, before.peers);
        let interval = config.provider_interval.get();
        Self {
            lookups: Lookups::new(local, config.parallel_queries),
            announcements: Announcements::new(interval, hand(&local, interval), before.announced),
            reach,
            routing,
            allow,
            sweep: None,
            // The first sweep refreshes the buckets of an earlier run.
            sweeps: BOOTSTRAP - 1,
            glance: None,
        }
    }

    fn provide(
        &mut self,
        dht: &mut Dht,
        key: Vec<u8>,
        reply: tokio::sync::oneshot::Sender<Result<(), KadError>>,
    ) {
        let key = Key::from(key);
        match dht.store_mut().provide(key.clone()) {
            Ok(()) => self.announcements.add(key, reply),
            Err(_) => {
                let limit = format!("this node provides {MAX_PROVIDED} keys already");
                let _ = reply.send(Err(KadError::Refused(limit)));
            }
        }
    }

    fn status(&self, dht: &mut Dht) -> Status {
        let (announcing_lookups, announced) = self.announcements.counts();
        Status {
            announcing_lookups,
            announced,
            server: dht.mode() == kad::Mode::Server,
            peers: table_size(dht),
            provided: dht.store_mut().provided_keys(),
            records: dht.store_mut().values(),
            queries: self.lookups.running() + self.announcements.in_flight(),
            unsaved: dht.store_mut().unsaved(),
        }
    }

    fn on_dht_event(&mut self, inner: &mut Inner, event: kad::Event) {
        let dht = &mut inner.dht;
        match event {
            kad::Event::InboundRequest { request } => self.on_request(dht, request),
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetClosestPeers(result),
                ..
            } if self.announcements.owns(id) => {
                let ours = self.reach.told();
                self.announcements
                    .on_closest(inner, &self.routing, ours, id, result);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.lookups
                    .on_progress(dht, &self.routing, id, result, step.last);
            }
            kad::Event::RoutingUpdated {
                is_new_peer: true,
                old_peer,
                ..
            } => {
                self.announcements.peer_joined();
                if let Some(gone) = old_peer {
                    self.routing.replaced(dht, gone);
                }
            }
            kad::Event::RoutablePeer { peer, address } => self.routing.learn(dht, peer, &address),
            // Whether a peer is for the table, its list of protocols says.
            kad::Event::UnroutablePeer { .. }
            | kad::Event::RoutingUpdated { .. }
            | kad::Event::PendingRoutablePeer { .. }
            | kad::Event::ModeChanged { .. } => {}
        }
    }

    /// Lets everybody know how far away the farthest peer is.
    fn settle(&mut self, dht: &mut Dht) {
        let farthest = self.reach.farthest();
        let speaker = self.reach.farthest_of(|peer| self.routing.speaks(peer));
        dht.store_mut().show(farthest);
        self.routing.settle(dht, farthest, speaker);
    }

    /// Whether something is kept for a peer.
    fn admits(&self, peer: &PeerId, what: &'static str) -> bool {
        self.allow.admits(Action::Record, peer, &what, SystemTime::now())
    }

    fn on_request(&mut self, dht: &mut Dht, request: InboundRequest) {
        match request {
            // The behaviour takes an announcement only from the provider itself.
            InboundRequest::AddProvider {
                record: Some(mut record),
            } => {
                let provider = record.provider;
                if !self.admits(&provider, "to be announced in the DHT") {
                    return;
                }
                let distance = self.reach.farthest_of(|peer| *peer == provider);
                record.addresses.retain(|a| Scope::of(a) >= distance);
                if let Err(error) = dht
                    .store_mut()
                    .offer_provider(self.reach.source(provider), record)
                {
                    tracing::debug!(%provider, %error, "a provider was not taken");
                }
            }
            InboundRequest::PutRecord {
                source,
                record: Some(record),
                ..
            } => {
                if !self.admits(&source, "a value for the DHT") {
                    return;
                }
                if let Err(error) = dht.store_mut().offer_value(self.reach.source(source), record) {
                    tracing::debug!(%source, %error, "a value was not taken");
                }
            }
            _ => {}
        }
    }

    fn poll_sweep(&mut self, dht: &mut Dht, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.sweep.get_or_insert_with(|| Box::pin(sleep(SWEEP)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.sweep = None;
        self.sweeps = self.sweeps.wrapping_add(1);
        dht.store_mut().expire(Instant::now());
        self.announcements.settle(dht);
        if self.sweeps.is_multiple_of(BOOTSTRAP) && table_size(dht) > 0 {
            // It fails on an empty table only.
            let _ = dht.bootstrap();
        }
        Poll::Ready(())
    }

    /// Has the inner behaviour polled now and then while lookups are under way.
    fn poll_glance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lookups.running() + self.announcements.in_flight() == 0 {
            self.glance = None;
            return Poll::Pending;
        }
        let timer = self.glance.get_or_insert_with(|| Box::pin(sleep(GLANCE)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.glance = None;
        Poll::Ready(())
    }
}

/// Where the hand of the announcements is now: the wall clock says it, so that a restart changes nothing,
/// moved by who we are, so that nodes that provide the same do not announce it together.
fn hand(local: &PeerId, interval: Duration) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let round = since.as_nanos() % interval.as_nanos();
    let turned = (round << 64) / interval.as_nanos();
    let moved = kad::KBucketKey::from(*local);
    let moved = moved
        .hashed_bytes()
        .first_chunk()
        .copied()
        .map_or(0, u64::from_be_bytes);
    (turned as u64).wrapping_add(moved)
}

impl Driver for Kad {
    type Inner = Inner;
    type Command = Command;
    type Event = Infallible;

    fn is_ready(&self) -> bool {
        self.lookups.is_ready()
    }

    fn on_command(&mut self, inner: &mut Inner, command: Command) {
        match command {
            Command::Lookup(lookup) => self.lookups.add(lookup),
            Command::Provide { key, reply } => self.provide(&mut inner.dht, key, reply),
            Command::Withdraw { key, reply } => {
                let key = Key::from(key);
                self.announcements.remove(&mut inner.dht, &key);
                inner.dht.stop_providing(&key);
                let _ = reply.send(());
            }
            Command::Status(reply) => {
                let _ = reply.send(self.status(&mut inner.dht));
            }
        }
    }

    fn on_event(&mut self, inner: &mut Inner, event: InnerEvent) -> Option<Infallible> {
        match event {
            InnerEvent::Dht(event) => self.on_dht_event(inner, event),
            InnerEvent::Teller(told) => self.announcements.on_told(&mut inner.dht, told),
            InnerEvent::Speakers(heard) => {
                self.routing.on_heard(&mut inner.dht, heard);
                self.settle(&mut inner.dht);
            }
        }
        None
    }

    fn on_swarm_event(&mut self, inner: &mut Inner, event: &FromSwarm<'_>) {
        self.reach.on_swarm_event(&mut inner.dht, event);
        self.routing.on_swarm_event(&mut inner.dht, event);
        self.settle(&mut inner.dht);
    }

    fn on_dial(&mut self, inner: &mut Inner, peer: &PeerId, addresses: &mut Vec<Multiaddr>) {
        addresses.retain(|address| self.routing.believes(&mut inner.dht, peer, address));
    }

    fn sees(&mut self, event: &FromSwarm<'_>) -> bool {
        self.reach.sees(event)
    }

    fn poll_local(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        let dht = &mut inner.dht;
        let lookups = self.lookups.poll(dht, &self.routing, cx);
        let announcements = self.announcements.poll(dht, cx);
        let sweep = self.poll_sweep(dht, cx);
        let glance = self.poll_glance(cx);
        if [lookups, announcements, sweep, glance].iter().any(Poll::is_ready) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
