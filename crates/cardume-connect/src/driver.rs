//! What the feature does with commands and events.
mod command;
mod dials;
mod inner;
mod links;

pub(crate) use self::{
    command::Command,
    inner::{Inner, Told},
};

use std::{collections::HashSet, convert::Infallible};

use libp2p_core::Multiaddr;
use libp2p_identify as identify;
use libp2p_identity::PeerId;
use libp2p_ping as ping;
use libp2p_swarm::{CloseConnection, FromSwarm};
use tokio::sync::{broadcast, oneshot};

use self::{
    dials::{Dials, Reply},
    links::Links,
};
use crate::{Addresses, ConnectError, Path, PeerEvent, failure::explain};

/// Events kept for a subscriber that is slow; it is told how many it missed beyond them.
const EVENTS: usize = 1024;

/// Unanswered pings that are reported after which a connection is closed.
///
/// The first one in a row is never reported, so this is the third: dead connections go, and one
/// lost stream costs nothing.
const UNANSWERED: u32 = 2;

/// Knows who is connected and who waits for whom.
pub struct Driver {
    local: PeerId,
    /// The peers that configuration names.
    known: HashSet<PeerId>,
    links: Links,
    dials: Dials,
    addresses: Addresses,
    events: broadcast::Sender<PeerEvent>,
}

impl Driver {
    pub(crate) fn new(local: PeerId, known: HashSet<PeerId>) -> (Self, broadcast::Sender<PeerEvent>) {
        let (events, _) = broadcast::channel(EVENTS);
        let driver = Self {
            local,
            known,
            links: Links::default(),
            dials: Dials::default(),
            addresses: Addresses::default(),
            events: events.clone(),
        };
        (driver, events)
    }

    fn tell(&self, event: PeerEvent) {
        // Without a subscriber there is nobody to tell.
        let _ = self.events.send(event);
    }

    /// Tells when a peer that was reached `before` is reached in another way now.
    fn rerouted(&self, peer: PeerId, before: Option<Path>) {
        if let (Some(before), Some(path)) = (before, self.links.path(&peer))
            && before != path
        {
            tracing::debug!(%peer, ?before, ?path, "reached in another way");
            self.tell(PeerEvent::Rerouted { peer, path });
        }
    }

    fn connect(&mut self, inner: &mut Inner, peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply) {
        if peer == self.local {
            reply.fail(ConnectError::Failed(
                "that is this node itself; give the id of another one".into(),
            ));
        } else if self.links.is_connected(&peer) {
            reply.succeed(peer);
        } else if let Some(opts) = self.dials.connect(peer, addresses, reply) {
            inner.orders.dial(opts);
        }
    }

    fn dial(
        &mut self,
        inner: &mut Inner,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) {
        if let Some(opts) = self.dials.dial(address, Reply::Peer(reply)) {
            inner.orders.dial(opts);
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } => {
                if let Some(event) = self.links.identified(peer_id, &info) {
                    self.tell(event);
                }
            }
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!(peer = %peer_id, %error, "identify failed");
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {}
        }
    }

    fn on_ping(&mut self, inner: &mut Inner, event: ping::Event) {
        let ping::Event {
            peer,
            connection,
            result,
        } = event;
        match result {
            Ok(rtt) => self.links.answered(peer, connection, rtt),
            // It answers no pings at all, which says nothing about the connection.
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                if self.links.unanswered(peer, connection) >= UNANSWERED {
                    tracing::debug!(%peer, %error, "closing a connection that answers no pings");
                    inner.orders.close(peer, CloseConnection::One(connection));
                }
            }
        }
    }
}

impl cardume_behaviour::Driver for Driver {
    type Inner = Inner;
    type Command = Command;
    type Event = Infallible;

    /// Always: the number of dials is limited by the connection limits, which refuse at once.
    fn is_ready(&self) -> bool {
        true
    }

    fn on_command(&mut self, inner: &mut Inner, command: Command) {
        match command {
            Command::Connect {
                peer,
                addresses,
                reply,
            } => {
                self.connect(inner, peer, addresses, Reply::Done(reply));
            }
            Command::Dial { address, reply } => self.dial(inner, address, reply),
            Command::Disconnect { peer, reply } => {
                inner.orders.close(peer, CloseConnection::All);
                answer(reply, self.links.is_connected(&peer));
            }
            Command::Block { peer, reply } => {
                inner.blocked.block_peer(peer);
                answer(reply, ());
            }
            Command::Unblock { peer, reply } => {
                inner.blocked.unblock_peer(peer);
                answer(reply, ());
            }
            Command::Configure { settings, reply } => {
                inner.configure(&settings, &self.known, |peer| self.links.is_connected(peer));
                self.known = settings.named.known;
                answer(reply, ());
            }
            Command::Peers(reply) => answer(reply, self.links.peers()),
            Command::Addresses(reply) => {
                let mut addresses = self.addresses.clone();
                addresses.observed = inner.identify.seen_at();
                answer(reply, addresses);
            }
            Command::AddressesOf { peer, reply } => answer(reply, inner.book.addresses(&peer)),
        }
    }

    fn on_event(&mut self, inner: &mut Inner, event: Told) -> Option<Infallible> {
        match event {
            Told::Identify(event) => self.on_identify(*event),
            Told::Ping(event) => self.on_ping(inner, event),
        }
        None
    }

    fn on_swarm_event(&mut self, _inner: &mut Inner, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let before = self.links.path(&established.peer_id);
                if self.links.established(established) {
                    self.tell(PeerEvent::Connected(established.peer_id));
                }
                self.rerouted(established.peer_id, before);
                self.dials
                    .established(established.connection_id, established.peer_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                let before = self.links.path(&closed.peer_id);
                if self.links.closed(closed) {
                    self.tell(PeerEvent::Disconnected(closed.peer_id));
                }
                self.rerouted(closed.peer_id, before);
            }
            FromSwarm::DialFailure(failure) => {
                let connected = failure.peer_id.filter(|peer| self.links.is_connected(peer));
                let outcome = connected.ok_or_else(|| explain(failure.peer_id, failure.error));
                self.dials.ended(failure.connection_id, outcome);
            }
            FromSwarm::NewListenAddr(new) => insert(&mut self.addresses.listen, new.addr),
            FromSwarm::ExpiredListenAddr(expired) => self.addresses.listen.retain(|a| a != expired.addr),
            FromSwarm::ExternalAddrConfirmed(new) => insert(&mut self.addresses.external, new.addr),
            FromSwarm::ExternalAddrExpired(expired) => self.addresses.external.retain(|a| a != expired.addr),
            _ => {}
        }
    }
}

/// Answers a caller, who may have gone by now.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}

fn insert(addresses: &mut Vec<Multiaddr>, address: &Multiaddr) {
    if !addresses.contains(address) {
        addresses.push(address.clone());
    }
}
