//! The DHT behind its mailbox.
use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cardume_behaviour::Driver;
use libp2p_identity::PeerId;
use libp2p_kad::{self as kad, InboundRequest, QueryResult, RecordKey as Key};
use libp2p_swarm::FromSwarm;
use tokio::time::{Sleep, sleep};

use crate::{
    Config,
    address::is_local,
    announce::Announcements,
    command::Command,
    handle::{KadError, Status},
    lookups::Lookups,
    reach::Reach,
    records::{MAX_PROVIDED, Records},
    routing::{Routing, table_size},
};

type Inner = kad::Behaviour<Records>;

/// How often what has expired is forgotten and the table is looked over.
const SWEEP: Duration = Duration::from_secs(30);

/// What the DHT does with commands and events.
pub struct Kad {
    lookups: Lookups,
    announcements: Announcements,
    reach: Reach,
    routing: Routing,
    /// Made when first polled: only then is there surely a runtime.
    sweep: Option<Pin<Box<Sleep>>>,
}

impl Kad {
    /// Makes the driver, and sets the inner behaviour's mode.
    pub(crate) fn new(local: PeerId, config: &Config, inner: &mut Inner) -> Self {
        let mut reach = Reach::new(config.mode);
        reach.settle(inner);
        Self {
            lookups: Lookups::new(local, config.parallel_queries),
            announcements: Announcements::new(config.provider_interval.get()),
            reach,
            routing: Routing::default(),
            sweep: None,
        }
    }

    fn provide(
        &mut self,
        inner: &mut Inner,
        key: Vec<u8>,
        reply: tokio::sync::oneshot::Sender<Result<(), KadError>>,
    ) {
        match inner.store_mut().provide(Key::from(key.clone())) {
            Ok(()) => self.announcements.add(key, reply),
            Err(_) => {
                let limit = format!("this node provides {MAX_PROVIDED} keys already");
                let _ = reply.send(Err(KadError::Refused(limit)));
            }
        }
    }

    fn status(&self, inner: &mut Inner) -> Status {
        Status {
            server: inner.mode() == kad::Mode::Server,
            peers: table_size(inner),
            provided: inner.store_mut().provided_keys(),
            records: inner.store_mut().values(),
            queries: self.lookups.running() + self.announcements.in_flight(),
            unsaved: inner.store_mut().unsaved(),
        }
    }

    fn on_request(&mut self, inner: &mut Inner, request: InboundRequest) {
        match request {
            // The behaviour takes an announcement only from the provider itself.
            InboundRequest::AddProvider {
                record: Some(mut record),
            } => {
                if self.reach.is_wide() {
                    record.addresses.retain(|a| !is_local(a));
                }
                let provider = record.provider;
                if let Err(error) = inner.store_mut().offer_provider(record) {
                    tracing::debug!(%provider, %error, "a provider was not taken");
                }
            }
            InboundRequest::PutRecord {
                source,
                record: Some(record),
                ..
            } => {
                if let Err(error) = inner.store_mut().offer_value(source, record) {
                    tracing::debug!(%source, %error, "a value was not taken");
                }
            }
            _ => {}
        }
    }

    fn poll_sweep(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.sweep.get_or_insert_with(|| Box::pin(sleep(SWEEP)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.sweep = None;
        inner.store_mut().expire(Instant::now());
        self.routing.sweep(inner);
        Poll::Ready(())
    }
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
            Command::Provide { key, reply } => self.provide(inner, key, reply),
            Command::Withdraw { key, reply } => {
                self.announcements.remove(inner, &key);
                inner.stop_providing(&Key::from(key));
                let _ = reply.send(());
            }
            Command::Status(reply) => {
                let _ = reply.send(self.status(inner));
            }
        }
    }

    fn on_event(&mut self, inner: &mut Inner, event: kad::Event) -> Option<Infallible> {
        match event {
            kad::Event::InboundRequest { request } => self.on_request(inner, request),
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::StartProviding(result),
                stats,
                ..
            } => {
                self.announcements
                    .finished(id, result.is_ok() && stats.num_successes() > 0);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.lookups
                    .on_progress(inner, &self.routing, id, result, step.last);
            }
            kad::Event::RoutingUpdated {
                is_new_peer: true, ..
            } => self.announcements.peer_joined(),
            kad::Event::RoutablePeer { peer, address } => self.routing.confirmed(inner, peer, Some(address)),
            kad::Event::UnroutablePeer { peer } => self.routing.confirmed(inner, peer, None),
            kad::Event::RoutingUpdated { .. }
            | kad::Event::PendingRoutablePeer { .. }
            | kad::Event::ModeChanged { .. } => {}
        }
        None
    }

    fn on_swarm_event(&mut self, inner: &mut Inner, event: &FromSwarm<'_>) {
        self.reach.on_swarm_event(inner, event);
        self.routing.on_swarm_event(inner, event);
    }

    fn sees(&mut self, event: &FromSwarm<'_>) -> bool {
        self.reach.sees(event)
    }

    fn poll_local(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        let lookups = self.lookups.poll(inner, cx);
        let peers = table_size(inner);
        let announcements = self.announcements.poll(inner, peers, cx);
        let sweep = self.poll_sweep(inner, cx);
        if lookups.is_ready() || announcements.is_ready() || sweep.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
