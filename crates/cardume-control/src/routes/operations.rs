//! Long work.
use std::sync::Arc;

use axum::{Json, extract, http::StatusCode};
use cardume_api::{Operation, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    extract::Path,
    operations::{self, Operations},
    problem::Result,
};

#[derive(Clone)]
pub(super) struct State {
    pub(super) operations: Arc<Operations>,
    pub(super) exchange: cardume_exchange::Handle,
}

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, cancel))
}

/// Operations that have ended lately, then those that run.
#[utoipa::path(get, path = "/v1/operations", operation_id = "list_operations", tag = "operations", responses((status = 200, body = Vec<Operation>)))]
async fn list(extract::State(state): extract::State<State>) -> Json<Vec<Operation>> {
    operations::resume(&state.operations, &state.exchange);
    Json(state.operations.list())
}

/// One operation.
#[utoipa::path(
    get, path = "/v1/operations/{id}", operation_id = "show_operation", tag = "operations", params(("id" = String, Path)),
    responses((status = 200, body = Operation), (status = 404, body = Problem))
)]
async fn show(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Json<Operation>> {
    state.operations.find(&id).map(Json)
}

/// Cancels an operation; one that has ended stays as it is.
#[utoipa::path(
    delete, path = "/v1/operations/{id}", operation_id = "cancel_operation", tag = "operations", params(("id" = String, Path)),
    responses((status = 204, description = "It ends."), (status = 404, body = Problem))
)]
async fn cancel(extract::State(state): extract::State<State>, Path(id): Path<String>) -> Result<StatusCode> {
    state.operations.cancel(&id)?;
    Ok(StatusCode::NO_CONTENT)
}
