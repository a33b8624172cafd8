//! Points where peers find each other.
use axum::{Json, extract::State};
use cardume_api::{Rendezvous, RendezvousPoint, RendezvousState};
use cardume_rendezvous::PointState;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Rendezvous points of the node, and whether it is registered there.
#[utoipa::path(
    get, path = "/v1/rendezvous", operation_id = "get_rendezvous", tag = "node",
    responses((status = 200, body = Rendezvous))
)]
async fn get(State(state): State<Shared>) -> Json<Rendezvous> {
    // Without any there is nothing to ask.
    let status = state.handles.rendezvous.status().await.unwrap_or_default();
    let points = status.points.into_iter().map(|point| RendezvousPoint {
        peer_id: point.peer.to_string(),
        address: point.address,
        state: match point.state {
            PointState::Asking => RendezvousState::Asking,
            PointState::Registered => RendezvousState::Registered,
            PointState::Waiting => RendezvousState::Waiting,
        },
        found: point.found as u64,
        problem: point.problem,
    });
    Json(Rendezvous {
        points: points.collect(),
        registrations: status.registrations.map(|count| count as u64),
    })
}
