//! The keys of `[nat]`, and building from them.
use std::{
    num::NonZeroU32,
    time::{Instant, SystemTime},
};

use cardume_access::{Action, List};
use cardume_behaviour::Onlooking;
use cardume_units::{Duration, Size};
use libp2p_dcutr as dcutr;
use libp2p_identity::PeerId;
use libp2p_relay as relay;
use libp2p_upnp as upnp;
use multiaddr::{Multiaddr, Protocol};

use crate::{
    Behaviour, Handle, Transport, checker::Checker, driver::Nat, inner::Inner, paths::Paths, places::Places,
    prober::Prober,
};

/// Commands that may wait for the swarm's task before their callers do.
const MAILBOX: usize = 16;
/// Relays to keep places at: each costs a connection and two addresses that everybody is told.
const MAX_RELAYS: usize = 8;
/// The least that a relayed connection is of use with.
const LEAST_BYTES: Size = Size::kib(64);
/// How often what a peer asks a relay for is forgiven: one at once, thirty in an hour, as in the specification's
/// other implementations.
const PER_PEER: (NonZeroU32, std::time::Duration) = (
    NonZeroU32::new(30).expect("30 is not 0"),
    std::time::Duration::from_secs(120),
);
/// … and one address.
const PER_ADDRESS: (NonZeroU32, std::time::Duration) = (
    NonZeroU32::new(60).expect("60 is not 0"),
    std::time::Duration::from_secs(60),
);

/// `[nat]`: ways to this node that others can use, and ways to others.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Relays to keep a place at, each address ending in `/p2p/<peer>`; at most eight.
    #[schemars(with = "Vec<String>")]
    pub relays: Vec<Multiaddr>,
    /// Turn connections through a relay into direct ones where the routers allow it.
    pub hole_punching: bool,
    /// Ask the router of this network to open the ports that this node listens on.
    pub upnp: bool,
    /// Time after which peers are asked again whether an address still works that did before.
    pub autonat_interval: Duration,
    /// Dial peers back that ask whether they can be reached, at the address that they come from only.
    pub autonat_server: bool,
    /// Relay connections for others.
    pub relay_server: bool,
    /// What a relay gives at most.
    pub relay_limits: RelayLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            hole_punching: true,
            upnp: false,
            autonat_interval: Duration::from_secs(1800),
            autonat_server: false,
            relay_server: false,
            relay_limits: RelayLimits::default(),
        }
    }
}

/// `[nat.relay_limits]`: what a relay gives at most.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RelayLimits {
    /// Peers that may keep a place at the same time.
    pub reservations: usize,
    /// How long a place is kept unless it is asked for again.
    pub reservation_time: Duration,
    /// Relayed connections at the same time.
    pub circuits: usize,
    /// … of one peer.
    pub circuits_per_peer: usize,
    /// How long one of them lasts.
    pub circuit_time: Duration,
    /// Bytes that one of them may carry.
    pub circuit_bytes: Size,
    /// Who may keep a place, and connect to those who do: names of peers, `group:NAME` and peer ids. Everybody who can
    /// connect, if not given.
    pub allow: Option<Vec<String>>,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 128,
            reservation_time: Duration::from_secs(3600),
            circuits: 32,
            circuits_per_peer: 4,
            circuit_time: Duration::from_secs(120),
            circuit_bytes: Size::mib(4),
            allow: None,
        }
    }
}

/// Why a configuration makes no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address of a relay that does not say who is there, or is no address of a relay.
    #[error("nat.relays: {0} does not end in one /p2p/<peer id>; add the id of the relay")]
    Anonymous(Multiaddr),
    /// More relays than are of use.
    #[error("nat.relays has {0} relays; 8 are enough")]
    TooMany(usize),
    /// A limit that makes no sense.
    #[error("nat.relay_limits.{0} must be at least 1s and below 136 years")]
    Time(&'static str),
    /// So often that it would be a burden to others.
    #[error("nat.autonat_interval must be at least 1s")]
    Interval,
    /// So little that no connection is through its handshakes; nothing would mean no limit to libp2p.
    #[error("nat.relay_limits.circuit_bytes must be at least 64KiB")]
    Bytes,
}

impl BuildError {
    /// The key that is to be changed.
    pub fn path(&self) -> Vec<&'static str> {
        match self {
            Self::Anonymous(_) | Self::TooMany(_) => vec!["nat", "relays"],
            Self::Interval => vec!["nat", "autonat_interval"],
            Self::Time(key) => vec!["nat", "relay_limits", key],
            Self::Bytes => vec!["nat", "relay_limits", "circuit_bytes"],
        }
    }
}

impl Config {
    /// Builds the behaviour for the swarm, the handle for everybody else, and the transport that dials and listens
    /// through relays, which the swarm has to use too. `allow` says whom it
    /// relays for.
    ///
    /// With `upnp` it has to be called within a tokio runtime.
    ///
    /// # Errors
    /// When a key makes no sense.
    pub fn build(&self, local: PeerId, allow: &List) -> Result<(Behaviour, Handle, Transport), BuildError> {
        if let Some(mistake) = self.mistakes().into_iter().next() {
            return Err(mistake);
        }
        let relays = self.relays.iter().filter_map(parse);
        // One list of relays is written for all nodes, and so has each relay in it.
        let relays = relays.filter(|(relay, _)| *relay != local);
        let (transport, client) = relay::client::new(local);
        let server = self.relay_server.then(|| {
            let mut server = relay::Behaviour::new(local, self.relay_limits.config(allow));
            // Whoever is configured to relay can be reached by those who are to use it.
            server.set_status(Some(relay::Status::Enable));
            server
        });
        let inner = Inner {
            places: Onlooking::new(Places::new(relays)),
            paths: Onlooking::new(Paths::default()),
            client,
            server: server.into(),
            prober: Prober::new(self.autonat_interval.get()),
            checker: self.autonat_server.then(Checker::default).into(),
            punch: self.hole_punching.then(|| dcutr::Behaviour::new(local)).into(),
            upnp: self.upnp.then(upnp::tokio::Behaviour::default).into(),
        };
        let (behaviour, mailbox) = Behaviour::new(inner, Nat::new(self), MAILBOX);
        Ok((behaviour, Handle::new(mailbox), transport))
    }

    /// Finds every mistake that [`build`](Self::build) would stop at.
    pub fn mistakes(&self) -> Vec<BuildError> {
        let anonymous = self.relays.iter().filter(|address| parse(address).is_none());
        let mut mistakes: Vec<_> = anonymous.cloned().map(BuildError::Anonymous).collect();
        if self.relays.len() > MAX_RELAYS {
            mistakes.push(BuildError::TooMany(self.relays.len()));
        }
        let limits = &self.relay_limits;
        for (key, time) in [
            ("reservation_time", limits.reservation_time),
            ("circuit_time", limits.circuit_time),
        ] {
            // The protocol counts seconds in 32 bits.
            if !(1..=u64::from(u32::MAX)).contains(&time.get().as_secs()) {
                mistakes.push(BuildError::Time(key));
            }
        }
        if self.autonat_interval < Duration::from_secs(1) {
            mistakes.push(BuildError::Interval);
        }
        if limits.circuit_bytes < LEAST_BYTES {
            mistakes.push(BuildError::Bytes);
        }
        mistakes
    }
}

impl RelayLimits {
    /// Every setting is made here, whatever its default, so that an upgrade changes none unseen.
    fn config(&self, allow: &List) -> relay::Config {
        let mut config = relay::Config {
            max_reservations: self.reservations,
            max_reservations_per_peer: 4,
            reservation_duration: self.reservation_time.get(),
            reservation_rate_limiters: Vec::new(),
            // libp2p lets a peer have one more than it is told, so none at all for any peer has to be none for all.
            max_circuits: if self.circuits_per_peer == 0 {
                0
            } else {
                self.circuits
            },
            max_circuits_per_peer: self.circuits_per_peer.saturating_sub(1),
            max_circuit_duration: self.circuit_time.get(),
            max_circuit_bytes: self.circuit_bytes.get(),
            circuit_src_rate_limiters: Vec::new(),
        };
        // Asked before the others, so that who is denied spends nothing of what is for those who are not.
        let reserve = lets_in(allow.clone(), Action::Reserve, "a place at this relay");
        config.reservation_rate_limiters.push(Box::new(reserve));
        let connect = lets_in(allow.clone(), Action::Circuit, "a connection through this relay");
        config.circuit_src_rate_limiters.push(Box::new(connect));
        config
            .reservation_rate_per_peer(PER_PEER.0, PER_PEER.1)
            .reservation_rate_per_ip(PER_ADDRESS.0, PER_ADDRESS.1)
            .circuit_src_per_peer(PER_PEER.0, PER_PEER.1)
            .circuit_src_per_ip(PER_ADDRESS.0, PER_ADDRESS.1)
    }
}

/// The only question that the relay's behaviour puts for each request is one about rates.
fn lets_in(
    allow: List,
    action: Action,
    what: &'static str,
) -> impl FnMut(PeerId, &Multiaddr, Instant) -> bool + Send {
    move |peer, _, _| allow.admits(action, &peer, &what, SystemTime::now())
}

/// Who a relay is, and where, without its id.
fn parse(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut address = address.clone();
    let Some(Protocol::P2p(peer)) = address.pop() else {
        return None;
    };
    let is_plain = |part: Protocol<'_>| !matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit);
    (!address.is_empty() && address.iter().all(is_plain)).then_some((peer, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_has_to_be_named_with_its_id() {
        let peer = PeerId::random();
        let named: Multiaddr = format!("/dns4/relay.example/udp/4011/quic-v1/p2p/{peer}")
            .parse()
            .unwrap();
        let circuit: Multiaddr = format!("{named}/p2p-circuit").parse().unwrap();
        let twice = circuit.clone().with(Protocol::P2p(PeerId::random()));
        let anonymous: Multiaddr = "/ip4/192.0.2.1/tcp/4011".parse().unwrap();
        let mistakes = |relays: Vec<Multiaddr>| {
            let config = Config {
                relays,
                ..Config::default()
            };
            config.mistakes()
        };
        assert_eq!(mistakes(vec![named.clone()]), []);
        for wrong in [circuit, twice, anonymous] {
            assert_eq!(mistakes(vec![wrong.clone()]), [BuildError::Anonymous(wrong)]);
        }
        assert_eq!(mistakes(vec![named; 9]), [BuildError::TooMany(9)]);
    }

    #[test]
    fn a_time_that_the_protocol_cannot_say_is_a_mistake() {
        let mut config = Config::default();
        config.relay_limits.circuit_time = Duration::from_secs(u64::from(u32::MAX) + 1);
        config.relay_limits.reservation_time = Duration::from_secs(0);
        let expected = ["reservation_time", "circuit_time"].map(BuildError::Time);
        assert_eq!(config.mistakes(), expected);
        let mut config = Config::default();
        config.relay_limits.circuit_bytes = Size::kib(0);
        assert_eq!(config.mistakes(), [BuildError::Bytes]);
    }
}
