//! The distributed hash table.
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use cardume_api::{Kad, Problem, Provider};
use cardume_exchange::provider_key;
use cardume_kad::KadError;
use futures::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{
    extract::{CidPath, Path, PeerPath},
    problem::{Refused, Result},
};

/// Bytes of a record's key.
const MAX_KEY: usize = 256;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(providers, provide))
        .routes(routes!(find_peer))
        .routes(routes!(record, put_record))
}

/// How the node takes part in the DHT.
#[utoipa::path(
    get, path = "/v1/kad", operation_id = "kad_status", tag = "kad",
    responses((status = 200, body = Kad), (status = 503, body = Problem))
)]
async fn status(State(state): State<Shared>) -> Result<Json<Kad>> {
    let status = state.handles.kad.status().await.map_err(KadError::from)?;
    Ok(Json(Kad {
        server: status.server,
        peers: status.peers as u64,
        provided: status.provided as u64,
        records: status.records as u64,
        queries: status.queries as u64,
    }))
}

fn provider(found: cardume_kad::Provider) -> Provider {
    Provider {
        peer_id: found.peer.to_string(),
        addresses: found.addresses,
    }
}

/// Providers of some content as they are found, a JSON document a line; ends with the lookup.
#[utoipa::path(
    get, path = "/v1/kad/providers/{cid}", tag = "kad", params(("cid" = String, Path)),
    responses((status = 200, body = Provider, content_type = "application/x-ndjson"), (status = 503, body = Problem))
)]
async fn providers(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<Response> {
    let found = state
        .handles
        .kad
        .providers(provider_key(cid))
        .await
        .map_err(KadError::from)?;
    let lines = ReceiverStream::new(found).map(|found| {
        let mut line = serde_json::to_vec(&provider(found))?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(line)
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

/// Announces this node as a provider of some content until it stops.
#[utoipa::path(
    put, path = "/v1/kad/providers/{cid}", tag = "kad", params(("cid" = String, Path)),
    responses((status = 204, description = "It is announced."), (status = 503, body = Problem))
)]
async fn provide(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<StatusCode> {
    state.handles.kad.provide(provider_key(cid)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks a peer's addresses up.
#[utoipa::path(
    get, path = "/v1/kad/peers/{peer}", tag = "kad", params(("peer" = String, Path)),
    responses((status = 200, body = Vec<Provider>), (status = 404, body = Problem), (status = 503, body = Problem))
)]
async fn find_peer(State(state): State<Shared>, PeerPath(peer): PeerPath) -> Result<Json<Vec<Provider>>> {
    let found = state.handles.kad.find_peer(peer).await?;
    Ok(Json(found.into_iter().map(provider).collect()))
}

/// Reads a record.
#[utoipa::path(
    get, path = "/v1/kad/records/{key}", tag = "kad", params(("key" = String, Path)),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem), (status = 503, body = Problem)
    )
)]
async fn record(State(state): State<Shared>, Path(key): Path<String>) -> Result<Vec<u8>> {
    Ok(state.handles.kad.get(checked(key)?).await?)
}

/// Writes a record.
#[utoipa::path(
    put, path = "/v1/kad/records/{key}", tag = "kad", params(("key" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "It is written."), (status = 429, body = Problem), (status = 503, body = Problem))
)]
async fn put_record(
    State(state): State<Shared>,
    Path(key): Path<String>,
    value: Bytes,
) -> Result<StatusCode> {
    state.handles.kad.put(checked(key)?, value.to_vec()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(key: String) -> Result<Vec<u8>> {
    if key.len() > MAX_KEY {
        return Err(Refused::usage(format!("the key has more than {MAX_KEY} bytes")));
    }
    Ok(key.into_bytes())
}
