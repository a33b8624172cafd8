//! Whether the node is alive and ready, for who watches over it.
use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use cardume_api::{StoreState, StoreStatus};
use cardume_connect::Addresses;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared, on_disk};

/// A swarm that turns, and a store that is well, answer long before.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready))
}

impl Parts {
    /// Our addresses; none when the swarm has stopped turning.
    pub(super) async fn addresses(&self) -> Option<Addresses> {
        let asked = tokio::time::timeout(PATIENCE, self.handles.connect.addresses());
        asked.await.ok()?.ok()
    }

    /// Peers connected; none when the swarm has stopped turning.
    pub(super) async fn connected(&self) -> Option<u64> {
        let asked = tokio::time::timeout(PATIENCE, self.handles.connect.peers());
        Some(asked.await.ok()?.ok()?.len() as u64)
    }

    /// How the store is; none when it does not answer.
    pub(super) async fn store_status(&self) -> Option<StoreStatus> {
        let store = self.handles.store.clone();
        let asked = on_disk(move || {
            let (usage, problem) = (store.usage()?, store.problem());
            Ok(StoreStatus {
                state: problem.as_ref().map_or(StoreState::Ok, |_| StoreState::ReadOnly),
                problem,
                used: usage.content.saturating_add(usage.metadata),
                quota: store.quota(),
            })
        });
        tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
    }

    /// Roots of the store; none when it does not answer.
    pub(super) async fn roots(&self) -> Option<u64> {
        let store = self.handles.store.clone();
        let asked = on_disk(move || Ok(store.roots()?.len() as u64));
        tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
    }
}

/// Whether the swarm turns.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses((status = 200, description = "It does."), (status = 503, description = "It does not."))
)]
async fn live(State(state): State<Shared>) -> (StatusCode, &'static str) {
    match state.addresses().await {
        Some(_) => (StatusCode::OK, "alive\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the swarm does not turn\n"),
    }
}

/// Whether the node listens and its store answers.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, description = "It is ready."), (status = 503, description = "Why it is not."))
)]
async fn ready(State(state): State<Shared>) -> (StatusCode, &'static str) {
    let (addresses, roots) = tokio::join!(state.addresses(), state.roots());
    let unready = |why| (StatusCode::SERVICE_UNAVAILABLE, why);
    match (addresses, roots) {
        (None, _) => unready("the swarm does not turn\n"),
        (Some(addresses), _) if addresses.listen.is_empty() => unready("listening nowhere\n"),
        (_, None) => unready("the store does not answer\n"),
        _ => (StatusCode::OK, "ready\n"),
    }
}
