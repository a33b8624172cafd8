//! Peers connected.
use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract, http::StatusCode};
use cardume_api::{NewPeer, Path, Peer, Problem};
use cardume_connect::PeerInfo;
use cardume_transfer::Traffic;
use multiaddr::{Multiaddr, Protocol};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    config::NodeInfo,
    extract::{Json as Body, PeerPath, peer_of},
    problem::{Refused, Result},
};

#[derive(Clone)]
pub(super) struct State {
    pub(super) node: Arc<NodeInfo>,
    pub(super) connect: cardume_connect::Handle,
    pub(super) transfer: cardume_transfer::Handle,
}

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list, connect))
        .routes(routes!(disconnect))
}

/// Peers connected.
#[utoipa::path(get, path = "/v1/peers", operation_id = "list_peers", tag = "peers", responses((status = 200, body = Vec<Peer>)))]
async fn list(extract::State(state): extract::State<State>) -> Result<Json<Vec<Peer>>> {
    state.peers().await.map(Json)
}

impl State {
    async fn peers(&self) -> Result<Vec<Peer>> {
        let traffic: HashMap<_, _> = self.transfer.traffic().into_iter().collect();
        let peers = self.connect.peers().await?.into_iter().map(|info| {
            let traffic = traffic.get(&info.peer).copied().unwrap_or_default();
            let name = self.node.peers.get(&info.peer).cloned();
            peer(info, name, traffic)
        });
        Ok(peers.collect())
    }
}

fn peer(info: PeerInfo, name: Option<String>, traffic: Traffic) -> Peer {
    let relayed = info.address.iter().any(|part| part == Protocol::P2pCircuit);
    Peer {
        peer_id: info.peer.to_string(),
        name,
        path: if relayed { Path::Relayed } else { Path::Direct },
        transport: transport(&info.address).to_owned(),
        address: info.address,
        agent: info.agent,
        rtt_ms: info.rtt.map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
        sent: traffic.sent,
        received: traffic.received,
        outbound: info.outbound,
        connected_s: info.connected_for.as_secs(),
    }
}

/// What carries a connection: the last that the address names before any relay.
fn transport(address: &Multiaddr) -> &'static str {
    address
        .iter()
        .take_while(|part| *part != Protocol::P2pCircuit)
        .filter_map(|part| match part {
            Protocol::Tcp(_) => Some("tcp"),
            Protocol::QuicV1 | Protocol::Quic => Some("quic"),
            Protocol::Ws(_) | Protocol::Wss(_) => Some("websocket"),
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
async fn connect(
    extract::State(state): extract::State<State>,
    Body(new): Body<NewPeer>,
) -> Result<Json<Peer>> {
    let id = match peer_of(&new.address) {
        Some(id) => {
            let somewhere = new.address.iter().count() > 1;
            let addresses = somewhere.then_some(new.address).into_iter().collect();
            state.connect.connect(id, addresses).await?;
            id
        }
        None => state.connect.dial(new.address).await?,
    };
    let connected = state
        .peers()
        .await?
        .into_iter()
        .find(|peer| peer.peer_id == id.to_string());
    let gone = || Refused::not_found(format!("{id} was connected, and closed the connection at once"));
    connected.map(Json).ok_or_else(gone)
}

/// Closes all connections to a peer.
#[utoipa::path(
    delete, path = "/v1/peers/{peer}", tag = "peers", params(("peer" = String, Path)),
    responses((status = 204, description = "They are closed."), (status = 404, body = Problem))
)]
async fn disconnect(
    extract::State(state): extract::State<State>,
    PeerPath(peer): PeerPath,
) -> Result<StatusCode> {
    if state.connect.disconnect(peer).await? {
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
            ("/ip4/192.0.2.1/tcp/1/ws", "websocket"),
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
