//! Identify, told apart by distance: a peer learns only addresses that reach as far as it is away.
//!
//! One identify behaviour tells every peer the same addresses, so there is one for each [`Scope`], all
//! with the same handler, and each connection belongs to the one of its remote address.
use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
    time::Duration,
};

use cardume_behaviour::Scope;
use libp2p_core::{Endpoint, Multiaddr, multiaddr::Protocol, transport::PortUse};
use libp2p_identify as identify;
use libp2p_identity::{PeerId, PublicKey};
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
};

use crate::{
    Observed,
    address::{bare, distance, is_dialable, is_relayed, is_visible},
};

/// Addresses believed of one peer; it could name hundreds in one message, each of which would be dialled.
const MAX_ADDRESSES: usize = 16;

type Action = ToSwarm<identify::Event, THandlerInEvent<identify::Behaviour>>;

struct Connection {
    peer: PeerId,
    distance: Scope,
    is_dialled: bool,
    /// Where the peer sees our own socket, if it says so.
    observed: Option<Multiaddr>,
    /// Addresses passed on already, so that a repeated push costs nobody else anything.
    told: Vec<Multiaddr>,
}

/// One identify behaviour for each distance.
pub struct Scoped {
    inner: [identify::Behaviour; Scope::ALL.len()],
    connections: HashMap<ConnectionId, Connection>,
    pending: VecDeque<Action>,
}

impl Scoped {
    pub(crate) fn new(key: &PublicKey, network: &str, agent: &str) -> Self {
        // Without a signed record: other implementations drop the whole answer over its older format.
        let config = identify::Config::new(format!("cardume/{network}"), key.clone())
            .with_agent_version(agent.to_owned())
            .with_interval(Duration::from_secs(300))
            // Changes are pushed by this wrapper, to those only who may see them.
            .with_push_listen_addr_updates(false)
            // Listen addresses are told as external ones, which are filtered by distance.
            .with_hide_listen_addrs(true)
            // The address book remembers, and bounds what it does.
            .with_cache_size(0);
        Self {
            inner: Scope::ALL.map(|_| identify::Behaviour::new(config.clone())),
            connections: HashMap::new(),
            pending: VecDeque::new(),
        }
    }

    fn at(&mut self, distance: Scope) -> &mut identify::Behaviour {
        match (&mut self.inner, distance) {
            ([host, _, _], Scope::Host) => host,
            ([_, private, _], Scope::Private) => private,
            ([_, _, public], Scope::Public) => public,
        }
    }

    /// Connections with `peer` at one distance: what each inner behaviour takes for all of them.
    fn count(&self, peer: PeerId, distance: Scope) -> usize {
        self.connections
            .values()
            .filter(|c| c.peer == peer && c.distance == distance)
            .count()
    }

    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        let distance = distance(event.endpoint.get_remote_address());
        let other_established = self.count(event.peer_id, distance);
        let connection = Connection {
            peer: event.peer_id,
            distance,
            is_dialled: event.endpoint.is_dialer(),
            observed: None,
            told: Vec::new(),
        };
        self.connections.insert(event.connection_id, connection);
        let event = ConnectionEstablished {
            other_established,
            ..event
        };
        self.at(distance)
            .on_swarm_event(FromSwarm::ConnectionEstablished(event));
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        let Some(connection) = self.connections.remove(&event.connection_id) else {
            return;
        };
        let remaining_established = self.count(event.peer_id, connection.distance);
        let event = ConnectionClosed {
            remaining_established,
            ..event
        };
        self.at(connection.distance)
            .on_swarm_event(FromSwarm::ConnectionClosed(event));
    }

    /// Shows a change of our addresses to the distances that may see it, and tells connected peers.
    fn on_own_address(&mut self, address: &Multiaddr, event: FromSwarm<'_>) {
        for distance in Scope::ALL {
            if !is_visible(address, distance) {
                continue;
            }
            let peers: Vec<_> = self
                .connections
                .values()
                .filter(|c| c.distance == distance)
                .map(|c| c.peer)
                .collect();
            let inner = self.at(distance);
            inner.on_swarm_event(event);
            inner.push(peers);
        }
    }

    /// Lets through what an inner behaviour may say; `None` when nothing of it is due now.
    fn filter(&mut self, from: Scope, action: Action) -> Option<Action> {
        match action {
            ToSwarm::GenerateEvent(identify::Event::Received {
                connection_id,
                peer_id,
                mut info,
            }) => {
                info.listen_addrs = believable(&info.listen_addrs, from);
                self.observed(connection_id, &info.observed_addr);
                self.pass_on(connection_id, peer_id, &info.listen_addrs);
                // After the addresses, so that whoever hears of the peer can ask where it is.
                self.pending
                    .push_back(ToSwarm::GenerateEvent(identify::Event::Received {
                        connection_id,
                        peer_id,
                        info,
                    }));
                None
            }
            // What a peer on our own network saw of us says nothing about the outside.
            ToSwarm::NewExternalAddrCandidate(observed) => (from == Scope::Public && is_candidate(&observed))
                .then(|| ToSwarm::NewExternalAddrCandidate(bare(&observed))),
            action => Some(action),
        }
    }

    /// Passes on where a peer sees us, if we have dialled it over QUIC: that is where our own socket is seen, whatever
    /// port a router has put in place of it. The inner behaviour takes such a port for one of TCP, that only one
    /// connection has, and puts that of our listener in its place.
    fn observed(&mut self, connection: ConnectionId, observed: &Multiaddr) {
        let is_quic = observed.iter().any(|part| matches!(part, Protocol::QuicV1));
        let connection = self.connections.get_mut(&connection);
        let ours = connection.filter(|c| c.distance == Scope::Public && c.is_dialled);
        if let Some(connection) = ours.filter(|_| is_quic && is_candidate(observed)) {
            connection.observed = Some(bare(observed));
            self.pending
                .push_back(ToSwarm::NewExternalAddrCandidate(bare(observed)));
        }
    }

    /// Where connected peers on other networks see our own socket.
    pub(crate) fn seen_at(&self) -> Vec<Observed> {
        let seen = |connection: &Connection| {
            Some(Observed {
                by: connection.peer,
                address: connection.observed.clone()?,
            })
        };
        self.connections.values().filter_map(seen).collect()
    }

    /// Tells the other behaviours the addresses that are new on this connection.
    fn pass_on(&mut self, connection: ConnectionId, peer_id: PeerId, addresses: &[Multiaddr]) {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return;
        };
        for address in addresses.iter().filter(|a| !connection.told.contains(a)) {
            self.pending.push_back(ToSwarm::NewExternalAddrOfPeer {
                peer_id,
                address: address.clone(),
            });
        }
        connection.told = addresses.to_vec();
    }
}

/// Whether others may reach us at an address that a peer far away sees us at.
fn is_candidate(observed: &Multiaddr) -> bool {
    Scope::of(observed) == Scope::Public && is_dialable(observed) && !is_relayed(observed)
}

/// The addresses, of those a peer told us, that somebody at its distance can have.
fn believable(told: &[Multiaddr], distance: Scope) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for address in told.iter().map(bare) {
        if is_dialable(&address) && is_visible(&address, distance) && !addresses.contains(&address) {
            addresses.push(address);
        }
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
    }
    addresses
}

impl NetworkBehaviour for Scoped {
    type ConnectionHandler = <identify::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.at(distance(remote))
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
        self.at(distance(address))
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::AddressChange(change) => {
                // The handler has the addresses for the old distance; a new connection gets the right ones.
                if distance(change.new.get_remote_address()) != distance(change.old.get_remote_address()) {
                    self.pending.push_back(ToSwarm::CloseConnection {
                        peer_id: change.peer_id,
                        connection: CloseConnection::One(change.connection_id),
                    });
                }
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) => self.on_own_address(confirmed.addr, event),
            FromSwarm::ExternalAddrExpired(expired) => self.on_own_address(expired.addr, event),
            event => self
                .inner
                .iter_mut()
                .for_each(|inner| inner.on_swarm_event(event)),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if let Some(distance) = self.connections.get(&id).map(|c| c.distance) {
            self.at(distance).on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(action) = self.pending.pop_front() {
                return Poll::Ready(action);
            }
            let mut progress = false;
            for distance in Scope::ALL {
                if let Poll::Ready(action) = self.at(distance).poll(cx) {
                    if let Some(action) = self.filter(distance, action) {
                        return Poll::Ready(action);
                    }
                    progress = true;
                }
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }
}
