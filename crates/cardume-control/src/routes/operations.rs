//! Long work.

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Operation, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{extract::Path, operations, problem::Result};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, cancel))
}

/// Operations that have ended lately, then those that run.
#[utoipa::path(get, path = "/v1/operations", operation_id = "list_operations", tag = "operations", responses((status = 200, body = Vec<Operation>)))]
async fn list(State(state): State<Shared>) -> Json<Vec<Operation>> {
    operations::resume(&state.operations, &state.handles.exchange.clone());
    Json(state.operations.list())
}

/// One operation.
#[utoipa::path(
    get, path = "/v1/operations/{id}", operation_id = "show_operation", tag = "operations", params(("id" = String, Path)),
    responses((status = 200, body = Operation), (status = 404, body = Problem))
)]
async fn show(State(state): State<Shared>, Path(id): Path<String>) -> Result<Json<Operation>> {
    state.operations.find(&id).map(Json)
}

/// Cancels an operation; one that has ended stays as it is.
#[utoipa::path(
    delete, path = "/v1/operations/{id}", operation_id = "cancel_operation", tag = "operations", params(("id" = String, Path)),
    responses((status = 204, description = "It ends."), (status = 404, body = Problem))
)]
async fn cancel(State(state): State<Shared>, Path(id): Path<String>) -> Result<StatusCode> {
    state.operations.cancel(&id)?;
    Ok(StatusCode::NO_CONTENT)
}
