//! Tunnels, from configuration to parts that know each other.
use std::sync::Arc;

use cardume_access::{Names, Roll};
use futures::FutureExt as _;
use libp2p::PeerId;

use crate::{Config, StartError};

/// Builds what opens and serves tunnels.
pub(crate) fn build(
    config: &Config,
    roll: Roll,
    connect: cardume_connect::Handle,
    kad: cardume_kad::Handle,
) -> (
    cardume_tunnel::Behaviour,
    cardume_tunnel::Handle,
    cardume_tunnel::Server,
) {
    let dial: cardume_tunnel::Dial = Arc::new(move |peer| {
        let (connect, kad) = (connect.clone(), kad.clone());
        async move { reach(&connect, &kad, peer).await }.boxed()
    });
    cardume_tunnel::build(&config.tunnel, &config.network.id, roll, dial)
}

/// Connects to a peer where it is known to be, or else where the DHT says.
async fn reach(
    connect: &cardume_connect::Handle,
    kad: &cardume_kad::Handle,
    peer: PeerId,
) -> Result<(), String> {
    let Err(error) = connect.connect(peer, Vec::new()).await else {
        return Ok(());
    };
    let found = kad.find_peer(peer).await.unwrap_or_default();
    let addresses = found
        .into_iter()
        .filter(|found| found.peer == peer)
        .flat_map(|found| found.addresses);
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return Err(error.to_string());
    }
    let connected = connect.connect(peer, addresses).await;
    connected.map_err(|error| error.to_string())
}

/// Finds the first mistake in `[tunnel.*]`.
pub(crate) fn check(config: &Config, names: &Names) -> Result<(), StartError> {
    let bad = |name: &str, key: &str, reason: String| StartError::Config {
        key: "tunnel",
        reason: format!("{name}.{key}: {reason}"),
    };
    for (name, tunnel) in &config.tunnel {
        if let Some(mistake) = tunnel.mistakes(name).into_iter().next() {
            return Err(bad(name, mistake.key.unwrap_or("role"), mistake.reason));
        }
        if let Err(error) = names.rules(tunnel.allow.iter().flatten()) {
            return Err(bad(name, "allow", error.to_string()));
        }
        if let Some(peer) = tunnel.peer.as_deref().filter(|peer| !is_peer(names, peer)) {
            return Err(bad(name, "peer", format!("{peer:?} names no peer")));
        }
    }
    Ok(())
}

fn is_peer(names: &Names, word: &str) -> bool {
    names.peer(word).is_some() || word.parse::<PeerId>().is_ok()
}
