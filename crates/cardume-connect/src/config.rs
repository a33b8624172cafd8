//! What an operator can set, and how it becomes a behaviour.
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use cardume_behaviour::{Driven, Onlooking};
use libp2p_allow_block_list::{self as block_list, BlockedPeers};
use libp2p_connection_limits::{self as connection_limits, ConnectionLimits};
use libp2p_identity::{Keypair, PeerId};
use libp2p_ping as ping;
use multiaddr::Multiaddr;

use crate::{
    Behaviour, Handle, Server,
    announce::Announce,
    blocked::Blocked,
    book::{
        self,
        reader::{Reader, Shared},
    },
    driver::{Driver, Inner},
    identify, keep,
    limits::Limits,
    memory::Memory,
    pending::Pending,
};

/// Commands that wait for the swarm; more callers than these wait for room.
const MAILBOX: usize = 256;

/// How often a connection is pinged; after three pings in a row without an answer it is closed. The transport closes it
/// sooner if nothing at all comes for ten seconds after that.
const PING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);
/// How long a peer may take to answer a ping.
const PING_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// `[connect]`: whom to connect to, and how many connections to have.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Multiaddrs with `/p2p/<peer>` to join the network at.
    #[schemars(with = "Vec<String>")]
    pub bootstrap: Vec<Multiaddr>,
    /// Connections in all.
    pub max_connections: u32,
    /// Connections that others made to us.
    pub max_inbound: u32,
    /// Connections that we made.
    pub max_outbound: u32,
    /// Inbound connections that have not proven who they are yet; one address (IPv4) or /64 (IPv6) has an
    /// eighth of them, and a quarter is kept for addresses of peers that were met or are configured.
    pub max_pending_inbound: u32,
    /// Outbound connections that are being made.
    pub max_pending_outbound: u32,
    /// Connections with one peer.
    pub max_per_peer: u32,
    /// Inbound connections from one address (IPv4) or /56 (IPv6); exempt are private and loopback
    /// addresses, and those in the /24 (IPv4) or /64 (IPv6) of an address that this node listens on.
    pub max_per_address: u32,
    /// Time after which a connection that nobody uses is closed, once a quarter of `max_connections` is
    /// in use; with fewer, idle connections stay. Streams of topics are a use.
    pub idle_timeout: cardume_units::Duration,
    /// Time for a connection to be made, with all its handshakes.
    pub dial_timeout: cardume_units::Duration,
    /// Time for an inbound connection to be through all its handshakes, which take three or four round
    /// trips; until then it holds one of `max_pending_inbound` places.
    pub accept_timeout: cardume_units::Duration,
    /// Memory of the process, without files it has mapped, above which new connections are refused.
    pub memory_ceiling: cardume_units::Size,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: vec![],
            max_connections: 384,
            max_inbound: 256,
            max_outbound: 128,
            max_pending_inbound: 64,
            max_pending_outbound: 64,
            max_per_peer: 4,
            max_per_address: 8,
            idle_timeout: cardume_units::Duration::from_secs(60),
            dial_timeout: cardume_units::Duration::from_secs(10),
            accept_timeout: cardume_units::Duration::from_secs(5),
            memory_ceiling: cardume_units::Size::mib(1024),
        }
    }
}

/// `[peer.NAME]`: a peer that configuration names.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Who it is.
    #[schemars(with = "String")]
    #[serde(with = "peer_id_text")]
    pub id: PeerId,
    /// Where it is, besides what the network says.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub addresses: Vec<Multiaddr>,
    /// Stay connected: dial again, with back-off, whenever the connection is lost.
    #[serde(default)]
    pub keep: bool,
    /// Names under which rules speak of it together with others.
    #[serde(default)]
    pub groups: Vec<String>,
}

mod peer_id_text {
    use super::PeerId;
    pub(super) fn serialize<S: serde::Serializer>(id: &PeerId, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }
    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<PeerId, D::Error> {
        let s = <String as serde::Deserialize>::deserialize(d)?;
        s.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a configuration makes no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A bootstrap address that does not say who is there.
    #[error(
        "connect.bootstrap: {0} does not end in /p2p/<peer id>; add the id, so that nobody else can answer there"
    )]
    Anonymous(Multiaddr),
    /// An address of a peer that names another one.
    #[error("peer.{name}.addresses: {address} names another peer; correct it or leave /p2p/ out")]
    OtherPeer {
        /// What configuration calls the peer.
        name: String,
        /// The address.
        address: Multiaddr,
    },
    /// The node itself, named as a peer.
    #[error("{0} is this node itself; leave it out")]
    Myself(String),
    /// The list of blocked peers cannot be read.
    #[error("the list of blocked peers: {0}")]
    Blocked(String),
}

impl Config {
    /// Builds the behaviour for the swarm, the handle for everybody else, and the server that keeps the
    /// address book in the file `book`. Blocked peers are kept in the file `blocked` beside it.
    ///
    /// Reads both, once. `network` and `agent` are what peers are told by identify; `announce` are
    /// addresses to tell besides those listened on.
    ///
    /// # Errors
    /// When an address in the configuration contradicts itself, or the list of blocked peers cannot be read; a
    /// damaged address book is no error.
    pub fn build(
        &self,
        key: &Keypair,
        network: &str,
        agent: String,
        peers: &BTreeMap<String, Peer>,
        announce: Vec<Multiaddr>,
        book: PathBuf,
    ) -> Result<(Behaviour, Handle, Server), BuildError> {
        let local = key.public().to_peer_id();
        let named = self.named(local, peers)?;
        let shared = Shared::default();
        shared.lock().restore(book::file::load(&book));
        for (peer, address) in &named.addresses {
            shared.lock().learn(*peer, address, true);
        }
        let seen = shared.lock().seen(0);
        let pending = Pending::new(
            self.max_pending_inbound,
            named.addresses.iter().map(|(_, address)| address),
            seen.iter().flat_map(|peer| &peer.addresses),
        );
        let mut totals = connection_limits::Behaviour::new(self.totals());
        // Strangers never take the place of a peer that the operator knows.
        named.known.iter().for_each(|peer| totals.bypass_peer_id(peer));
        let blocked = Blocked::load(book.with_file_name("blocked")).map_err(BuildError::Blocked)?;
        let streams = libp2p_stream::Behaviour::new();
        let control = streams.new_control();
        let inner = Inner {
            sources: Onlooking::new(Limits::new(self.max_per_address)),
            pending: Onlooking::new(pending),
            totals,
            memory: Onlooking::new(Memory::new(self.memory_ceiling.get())),
            blocked: refuse(&blocked),
            identify: identify::Scoped::new(&key.public(), network, &agent),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(PING_INTERVAL)
                    .with_timeout(PING_TIMEOUT),
            ),
            announce: Onlooking::new(Announce::new(&announce)),
            book: Onlooking::new(Reader::new(shared.clone())),
            keep: keep::Behaviour::new(&named.keep, &named.bootstrap, self.idle_connections()),
            orders: Onlooking::default(),
            streams,
        };
        let (driver, events) = Driver::new(local, named.known);
        let (behaviour, mailbox) = Driven::new(inner, driver, MAILBOX);
        let handle = Handle::new(local, mailbox, events, Arc::new(blocked), control);
        Ok((behaviour, handle, Server::new(shared, book)))
    }

    pub(crate) fn totals(&self) -> ConnectionLimits {
        ConnectionLimits::default()
            .with_max_pending_outgoing(Some(self.max_pending_outbound))
            .with_max_established_incoming(Some(self.max_inbound))
            .with_max_established_outgoing(Some(self.max_outbound))
            .with_max_established(Some(self.max_connections))
            .with_max_established_per_peer(Some(self.max_per_peer))
    }

    /// Connections up to which idle ones stay open.
    pub(crate) fn idle_connections(&self) -> usize {
        self.max_connections as usize / 4
    }
}

fn refuse(blocked: &Blocked) -> block_list::Behaviour<BlockedPeers> {
    let mut behaviour = block_list::Behaviour::default();
    for peer in blocked.all() {
        behaviour.block_peer(peer);
    }
    behaviour
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(config: &Config, key: &Keypair, peers: &BTreeMap<String, Peer>) -> Result<(), BuildError> {
        let directory = tempfile::tempdir().unwrap();
        let book = directory.path().join("peers");
        config
            .build(key, "test", "cardume/test".into(), peers, vec![], book)
            .map(|_| ())
    }

    #[tokio::test]
    async fn a_bootstrap_address_has_to_say_who_is_there() {
        let key = Keypair::generate_ed25519();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/4011".parse().unwrap();
        let mut config = Config {
            bootstrap: vec![address.clone()],
            ..Config::default()
        };
        let error = build(&config, &key, &BTreeMap::new()).unwrap_err();
        assert_eq!(error, BuildError::Anonymous(address.clone()));
        assert_eq!(config.check(&BTreeMap::new()), [error]);

        config.bootstrap = vec![
            address.clone().with_p2p(PeerId::random()).unwrap(),
            address.with_p2p(key.public().to_peer_id()).unwrap(),
        ];
        build(&config, &key, &BTreeMap::new()).unwrap();
        let named = config.named(key.public().to_peer_id(), &BTreeMap::new()).unwrap();
        assert_eq!(named.bootstrap.len(), 1, "a bootstrap peer does not dial itself");
    }

    #[tokio::test]
    async fn a_peer_with_the_address_of_another_is_refused() {
        let key = Keypair::generate_ed25519();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/4011".parse().unwrap();
        let mut peer = Peer {
            id: PeerId::random(),
            addresses: vec![address.with_p2p(PeerId::random()).unwrap()],
            keep: true,
            groups: vec![],
        };
        let named = |peer: &Peer| BTreeMap::from([("nas".to_owned(), peer.clone())]);
        let error = build(&Config::default(), &key, &named(&peer)).unwrap_err();
        assert!(matches!(error, BuildError::OtherPeer { .. }));

        peer.addresses.clear();
        peer.id = key.public().to_peer_id();
        let error = build(&Config::default(), &key, &named(&peer)).unwrap_err();
        assert_eq!(error, BuildError::Myself("peer.nas".into()));
    }
}
