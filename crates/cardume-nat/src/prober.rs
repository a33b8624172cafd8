//! An AutoNAT client that asks again whether an address still works.
//!
//! libp2p's tests each address once. To have those tested again that were found to work, it is replaced by a new one,
//! which is told of the connections there are; and since it learns only from a new connection which peers test, one is
//! made to a peer that has tested before.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p_autonat::v2::client;
use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    behaviour::ConnectionEstablished,
    dial_opts::{DialOpts, PeerCondition},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Doubts in a row after which an address counts as lost: one may be the fault of who tested.
const LOST: u32 = 3;
/// What a tester says that could not get through is worth.
const SAID: u32 = 2;
/// … and that a tester says nothing in time. One that is dropped without a word hears so no sooner than we stop
/// listening.
const SILENT: u32 = 1;
/// Time between two tests of an address that is in doubt.
const DOUBT: Duration = Duration::from_secs(30);
/// Time in which a connection that is made for a test is done with it; libp2p's client waits ten seconds.
const TEST: Duration = Duration::from_secs(12);

type Action = ToSwarm<client::Event, THandlerInEvent<client::Behaviour>>;

#[derive(Debug)]
struct Connection {
    peer: PeerId,
    point: ConnectedPoint,
}

/// The client, and what the next one has to be told.
pub struct Prober {
    inner: client::Behaviour,
    interval: Duration,
    connections: HashMap<ConnectionId, Connection>,
    /// Addresses that others are told, whoever says that they work.
    external: HashSet<Multiaddr>,
    /// Those of them that are told for a test only, with the doubts there are.
    confirmed: HashMap<Multiaddr, u32>,
    /// Those that were tested since this client began.
    heard: HashSet<Multiaddr>,
    /// Who has tested an address last.
    tester: Option<PeerId>,
    /// The connection that was made for a test, and when it is to be closed.
    made: Option<(ConnectionId, PeerId, Instant)>,
    /// When to test again; made when first needed: only then is there surely a runtime.
    next: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    pending: VecDeque<Action>,
}

impl Prober {
    /// Tests what works again after each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            inner: client::Behaviour::default(),
            interval,
            connections: HashMap::new(),
            external: HashSet::new(),
            confirmed: HashMap::new(),
            heard: HashSet::new(),
            tester: None,
            made: None,
            next: None,
            timer: None,
            pending: VecDeque::new(),
        }
    }

    fn look(&mut self, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let connection = Connection {
                    peer: e.peer_id,
                    point: e.endpoint.clone(),
                };
                self.connections.insert(e.connection_id, connection);
            }
            FromSwarm::ConnectionClosed(e) => {
                self.connections.remove(&e.connection_id);
            }
            FromSwarm::ExternalAddrConfirmed(e) => {
                self.external.insert(e.addr.clone());
            }
            FromSwarm::ExternalAddrExpired(e) => {
                self.external.remove(e.addr);
                self.confirmed.remove(e.addr);
            }
            _ => {}
        }
    }

    /// Takes in what came of a test.
    fn tested(&mut self, event: &client::Event, now: Instant) {
        self.tester = Some(event.server);
        let address = &event.tested_addr;
        self.heard.insert(address.clone());
        if event.result.is_err() {
            self.doubt(address, SAID, now);
        } else if let Some(doubts) = self.confirmed.get_mut(address) {
            *doubts = 0;
            self.next.get_or_insert(now + self.interval);
        }
    }

    /// Takes in that an address may have been lost.
    fn doubt(&mut self, address: &Multiaddr, weight: u32, now: Instant) {
        let Some(doubts) = self.confirmed.get_mut(address) else {
            return;
        };
        *doubts += weight;
        if *doubts < LOST {
            self.next = Some(now + DOUBT.min(self.interval));
            return;
        }
        tracing::info!(%address, "peers do not get through to it any more");
        self.confirmed.remove(address);
        self.pending
            .push_back(ToSwarm::ExternalAddrExpired(address.clone()));
    }

    /// Ends a round of tests: closes the connection that was made for it.
    fn end(&mut self, id: ConnectionId, peer_id: PeerId, now: Instant) {
        self.made = None;
        if !self.connections.contains_key(&id) {
            return;
        }
        let unheard = self
            .confirmed
            .keys()
            .filter(|address| !self.heard.contains(*address));
        for address in unheard.cloned().collect::<Vec<_>>() {
            self.doubt(&address, SILENT, now);
        }
        self.pending.push_back(ToSwarm::CloseConnection {
            peer_id,
            connection: CloseConnection::One(id),
        });
    }

    /// Begins anew with what was found to work.
    fn begin(&mut self, now: Instant) {
        self.next = (!self.confirmed.is_empty()).then(|| now + self.interval);
        let Some((peer, address)) = self.tester() else {
            return;
        };
        self.inner = client::Behaviour::default();
        self.heard.clear();
        for (connection_id, connection) in &self.connections {
            let event = ConnectionEstablished {
                peer_id: connection.peer,
                connection_id: *connection_id,
                endpoint: &connection.point,
                failed_addresses: &[],
                other_established: 0,
            };
            self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
        }
        for addr in self.confirmed.keys() {
            let candidate = NewExternalAddrCandidate { addr };
            self.inner
                .on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        self.made = Some((opts.connection_id(), peer, now + TEST));
        self.pending.push_back(ToSwarm::Dial { opts });
    }

    /// Who has tested last, or else anybody, and where it was dialled.
    fn tester(&self) -> Option<(PeerId, Multiaddr)> {
        let dialled = |connection: &Connection| match &connection.point {
            ConnectedPoint::Dialer { address, .. } if !connection.point.is_relayed() => {
                Some((connection.peer, address.clone()))
            }
            _ => None,
        };
        let known = self.connections.values().filter_map(dialled);
        known.max_by_key(|(peer, _)| Some(*peer) == self.tester)
    }

    /// Does what is due; whether there was something.
    fn act(&mut self, now: Instant) -> bool {
        if let Some((id, peer_id, until)) = self.made
            && until <= now
        {
            self.end(id, peer_id, now);
            return true;
        }
        if self.made.is_none() && self.next.is_some_and(|next| next <= now) {
            self.begin(now);
            return true;
        }
        false
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = match (self.made, self.next) {
            (Some((.., until)), _) | (None, Some(until)) => until,
            (None, None) => return Poll::Pending,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().reset(until);
        timer.as_mut().poll(cx)
    }
}

impl NetworkBehaviour for Prober {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.look(&event);
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Action> {
        loop {
            if let Some(action) = self.pending.pop_front() {
                return Poll::Ready(action);
            }
            if let Poll::Ready(action) = self.inner.poll(cx) {
                match &action {
                    ToSwarm::GenerateEvent(event) => self.tested(event, Instant::now()),
                    // What configuration or a router says is not for a test to take back.
                    ToSwarm::ExternalAddrConfirmed(address) if !self.external.contains(address) => {
                        self.confirmed.insert(address.clone(), 0);
                    }
                    _ => {}
                }
                return Poll::Ready(action);
            }
            if !self.act(Instant::now()) && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_lost_when_there_are_doubts_enough_in_a_row() {
        let address: Multiaddr = "/ip4/198.51.100.1/udp/1/quic-v1".parse().unwrap();
        let (now, interval) = (Instant::now(), Duration::from_secs(1800));
        for (doubts, lost) in [
            (&[SAID][..], false),
            (&[SAID, SAID], true),
            (&[SILENT, SILENT], false),
            (&[SILENT, SILENT, SILENT], true),
            (&[SILENT, SAID], true),
        ] {
            let mut prober = Prober::new(interval);
            prober.confirmed.insert(address.clone(), 0);
            for weight in doubts {
                prober.doubt(&address, *weight, now);
            }
            assert_eq!(prober.confirmed.is_empty(), lost, "{doubts:?}");
            assert_eq!(prober.pending.len(), usize::from(lost));
            assert!(
                prober.next.is_some_and(|next| next == now + DOUBT),
                "it is tried again soon"
            );
        }
    }

    #[tokio::test]
    async fn what_others_say_of_an_address_is_not_taken_back() {
        let address: Multiaddr = "/ip4/198.51.100.1/udp/1/quic-v1".parse().unwrap();
        let mut prober = Prober::new(Duration::from_secs(1800));
        prober.doubt(&address, LOST, Instant::now());
        assert!(prober.pending.is_empty());
    }
}
