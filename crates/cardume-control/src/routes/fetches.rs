//! Content from peers.

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Kind, NewFetch, Operation, Problem};
use cardume_content::Link;
use cardume_exchange::{Destination, FetchRequest};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shared, on_disk};
use crate::{
    caller::Caller,
    extract::{Json as Body, check_peers, names},
    operations,
    problem::{Refused, Result},
};

/// Globs of one fetch.
const MAX_GLOBS: usize = 64;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(fetch))
}

/// Gets content from peers; the operation ends in `Fetched`.
///
/// A destination is taken from root and the node's own user only.
#[utoipa::path(
    post, path = "/v1/fetches", tag = "content", request_body = NewFetch,
    responses((status = 202, body = Operation), (status = 400, body = Problem), (status = 403, body = Problem))
)]
async fn fetch(
    caller: Caller,
    State(state): State<Shared>,
    Body(new): Body<NewFetch>,
) -> Result<(StatusCode, Json<Operation>)> {
    if let Some(path) = new.destination.clone() {
        on_disk(move || caller.check_writable(&path)).await?;
    }
    let sync = new.sync;
    let request = request(new)?;
    let subject = request.cid.to_string();
    let exchange = state.handles.exchange.clone();
    let operation = state.operations.start(Kind::Fetch, subject, |ticket| {
        let fetch = exchange.fetch(request);
        operations::fetch(ticket, fetch, sync.then_some(exchange))
    })?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

fn request(new: NewFetch) -> Result<FetchRequest> {
    let link: Link = new
        .link
        .parse()
        .map_err(|error| Refused::usage(format!("{:?}: {error}", new.link)))?;
    let origins = cardume_exchange::origins(&link);
    let mut path = link.path;
    path.extend(names(new.path.as_deref().unwrap_or_default())?);
    let mut peers = new.peers;
    check_peers(&peers)?;
    peers.extend(link.peers);
    if new.only.len() > MAX_GLOBS {
        return Err(Refused::usage(format!("more than {MAX_GLOBS} globs")));
    }
    let name = new.name.map(super::shares::checked).transpose()?;
    let force = new.force;
    Ok(FetchRequest {
        cid: link.cid,
        path,
        peers,
        origins,
        destination: new
            .destination
            .map_or(Destination::Store, |path| Destination::Path { path, force }),
        link_within: None,
        only: new.only,
        name: name.or(link.name),
        allow: None,
        deadline: None,
        // What is asked of a node goes on by itself when the node comes back.
        persist: true,
    })
}
