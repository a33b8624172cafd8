//! Long work.
use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Operation, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{extract::Path, operations::Operations, problem::Result};

pub(super) fn routes() -> OpenApiRouter<Arc<Operations>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, cancel))
}

/// Operations that have ended lately, then those that run.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", responses((status = 200, body = Vec<Operation>)))]
async fn list(State(operations): State<Arc<Operations>>) -> Json<Vec<Operation>> {
    Json(operations.list())
}

/// One operation.
#[utoipa::path(
    get, path = "/v1/operations/{id}", tag = "operations", params(("id" = String, Path)),
    responses((status = 200, body = Operation), (status = 404, body = Problem))
)]
async fn show(State(operations): State<Arc<Operations>>, Path(id): Path<String>) -> Result<Json<Operation>> {
    operations.find(&id).map(Json)
}

/// Cancels an operation; one that has ended stays as it is.
#[utoipa::path(
    delete, path = "/v1/operations/{id}", tag = "operations", params(("id" = String, Path)),
    responses((status = 204, description = "It ends."), (status = 404, body = Problem))
)]
async fn cancel(State(operations): State<Arc<Operations>>, Path(id): Path<String>) -> Result<StatusCode> {
    operations.cancel(&id)?;
    Ok(StatusCode::NO_CONTENT)
}
