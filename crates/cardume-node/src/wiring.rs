//! From configuration to parts that know each other: every feature is built here, by name.

use std::{os::unix::net::UnixListener, path::Path, sync::Arc};

use cardume_access::{List, Roll};
use cardume_store::{Mode, Store};
use cardume_transfer::rates;
use futures::FutureExt as _;
use libp2p::{PeerId, identity::Keypair};
use redb::Database;

use crate::{Config, StartError, behaviour::Behaviour, identity, topics, tunnels};

/// The networking features of one node: the behaviour for the swarm, the handles for the rest of the node,
/// and the servers that touch disk.
pub(crate) struct Wired {
    pub(crate) roll: Roll,
    /// Whom this node relays for.
    pub(crate) relay_allow: List,
    /// For whom the DHT keeps something here.
    pub(crate) kad_allow: List,
    pub(crate) behaviour: Behaviour,
    pub(crate) gate: cardume_membership::Gate,
    pub(crate) membership: cardume_membership::Handle,
    pub(crate) membership_server: Option<cardume_membership::Server>,
    pub(crate) connect: cardume_connect::Handle,
    pub(crate) connect_server: cardume_connect::Server,
    pub(crate) nat: cardume_nat::Handle,
    pub(crate) relays: cardume_nat::Transport,
    pub(crate) rendezvous: cardume_rendezvous::Handle,
    pub(crate) kad: cardume_kad::Handle,
    pub(crate) kad_server: Option<cardume_kad::Server>,
    pub(crate) gossipsub: cardume_gossipsub::Handle,
    pub(crate) gossipsub_server: Option<cardume_gossipsub::Server>,
    pub(crate) transport: cardume_transport::Options,
    pub(crate) channels: cardume_channel::Handle,
    pub(crate) channel_server: cardume_channel::Server,
    pub(crate) transfer: cardume_transfer::Handle,
    pub(crate) transfer_server: cardume_transfer::Server,
    pub(crate) tunnels: cardume_tunnel::Handle,
    pub(crate) tunnel_server: cardume_tunnel::Server,
    pub(crate) origin: cardume_origin::Handle,
    pub(crate) origin_server: cardume_origin::Server,
    pub(crate) rates: rates::Handle,
    pub(crate) rates_server: rates::Server,
}

/// Builds every feature that `config` switches on. Reads the address book and the DHT's records: it blocks.
pub(crate) fn wire(
    config: &Config,
    key: &Keypair,
    database: &Arc<Database>,
    home: &Path,
) -> Result<Wired, StartError> {
    let network = config.network.id.as_str();
    let local = key.public().to_peer_id();
    let agent = format!("cardume/{}", env!("CARGO_PKG_VERSION"));

    let roll = Roll::new(config.check()?);
    let (connect_behaviour, connect, connect_server) = config
        .connect
        .build(
            key,
            network,
            agent,
            &config.peer,
            config.listen.announce.clone(),
            home.join("peers"),
        )
        .map_err(|error| StartError::Config {
            key: "connect",
            reason: error.to_string(),
        })?;
    let built = config
        .network
        .build(local, roll.clone(), home.join("revocations"));
    let (gate, members, membership, membership_server) = built.map_err(bad_membership)?;
    let mdns = config.mdns.enabled.then(|| config.mdns.build(local)).transpose().unwrap_or_else(|error| {
        tracing::warn!(%error, "no multicast on this host; peers on the local network are not found by themselves");
        None
    });
    let relay_allow = List::new(roll.clone(), config.nat.relay_limits.allow.as_deref());
    let kad_allow = List::new(roll.clone(), config.kad.allow.as_deref());
    let built = config
        .nat
        .build(local, &relay_allow)
        .map_err(|error| StartError::Config {
            key: "nat",
            reason: error.to_string(),
        });
    let (nat_behaviour, nat, relays) = built?;
    let (rendezvous_behaviour, rendezvous) = rendezvous(config, key)?;
    let counts = cardume_channel::Counts::default();
    let (kad_behaviour, kad, kad_server) = if config.kad.enabled {
        let judge = Arc::new(cardume_channel::Judge::new(counts.clone()));
        let built = config
            .kad
            .build(local, network, database.clone(), kad_allow.clone(), judge);
        let (behaviour, handle, server) = built.map_err(|error| StartError::Config {
            key: "kad",
            reason: error.to_string(),
        })?;
        (Some(behaviour), handle, Some(server))
    } else {
        (None, cardume_kad::Handle::closed(), None)
    };
    let (gossipsub_behaviour, gossipsub, gossipsub_server) = topics::gossipsub(config, key, &roll)?;
    let (channels, channel_server) =
        channels(config, database, home, kad.clone(), gossipsub.clone(), counts)?;
    let (rates, rates_server) = config.rates.build();
    let (transfer_behaviour, transfer, transfer_server) = config.transfer.build(network, rates.clone());
    let (tunnel_behaviour, tunnels, tunnel_server) =
        tunnels::build(config, roll.clone(), connect.clone(), kad.clone());
    let pacing = rates.clone();
    let pace: cardume_origin::Pace = Arc::new(move |bytes| {
        let rates = pacing.clone();
        async move { rates.admit(bytes).await }.boxed()
    });
    let (origin, origin_server) = config
        .origin
        .build(format!("cardume/{}", env!("CARGO_PKG_VERSION")), pace)
        .map_err(bad_authorities)?;

    let transport = transport(config)?;
    let behaviour = Behaviour {
        connect: connect_behaviour,
        membership: members.into(),
        mdns: mdns.into(),
        nat: nat_behaviour,
        rendezvous: rendezvous_behaviour.into(),
        kad: kad_behaviour.into(),
        gossipsub: gossipsub_behaviour.into(),
        transfer: transfer_behaviour,
        tunnel: tunnel_behaviour,
    };
    Ok(Wired {
        roll,
        relay_allow,
        kad_allow,
        behaviour,
        gate,
        membership,
        membership_server,
        connect,
        connect_server,
        nat,
        relays,
        rendezvous,
        kad,
        kad_server,
        gossipsub,
        gossipsub_server,
        transport,
        channels,
        channel_server,
        transfer,
        transfer_server,
        tunnels,
        tunnel_server,
        origin,
        origin_server,
        rates,
        rates_server,
    })
}

/// Builds rendezvous points, where there are any.
fn rendezvous(
    config: &Config,
    key: &Keypair,
) -> Result<(Option<cardume_rendezvous::Behaviour>, cardume_rendezvous::Handle), StartError> {
    if !config.rendezvous.is_used() {
        return Ok((None, cardume_rendezvous::Handle::closed()));
    }
    let built = config.rendezvous.build(key, &config.network.id);
    let (behaviour, handle) = built.map_err(|error| StartError::Config {
        key: "rendezvous",
        reason: error.to_string(),
    })?;
    Ok((Some(behaviour), handle))
}

/// What configuration says of the transports.
fn transport(config: &Config) -> Result<cardume_transport::Options, StartError> {
    Ok(cardume_transport::Options {
        timeouts: cardume_transport::Timeouts {
            dial: config.connect.dial_timeout.get(),
            accept: config.connect.accept_timeout.get(),
        },
        traffic: cardume_transport::Traffic::new(&config.network.id),
        trust: Some(config.origin.trust().map_err(bad_authorities)?),
        screen: None,
    })
}

/// What is wrong with a node's papers.
pub(crate) fn bad_membership(error: cardume_membership::BuildError) -> StartError {
    StartError::Config {
        key: error.key(),
        reason: format!("{error}; {}", error.remedy()),
    }
}

fn bad_authorities(error: cardume_origin::BuildError) -> StartError {
    StartError::Config {
        key: "origin.ca_file",
        reason: error.to_string(),
    }
}

/// Builds what keeps channels; their keys lie beside the node's own.
fn channels(
    config: &Config,
    database: &Arc<Database>,
    home: &Path,
    kad: cardume_kad::Handle,
    topics: cardume_gossipsub::Handle,
    counts: cardume_channel::Counts,
) -> Result<(cardume_channel::Handle, cardume_channel::Server), StartError> {
    let files = cardume_channel::KeyFiles {
        load: |path| identity::load(path).map_err(|error| error.to_string()),
        create: |path| identity::create(path).map_err(|error| error.to_string()),
    };
    let (directory, database) = (home.join("channels"), database.clone());
    let follows = config.follows();
    let built = cardume_channel::build(
        &config.publish,
        &follows,
        &directory,
        files,
        database,
        kad,
        topics,
        counts,
    );
    built.map_err(|error| StartError::Config {
        key: "publish",
        reason: error.to_string(),
    })
}

/// Builds what keeps `[share.*]` and `[publish.*]` shared; roots come and go on the DHT as they do on the disk.
pub(crate) fn shares(
    config: &Config,
    store: &Store,
    database: &Arc<Database>,
    exchange: cardume_exchange::Handle,
) -> (cardume_share::Handle, cardume_share::Server) {
    let mode = if config.store.in_place {
        Mode::InPlace
    } else {
        Mode::Copy
    };
    let tell = move |cid, announced| match announced {
        true => exchange.announce(cid),
        false => exchange.withdraw(cid),
    };
    let (store, database) = (store.clone(), database.clone());
    cardume_share::Server::new(config.shares(), store, mode, database, Box::new(tell))
}

/// Builds the control API's server and its socket.
pub(crate) fn control(
    config: &Config,
    peer: PeerId,
    home: &Path,
    inherited: Option<UnixListener>,
    handles: cardume_control::Handles,
) -> Result<cardume_control::Server, StartError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = cardume_control::NodeInfo {
        peer_id: peer,
        name: config.node.name.clone().unwrap_or(host),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data_dir: home.to_owned(),
        network: config.network.id.clone(),
        in_place: config.store.in_place,
    };
    let path = home.join("cardume.sock");
    Ok(config
        .control
        .build(path, inherited, &config.metrics, node, handles)?)
}
