//! Care for what is stored.
use std::future::Future;

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Kind, NewRepair, Operation, Outcome, Problem};
use cardume_content::Cid;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared, on_disk};
use crate::{
    caller::Caller,
    extract::{CidPath, Json as Body, check_peers},
    operations::{self, Ticket},
    problem::{Refused, Result},
    rights::Right,
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(repair_one))
        .routes(routes!(repair_all))
        .routes(routes!(gc))
        .routes(routes!(du_one))
        .routes(routes!(du_all))
}

type Accepted = (StatusCode, Json<Operation>);

impl Parts {
    /// Begins work on one root, which must be there, or on everything.
    async fn start<F>(&self, kind: Kind, cid: Option<Cid>, work: impl FnOnce(Ticket) -> F) -> Result<Accepted>
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        if let Some(cid) = cid {
            let store = self.handles.store.clone();
            let root = on_disk(move || Ok(store.root(cid)?)).await?;
            root.ok_or_else(|| Refused::not_found(format!("{cid} is no root of the store")))?;
        }
        let subject = cid.map_or_else(|| "everything".to_owned(), |cid| cid.to_string());
        let operation = self.operations.start(kind, subject, work)?;
        Ok((StatusCode::ACCEPTED, Json(operation)))
    }

    async fn repair(&self, caller: Caller, cid: Option<Cid>, how: NewRepair) -> Result<Accepted> {
        check_peers(&how.peers)?;
        if how.overwrite {
            caller.check(Right::Admin)?;
        }
        let (store, exchange) = (self.handles.store.clone(), self.handles.exchange.clone());
        self.start(Kind::Repair, cid, |ticket| {
            operations::repair(ticket, store, exchange, cid, how)
        })
        .await
    }

    async fn measure(&self, cid: Option<Cid>) -> Result<Accepted> {
        let store = self.handles.store.clone();
        self.start(Kind::Measure, cid, |ticket| {
            operations::measure(ticket, store, cid)
        })
        .await
    }
}

/// Gets what is broken of one root again; the operation ends in `Repaired`.
#[utoipa::path(
    post, path = "/v1/files/{cid}/repair", tag = "content", params(("cid" = String, Path)), request_body = NewRepair,
    responses((status = 202, body = Operation), (status = 403, body = Problem), (status = 404, body = Problem))
)]
async fn repair_one(
    caller: Caller,
    State(state): State<Shared>,
    CidPath(cid): CidPath,
    Body(how): Body<NewRepair>,
) -> Result<Accepted> {
    state.repair(caller, Some(cid), how).await
}

/// Gets what is broken of all roots again; the operation ends in `Repaired`.
#[utoipa::path(
    post, path = "/v1/repair", tag = "content", request_body = NewRepair,
    responses((status = 202, body = Operation), (status = 403, body = Problem))
)]
async fn repair_all(
    caller: Caller,
    State(state): State<Shared>,
    Body(how): Body<NewRepair>,
) -> Result<Accepted> {
    state.repair(caller, None, how).await
}

/// Deletes what nothing needs any more; the operation ends in `Collected`.
#[utoipa::path(post, path = "/v1/gc", tag = "content", responses((status = 202, body = Operation)))]
async fn gc(State(state): State<Shared>) -> Result<Accepted> {
    let store = state.handles.store.clone();
    state
        .start(Kind::Collect, None, |ticket| operations::collect(ticket, store))
        .await
}

/// Adds up what one root takes on the disk; the operation ends in `Measured`.
#[utoipa::path(
    post, path = "/v1/files/{cid}/du", tag = "content", params(("cid" = String, Path)),
    responses((status = 202, body = Operation), (status = 404, body = Problem))
)]
async fn du_one(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<Accepted> {
    state.measure(Some(cid)).await
}

/// Adds up what every root takes on the disk; the operation ends in `Measured`.
#[utoipa::path(post, path = "/v1/du", tag = "content", responses((status = 202, body = Operation)))]
async fn du_all(State(state): State<Shared>) -> Result<Accepted> {
    state.measure(None).await
}
