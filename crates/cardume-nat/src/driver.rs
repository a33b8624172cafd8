//! The feature on the swarm's task.
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
};

use cardume_behaviour::{Driver, Scope};
use libp2p_autonat::v2 as autonat;
use libp2p_core::Multiaddr;
use libp2p_dcutr as dcutr;
use libp2p_relay as relay;
use libp2p_swarm::FromSwarm;
use libp2p_upnp as upnp;

use crate::{
    Config, Reachability, Status, Tested, Upnp,
    handle::Command,
    inner::{Inner, Told},
    shown::Shown,
};

/// Tests remembered, to be shown.
const MAX_TESTED: usize = 16;
/// Addresses that the prober is told of in the whole life of a node: it forgets none, and peers make them up.
const MAX_CANDIDATES: usize = 256;

/// Knows how this node can be reached.
pub struct Nat {
    shown: Shown,
    candidates: HashSet<Multiaddr>,
    tested: VecDeque<Tested>,
    upnp: Upnp,
    punched: u64,
    unpunched: u64,
    unpunched_reason: Option<String>,
    reservations: Option<HashSet<libp2p_identity::PeerId>>,
    circuits: usize,
}

impl Nat {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            shown: Shown::default(),
            candidates: HashSet::new(),
            tested: VecDeque::new(),
            upnp: if config.upnp { Upnp::Asked } else { Upnp::Off },
            punched: 0,
            unpunched: 0,
            unpunched_reason: None,
            reservations: config.relay_server.then(HashSet::new),
            circuits: 0,
        }
    }

    fn status(&self, inner: &Inner) -> Status {
        let reachability = if self.shown.is_public() {
            Reachability::Public
        } else if self.tested.is_empty() {
            Reachability::Unknown
        } else {
            Reachability::Private
        };
        Status {
            reachability,
            tested: self.tested.iter().cloned().collect(),
            places: inner.places.status(),
            upnp: self.upnp.clone(),
            punched: self.punched,
            unpunched: self.unpunched,
            unpunched_reason: self.unpunched_reason.clone(),
            reservations: self.reservations.as_ref().map(HashSet::len),
            circuits: self.circuits,
        }
    }

    fn on_probe(&mut self, event: autonat::client::Event) {
        let tested = Tested {
            address: event.tested_addr,
            by: event.server,
            problem: event.result.err().map(|error| error.to_string()),
        };
        tracing::debug!(address = %tested.address, by = %tested.by, problem = tested.problem, "dialled back");
        if self.tested.len() == MAX_TESTED {
            self.tested.pop_front();
        }
        self.tested.push_back(tested);
    }

    fn on_punch(&mut self, event: dcutr::Event) {
        let peer = event.remote_peer_id;
        match event.result {
            Ok(_) => {
                tracing::debug!(%peer, "a relayed connection became a direct one");
                self.punched += 1;
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "a relayed connection stays one");
                self.unpunched += 1;
                self.unpunched_reason = Some(error.to_string());
            }
        }
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => match &mut self.upnp {
                Upnp::Open(open) => open.push(external_addr),
                other => *other = Upnp::Open(vec![external_addr]),
            },
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                if let Upnp::Open(open) = &mut self.upnp {
                    open.retain(|address| *address != external_addr);
                }
            }
            upnp::Event::GatewayNotFound => {
                tracing::warn!("nat.upnp is on, and no router answers");
                self.upnp = Upnp::NotFound;
            }
            upnp::Event::NonRoutableGateway => {
                tracing::warn!("nat.upnp is on, and the router has no public address itself");
                self.upnp = Upnp::NotPublic;
            }
        }
    }

    fn on_server(&mut self, event: relay::Event) {
        let reservations = self.reservations.get_or_insert_default();
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                reservations.insert(src_peer_id);
            }
            relay::Event::ReservationClosed { src_peer_id }
            | relay::Event::ReservationTimedOut { src_peer_id } => {
                reservations.remove(&src_peer_id);
            }
            relay::Event::CircuitReqAccepted { .. } => self.circuits += 1,
            relay::Event::CircuitClosed { .. } => self.circuits = self.circuits.saturating_sub(1),
            event => tracing::debug!(?event, "relaying"),
        }
    }

    /// Whether an address that a peer says it sees us at is worth testing.
    fn is_candidate(&mut self, address: &Multiaddr) -> bool {
        let is_new = !self.candidates.contains(address);
        if Scope::of(address) != Scope::Public || (is_new && self.candidates.len() == MAX_CANDIDATES) {
            return false;
        }
        self.candidates.insert(address.clone());
        true
    }
}

impl Driver for Nat {
    type Inner = Inner;
    type Command = Command;
    type Event = Infallible;

    fn is_ready(&self) -> bool {
        true
    }

    fn on_command(&mut self, inner: &mut Inner, command: Command) {
        let Command::Status(reply) = command;
        let _ = reply.send(self.status(inner));
    }

    fn on_event(&mut self, _: &mut Inner, event: Told) -> Option<Infallible> {
        match event {
            Told::Client(event) => tracing::debug!(?event, "through a relay"),
            Told::Server(event) => self.on_server(event),
            Told::Probed(event) => self.on_probe(event),
            Told::Checked(event) => tracing::debug!(?event, "dialled a peer back"),
            Told::Punched(event) => self.on_punch(event),
            Told::Upnp(event) => self.on_upnp(event),
        }
        None
    }

    fn on_swarm_event(&mut self, inner: &mut Inner, event: &FromSwarm<'_>) {
        self.shown.take(&mut inner.server, event);
    }

    fn sees(&mut self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::NewExternalAddrCandidate(candidate) => self.is_candidate(candidate.addr),
            event => self.shown.sees(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_peers_make_up_are_bounded_and_those_known_still_count() {
        let mut nat = Nat::new(&Config::default());
        let address =
            |n: usize| -> Multiaddr { format!("/ip4/198.51.100.1/udp/{n}/quic-v1").parse().unwrap() };
        let taken = (1..=2 * MAX_CANDIDATES).filter(|n| nat.is_candidate(&address(*n)));
        assert_eq!(taken.count(), MAX_CANDIDATES);
        assert!(nat.is_candidate(&address(1)));
        assert!(!nat.is_candidate(&"/ip4/192.168.1.9/tcp/4011".parse().unwrap()));
    }
}
