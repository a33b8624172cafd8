//! The node itself.

use axum::{Json, extract::State, http::StatusCode};
use cardume_access::Action;
use cardume_api::{Plan, Problem, Share, ShareState, Status, Version};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared};
use crate::{
    Wish,
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(status))
        .routes(routes!(config))
        .routes(routes!(plan))
        .routes(routes!(reload))
        .routes(routes!(stop))
        .routes(routes!(description))
}

impl Parts {
    /// How the node is. A swarm or a store that does not answer shows as a node that is not ready.
    pub(super) async fn status(&self) -> Status {
        let (addresses, peers, usage) = tokio::join!(self.addresses(), self.connected(), self.roots());
        let ready = addresses.as_ref().is_some_and(|known| !known.listen.is_empty()) && usage.is_some();
        let addresses = addresses.unwrap_or_default();
        Status {
            peer_id: self.node.peer_id.to_string(),
            name: self.node.name.clone(),
            version: self.node.version.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            ready,
            listen: addresses.listen,
            external: addresses.external,
            peers: peers.unwrap_or_default(),
            network: self.node.network.clone(),
            membership: super::membership::told(&self.handles.membership),
            roots: usage.unwrap_or_default(),
            shares: self.handles.shares.states().into_iter().map(share).collect(),
            denied: Action::ALL
                .map(|action| (action.name().to_owned(), self.handles.roll.denied(action)))
                .into(),
            operations: self.operations.running() as u64,
            rates: super::rates::told(self.handles.rates.report()),
            store: self.store_status().await,
            fetches: self.handles.wanted.list(),
            follows: self.follows(),
            config: self.handles.configuration.status(),
            data_dir: self.node.data_dir.to_string_lossy().into_owned(),
        }
    }
}

fn share((name, state): (String, cardume_share::State)) -> Share {
    use cardume_share::Phase;
    Share {
        name,
        path: state.path.to_string_lossy().into_owned(),
        cid: state.cid,
        state: match state.phase {
            Phase::Waiting => ShareState::Waiting,
            Phase::Hashing => ShareState::Hashing,
            Phase::Changing => ShareState::Changing,
            Phase::Shared => ShareState::Shared,
            Phase::Failed => ShareState::Failed,
            _ => ShareState::Other,
        },
        files: state.files,
        size: state.size,
        allow: state.allow,
        last_change: state.last_change,
        problem: state.problem,
    }
}

/// Which program answers. Asks no part of the node, so it is answered whatever they do.
#[utoipa::path(get, path = "/v1/version", tag = "node", responses((status = 200, body = Version)))]
async fn version(State(state): State<Shared>) -> Json<Version> {
    Json(Version {
        version: state.node.version.clone(),
    })
}

/// How the node is.
#[utoipa::path(get, path = "/v1/status", tag = "node", responses((status = 200, body = Status)))]
async fn status(State(state): State<Shared>) -> Json<Status> {
    Json(state.status().await)
}

/// The configuration the node runs with.
#[utoipa::path(get, path = "/v1/config", tag = "node", responses((status = 200, body = serde_json::Value)))]
async fn config(State(state): State<Shared>) -> Json<serde_json::Value> {
    Json(state.handles.configuration.value())
}

/// What the configuration files would change now.
#[utoipa::path(
    get, path = "/v1/config/plan", operation_id = "plan_config", tag = "node",
    responses((status = 200, body = Plan), (status = 422, body = Problem))
)]
async fn plan(State(state): State<Shared>) -> Result<Json<Plan>> {
    asked(&state, Wish::Plan).await
}

/// Takes over what the configuration files say, as far as that needs no restart; all of it, or nothing when there is a
/// mistake. For root and the node's own user.
#[utoipa::path(
    post, path = "/v1/config/reload", operation_id = "reload_config", tag = "node",
    responses((status = 200, body = Plan), (status = 403, body = Problem), (status = 422, body = Problem))
)]
async fn reload(State(state): State<Shared>) -> Result<Json<Plan>> {
    asked(&state, Wish::Reload).await
}

async fn asked(state: &Parts, wish: Wish) -> Result<Json<Plan>> {
    state
        .handles
        .configuration
        .ask(wish)
        .await
        .map(Json)
        .map_err(Refused)
}

/// Stops the node. For root and the node's own user.
#[utoipa::path(
    post, path = "/v1/stop", tag = "node",
    responses((status = 202, description = "It stops."), (status = 403, body = Problem))
)]
async fn stop(State(state): State<Shared>) -> Result<StatusCode> {
    tracing::info!("stopping: asked by the control API");
    // The answer under way still goes out: the server drains before it ends.
    state.handles.stop.cancel();
    Ok(StatusCode::ACCEPTED)
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "node", responses((status = 200, body = serde_json::Value)))]
async fn description() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}
