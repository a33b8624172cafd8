//! Telling one peer of many keys at once: announcements on one stream, which libp2p's DHT takes but never sends.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_kad::RecordKey as Key;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler, StreamProtocol,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dial_opts::{DialOpts, PeerCondition},
};
use multiaddr::Multiaddr;

use self::handler::Voice;

mod handler;
mod message;

/// Keys that one peer is to hear of, and where it is.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The batch.
    pub(crate) number: u64,
    /// Whom to tell.
    pub(crate) peer: PeerId,
    /// Where it may be, besides where other behaviours know it to be.
    pub(crate) addresses: Vec<Multiaddr>,
    /// Of what.
    pub(crate) keys: Vec<Key>,
    /// Where we are.
    pub(crate) ours: Arc<[Multiaddr]>,
}

/// The end of an errand.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// The batch.
    pub(crate) number: u64,
    /// Who was to hear.
    pub(crate) peer: PeerId,
    /// Whether it has read everything.
    pub(crate) heard: bool,
}

/// Runs errands; how many there are at once is bounded by whoever sends them.
#[derive(Debug)]
pub struct Teller {
    local: PeerId,
    protocol: StreamProtocol,
    connected: HashSet<PeerId>,
    dialling: HashMap<PeerId, Vec<Errand>>,
    events: VecDeque<ToSwarm<Told, Errand>>,
}

impl Teller {
    pub(crate) fn new(local: PeerId, protocol: StreamProtocol) -> Self {
        Self {
            local,
            protocol,
            connected: HashSet::new(),
            dialling: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Tells, after a dial if need be.
    pub(crate) fn tell(&mut self, errand: Errand) {
        let peer = errand.peer;
        if self.connected.contains(&peer) {
            self.send(errand);
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .addresses(errand.addresses.clone())
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        let waiting = self.dialling.entry(peer).or_default();
        waiting.push(errand);
        if waiting.len() == 1 {
            self.events.push_back(ToSwarm::Dial { opts });
        }
    }

    fn send(&mut self, errand: Errand) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: errand.peer,
            handler: NotifyHandler::Any,
            event: errand,
        });
    }

    fn failed(&mut self, peer: PeerId) {
        for errand in self.dialling.remove(&peer).into_iter().flatten() {
            let told = Told {
                number: errand.number,
                peer,
                heard: false,
            };
            self.events.push_back(ToSwarm::GenerateEvent(told));
        }
    }

    fn voice(&self) -> Voice {
        Voice::new(self.local, self.protocol.clone())
    }
}

impl NetworkBehaviour for Teller {
    type ConnectionHandler = Voice;
    type ToSwarm = Told;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.voice())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.voice())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.connected.insert(e.peer_id);
                for errand in self.dialling.remove(&e.peer_id).into_iter().flatten() {
                    self.send(errand);
                }
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.connected.remove(&e.peer_id);
            }
            // Somebody else dials it, or it is just being connected: that dial's end comes as well.
            FromSwarm::DialFailure(e) if matches!(e.error, DialError::DialPeerConditionFalse(_)) => {}
            FromSwarm::DialFailure(e) => {
                if let Some(peer) = e.peer_id {
                    self.failed(peer);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let (number, heard) = event;
        let told = Told { number, peer, heard };
        self.events.push_back(ToSwarm::GenerateEvent(told));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Told, THandlerInEvent<Self>>> {
        // Filled by commands, timers and events, after each of which the swarm polls again.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
