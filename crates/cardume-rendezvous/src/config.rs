//! The keys of `[rendezvous]`, and building from them.
use std::{iter, time::Instant};

use cardume_behaviour::Onlooking;
use cardume_units::Duration;
use libp2p_identity::{Keypair, PeerId};
use libp2p_request_response::{self as request_response, ProtocolSupport};
use multiaddr::{Multiaddr, Protocol};

use crate::{
    Behaviour, Handle,
    driver::Rendezvous,
    found::Found,
    inner::{Inner, Orders},
    points::Points,
    registry::Registry,
    wire::{self, Codec},
};

/// Commands that may wait for the swarm's task before their callers do.
const MAILBOX: usize = 16;
/// Points that are of use: each is a connection that is kept busy.
const MAX_POINTS: usize = 8;
/// Streams of one connection at once; a client needs one.
const MAX_STREAMS: usize = 4;
/// Time for one request.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Asking more often would be noise at the point.
const SHORTEST_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// The specification's bounds for how long a registration lasts; a point may grant less.
const TTL: std::ops::RangeInclusive<u64> = 60..=72 * 3600;

/// `[rendezvous]`: points where peers of the network register and find each other.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Points to register at and to ask, each address ending in `/p2p/<peer>`; at most eight.
    #[schemars(with = "Vec<String>")]
    pub points: Vec<Multiaddr>,
    /// Time between two rounds of registering and asking.
    pub interval: Duration,
    /// How long a registration lasts unless it is made again, which each round does.
    pub ttl: Duration,
    /// Connect to this many of the peers found there.
    pub max_connections: usize,
    /// Be a point for others.
    pub server: bool,
    /// What a point keeps at most.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            interval: Duration::from_secs(300),
            ttl: Duration::from_secs(2 * 3600),
            max_connections: 32,
            server: false,
            limits: Limits::default(),
        }
    }
}

/// `[rendezvous.limits]`: what a point keeps at most.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Registrations of all peers.
    pub registrations: usize,
    /// … of one peer, each in a namespace of its own.
    pub per_peer: usize,
    /// … of all peers at one IPv4 address or in one IPv6 /56.
    pub per_address: usize,
    /// How long one lasts, however long the peer asks for.
    pub ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            registrations: 4096,
            per_peer: 4,
            per_address: 64,
            ttl: Duration::from_secs(72 * 3600),
        }
    }
}

/// Why a configuration makes no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address of a point that does not say who is there.
    #[error("rendezvous.points: {0} does not end in /p2p/<peer id>; add the id of the point")]
    Anonymous(Multiaddr),
    /// More points than are of use.
    #[error("rendezvous.points has {0} points; 8 are enough")]
    TooMany(usize),
    /// A time that no point grants.
    #[error("rendezvous.{0} is to be from 1m to 72h")]
    Time(&'static str),
}

impl BuildError {
    /// The key that is to be changed.
    pub fn path(&self) -> Vec<&'static str> {
        match self {
            Self::Anonymous(_) | Self::TooMany(_) => vec!["rendezvous", "points"],
            Self::Time(key) => iter::once("rendezvous").chain(key.split('.')).collect(),
        }
    }
}

impl Config {
    /// Whether there is anything to do: a point to ask, or to be one.
    pub fn is_used(&self) -> bool {
        self.server || !self.points.is_empty()
    }

    /// Builds the behaviour for the swarm and the handle for everybody else; registrations are in the namespace of
    /// `network`, signed by `key`.
    ///
    /// # Errors
    /// When a key makes no sense.
    pub fn build(&self, key: &Keypair, network: &str) -> Result<(Behaviour, Handle), BuildError> {
        if let Some(mistake) = self.mistakes().into_iter().next() {
            return Err(mistake);
        }
        let local = key.public().to_peer_id();
        let points = self.points.iter().filter_map(parse);
        // One list of points is written for all nodes, and so has each point in it.
        let points = points.filter(|(point, _)| *point != local);
        let support = if self.server {
            ProtocolSupport::Full
        } else {
            ProtocolSupport::Outbound
        };
        let requests = request_response::Behaviour::with_codec(
            Codec,
            [(wire::PROTOCOL, support)],
            request_response::Config::default()
                .with_request_timeout(TIMEOUT)
                .with_max_concurrent_streams(MAX_STREAMS),
        );
        let inner = Inner {
            requests,
            orders: Onlooking::new(Orders::default()),
        };
        let interval = self.interval.get().max(SHORTEST_INTERVAL);
        let driver = Rendezvous::new(
            key.clone(),
            format!("cardume/{network}"),
            self.ttl.get().as_secs(),
            Points::new(points, interval, Instant::now()),
            Found::new(local, self.max_connections),
            self.server.then(|| Registry::new(self.limits.clone())),
        );
        let (behaviour, mailbox) = Behaviour::new(inner, driver, MAILBOX);
        Ok((behaviour, Handle::new(mailbox)))
    }

    /// Finds every mistake that [`build`](Self::build) would stop at.
    pub fn mistakes(&self) -> Vec<BuildError> {
        let anonymous = self.points.iter().filter(|address| parse(address).is_none());
        let mut mistakes: Vec<_> = anonymous.cloned().map(BuildError::Anonymous).collect();
        if self.points.len() > MAX_POINTS {
            mistakes.push(BuildError::TooMany(self.points.len()));
        }
        for (key, time) in [("ttl", self.ttl), ("limits.ttl", self.limits.ttl)] {
            if !TTL.contains(&time.get().as_secs()) {
                mistakes.push(BuildError::Time(key));
            }
        }
        mistakes
    }
}

/// Who a point is, and where, without its id.
fn parse(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut address = address.clone();
    let Some(Protocol::P2p(peer)) = address.pop() else {
        return None;
    };
    (!address.is_empty()).then_some((peer, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_keys() {
        let anonymous: Multiaddr = "/ip4/192.0.2.1/tcp/4011".parse().unwrap();
        let config = Config {
            points: vec![anonymous.clone(); 9],
            ttl: Duration::from_secs(59),
            limits: Limits {
                ttl: Duration::from_secs(73 * 3600),
                ..Limits::default()
            },
            ..Config::default()
        };
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 12);
        assert_eq!(mistakes[0], BuildError::Anonymous(anonymous));
        assert_eq!(mistakes[9].path(), ["rendezvous", "points"]);
        assert_eq!(mistakes[10].path(), ["rendezvous", "ttl"]);
        assert_eq!(mistakes[11].path(), ["rendezvous", "limits", "ttl"]);
    }

    #[test]
    fn a_point_does_not_ask_itself() {
        let key = Keypair::generate_ed25519();
        let own = format!("/ip4/192.0.2.1/tcp/4011/p2p/{}", key.public().to_peer_id());
        let config = Config {
            points: vec![own.parse().unwrap()],
            ..Config::default()
        };
        assert!(config.is_used() && !Config::default().is_used());
        let (behaviour, _) = config.build(&key, "main").unwrap();
        assert_eq!(behaviour.driver().status().points, []);
    }
}
