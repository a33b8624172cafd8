//! Peers connected.
use std::{collections::HashMap, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{BlockedPeer, NewPeer, Path as Reached, Peer, PeerDetails, Ping, Problem};
use cardume_connect::{Path as Way, PeerInfo};
use cardume_transfer::Traffic;
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared};
use crate::{
    extract::{Json as Body, Path, peer_of},
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, connect))
        .routes(routes!(show, disconnect))
        .routes(routes!(ping))
        .routes(routes!(blocked))
        .routes(routes!(block, unblock))
}

/// Peers connected.
#[utoipa::path(get, path = "/v1/peers", operation_id = "list_peers", tag = "peers", responses((status = 200, body = Vec<Peer>)))]
async fn list(State(state): State<Shared>) -> Result<Json<Vec<Peer>>> {
    state.peers().await.map(Json)
}

impl Parts {
    pub(super) async fn peers(&self) -> Result<Vec<Peer>> {
        let traffic: HashMap<_, _> = self.handles.transfer.traffic().into_iter().collect();
        let names = self.handles.roll.names();
        let peers = self.handles.connect.peers().await?.into_iter().map(|info| {
            let traffic = traffic.get(&info.peer).copied().unwrap_or_default();
            let name = names.name(&info.peer).map(str::to_owned);
            peer(info, name, traffic)
        });
        Ok(peers.collect())
    }

    /// The peer that a caller means: by its id, or the name that configuration gives it.
    fn peer(&self, text: &str) -> Result<PeerId> {
        if let Ok(peer) = text.parse() {
            return Ok(peer);
        }
        let found = self.handles.roll.names().peer(text);
        found.ok_or_else(|| {
            Refused::usage(format!(
                "{text:?} is neither a peer id nor the name of a [peer.NAME] in the configuration"
            ))
        })
    }
}

fn peer(info: PeerInfo, name: Option<String>, traffic: Traffic) -> Peer {
    Peer {
        peer_id: info.peer.to_string(),
        name,
        path: reached(info.path),
        punched: info.path == Way::Punched,
        transport: transport(&info.address).to_owned(),
        address: info.address,
        agent: info.agent,
        rtt_ms: info.rtt.map(milliseconds),
        sent: traffic.sent,
        received: traffic.received,
        outbound: info.outbound,
        connected_s: info.connected_for.as_secs(),
    }
}

/// A way, as the API words it.
pub(crate) const fn reached(path: Way) -> Reached {
    match path {
        Way::Relayed => Reached::Relayed,
        Way::Direct | Way::Punched => Reached::Direct,
    }
}

/// With three digits behind the point.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// What carries a connection: the last that the address names before any relay.
pub(super) fn transport(address: &Multiaddr) -> &'static str {
    let is_encrypted = address.iter().any(|part| part == Protocol::Tls);
    address
        .iter()
        .take_while(|part| *part != Protocol::P2pCircuit)
        .filter_map(|part| match part {
            Protocol::Tcp(_) => Some("tcp"),
            Protocol::QuicV1 | Protocol::Quic => Some("quic"),
            Protocol::Ws(_) if is_encrypted => Some("wss"),
            Protocol::Ws(_) => Some("ws"),
            Protocol::Wss(_) => Some("wss"),
            Protocol::Memory(_) => Some("memory"),
            _ => None,
        })
        .last()
        .unwrap_or("other")
}

/// Connects to a peer, and tells of it when it is connected.
#[utoipa::path(
    post, path = "/v1/peers", tag = "peers", request_body = NewPeer,
    responses((status = 200, body = Peer), (status = 403, body = Problem), (status = 404, body = Problem))
)]
async fn connect(State(state): State<Shared>, Body(new): Body<NewPeer>) -> Result<Json<Peer>> {
    let id = match peer_of(&new.address) {
        Some(id) => {
            let somewhere = new.address.iter().count() > 1;
            let addresses = somewhere.then_some(new.address).into_iter().collect();
            state.handles.connect.connect(id, addresses).await?;
            id
        }
        None => state.handles.connect.dial(new.address).await?,
    };
    let connected = state
        .peers()
        .await?
        .into_iter()
        .find(|peer| peer.peer_id == id.to_string());
    let gone = || Refused::not_found(format!("{id} was connected, and closed the connection at once"));
    connected.map(Json).ok_or_else(gone)
}

/// What is known of a peer, by its id or its name in the configuration.
#[utoipa::path(
    get, path = "/v1/peers/{peer}", operation_id = "show_peer", tag = "peers", params(("peer" = String, Path)),
    responses((status = 200, body = PeerDetails), (status = 404, body = Problem))
)]
async fn show(State(state): State<Shared>, Path(peer): Path<String>) -> Result<Json<PeerDetails>> {
    let id = state.peer(&peer)?;
    let info = state
        .handles
        .connect
        .peers()
        .await?
        .into_iter()
        .find(|info| info.peer == id);
    let details = PeerDetails {
        peer_id: id.to_string(),
        name: state.handles.roll.names().name(&id).map(str::to_owned),
        blocked: state.handles.connect.is_blocked(&id),
        connections: info.as_ref().map_or(0, |info| info.connections),
        protocols: info
            .as_ref()
            .map(|info| info.protocols.clone())
            .unwrap_or_default(),
        connection: state
            .peers()
            .await?
            .into_iter()
            .find(|peer| peer.peer_id == id.to_string()),
        addresses: state.handles.connect.addresses_of(id).await?,
        traffic: super::traffic::with(&state.handles.traffic.with(&id)),
    };
    let known = details.name.is_some()
        || details.blocked
        || details.connection.is_some()
        || !details.addresses.is_empty();
    match known {
        true => Ok(Json(details)),
        false => Err(Refused::not_found(format!("nothing is known of {id}"))),
    }
}

/// Asks a peer for an answer, and tells how long it took; connects first, if need be.
#[utoipa::path(
    post, path = "/v1/peers/{peer}/ping", operation_id = "ping_peer", tag = "peers", params(("peer" = String, Path)),
    responses((status = 200, body = Ping), (status = 403, body = Problem), (status = 404, body = Problem))
)]
async fn ping(State(state): State<Shared>, Path(peer): Path<String>) -> Result<Json<Ping>> {
    let id = state.peer(&peer)?;
    let took = state.handles.connect.ping(id).await?;
    Ok(Json(Ping {
        peer_id: id.to_string(),
        rtt_ms: milliseconds(took),
    }))
}

/// The peers that this node refuses: those that were blocked, then those it refuses of its own accord.
#[utoipa::path(get, path = "/v1/blocked", operation_id = "list_blocked", tag = "peers", responses((status = 200, body = Vec<BlockedPeer>)))]
async fn blocked(State(state): State<Shared>) -> Json<Vec<BlockedPeer>> {
    let names = state.handles.roll.names();
    let named = |id: PeerId, until_restart| BlockedPeer {
        peer_id: id.to_string(),
        name: names.name(&id).map(str::to_owned),
        until_restart,
    };
    let blocked = state.handles.connect.blocked();
    let refused = state
        .handles
        .connect
        .refused()
        .into_iter()
        .filter(|id| !blocked.contains(id));
    let refused: Vec<_> = refused.map(|id| named(id, true)).collect();
    Json(
        blocked
            .iter()
            .map(|id| named(*id, false))
            .chain(refused)
            .collect(),
    )
}

/// Cuts a peer off and refuses it from now on, after a restart too.
#[utoipa::path(
    put, path = "/v1/blocked/{peer}", operation_id = "block_peer", tag = "peers", params(("peer" = String, Path)),
    responses(
        (status = 204, description = "It is blocked."), (status = 400, description = "It is this node.", body = Problem),
        (status = 429, body = Problem)
    )
)]
async fn block(State(state): State<Shared>, Path(peer): Path<String>) -> Result<StatusCode> {
    let id = state.peer(&peer)?;
    if id == state.node.peer_id {
        return Err(Refused::usage(format!("{id} is this node itself")));
    }
    state.handles.connect.block(id).await?;
    tracing::info!(peer = %id, "blocked");
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a peer no longer.
#[utoipa::path(
    delete, path = "/v1/blocked/{peer}", operation_id = "unblock_peer", tag = "peers", params(("peer" = String, Path)),
    responses((status = 204, description = "It may connect."), (status = 404, body = Problem))
)]
async fn unblock(State(state): State<Shared>, Path(peer): Path<String>) -> Result<StatusCode> {
    let id = state.peer(&peer)?;
    if state.handles.connect.unblock(id).await? {
        tracing::info!(peer = %id, "unblocked");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refused::not_found(format!("{id} is not blocked")))
}

/// Closes all connections to a peer.
#[utoipa::path(
    delete, path = "/v1/peers/{peer}", tag = "peers", params(("peer" = String, Path)),
    responses((status = 204, description = "They are closed."), (status = 404, body = Problem))
)]
async fn disconnect(State(state): State<Shared>, Path(peer): Path<String>) -> Result<StatusCode> {
    let peer = state.peer(&peer)?;
    if state.handles.connect.disconnect(peer).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refused::not_found(format!("{peer} is not connected")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_what_carries_the_connection() {
        let table = [
            ("/ip4/192.0.2.1/tcp/1", "tcp"),
            ("/ip4/192.0.2.1/udp/1/quic-v1", "quic"),
            ("/ip4/192.0.2.1/tcp/1/ws", "ws"),
            ("/dns/example.org/tcp/443/tls/ws", "wss"),
            ("/dns/example.org/tcp/443/wss", "wss"),
            ("/memory/1", "memory"),
            (
                "/ip4/192.0.2.1/udp/1/quic-v1/p2p-circuit/ip4/192.0.2.2/tcp/1",
                "quic",
            ),
            ("/dns4/example.org", "other"),
        ];
        for (address, expected) in table {
            assert_eq!(transport(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
