//! What is wrong with the node.
use axum::{Json, extract::State};
use cardume_api::{Diagnosis, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::problem::{Refused, Result};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(examine))
}

/// Examines the node, as `cardume doctor` does on its machine: what is wrong, why, and what to do. Asks bootstrap peers and
/// hashes a sample of the store, so it may take a minute.
#[utoipa::path(
    post, path = "/v1/doctor", tag = "node",
    responses((status = 200, body = Diagnosis), (status = 503, body = Problem), (status = 504, body = Problem))
)]
async fn examine(State(state): State<Shared>) -> Result<Json<Diagnosis>> {
    state.handles.doctor.examine().await.map(Json).map_err(Refused)
}
