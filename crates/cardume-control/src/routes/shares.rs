//! Content of this machine, taken in and hashed anew.
use std::path::Path;

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Kind, Mode, NewShare, Operation, Problem};
use cardume_content::{Cid, manifest::Name};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared, on_disk};
use crate::{
    caller::Caller,
    extract::{CidPath, Json as Body},
    operations,
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(share))
        .routes(routes!(verify_one))
        .routes(routes!(verify_all))
}

type Accepted = (StatusCode, Json<Operation>);

/// Shares a file or a directory of this machine; the operation ends in `Shared`.
///
/// Paths are taken from root and the node's own user, and from others below a configured share.
#[utoipa::path(
    post, path = "/v1/shares", tag = "content", request_body = NewShare,
    responses((status = 202, body = Operation), (status = 400, body = Problem), (status = 403, body = Problem))
)]
async fn share(caller: Caller, State(state): State<Shared>, Body(new): Body<NewShare>) -> Result<Accepted> {
    let given = name_of(&new.path);
    let (path, above) = {
        let (facts, path) = (state.handles.configuration.facts(), new.path);
        on_disk(move || {
            let above = caller.check_readable(&path, &facts.shares)?;
            let found = path.canonicalize();
            Ok((found.map_err(|error| unreadable(&path, &error))?, above))
        })
        .await?
    };
    let name = match new.name {
        Some(name) => checked(name)?,
        None => given,
    };
    let mode = match new.mode {
        Some(Mode::InPlace) => cardume_store::Mode::InPlace,
        Some(Mode::Copy) => cardume_store::Mode::Copy,
        None if state.node.in_place => cardume_store::Mode::InPlace,
        None => cardume_store::Mode::Copy,
    };
    check_allow(&state, new.allow.as_deref())?;
    let subject = path.to_string_lossy().into_owned();
    let operation = state.operations.start(Kind::Share, subject, |ticket| {
        let given = operations::Given {
            path,
            above,
            mode,
            name,
            allow: new.allow,
        };
        operations::share(
            ticket,
            state.handles.store.clone(),
            state.handles.exchange.clone(),
            state.links.clone(),
            given,
        )
    })?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refused {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Refused::not_found(detail),
        std::io::ErrorKind::PermissionDenied => Refused::denied(detail),
        _ => Refused::usage(detail),
    }
}

/// Refuses a list with a word that names nothing.
pub(super) fn check_allow(state: &Parts, allow: Option<&[String]>) -> Result<()> {
    let checked = state.handles.roll.names().rules(allow.into_iter().flatten());
    checked.map(drop).map_err(|error| {
        Refused::usage(format!(
            "allow: {error}; names are those of [peer.NAME], groups those of its groups"
        ))
    })
}

/// A name that others can give a file.
pub(super) fn checked(name: String) -> Result<String> {
    Name::new(name.as_str())?;
    Ok(name)
}

/// What a path is called, made fit to be a name.
fn name_of(path: &Path) -> String {
    let name = path
        .file_name()
        .map_or_else(|| "root".into(), |name| name.to_string_lossy());
    if Name::new(name.as_ref()).is_ok() {
        return name.into_owned();
    }
    let plain = |c: char| {
        if c.is_control() || matches!(c, '/' | '\\') {
            '_'
        } else {
            c
        }
    };
    // As many characters as fit into 255 bytes however long each is.
    name.chars().map(plain).take(63).collect()
}

/// Hashes one root anew; the operation ends in `Verified`.
#[utoipa::path(
    post, path = "/v1/files/{cid}/verify", tag = "content", params(("cid" = String, Path)),
    responses((status = 202, body = Operation), (status = 404, body = Problem))
)]
async fn verify_one(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<Accepted> {
    let store = state.handles.store.clone();
    let root = on_disk(move || Ok(store.root(cid)?)).await?;
    root.ok_or_else(|| Refused::not_found(format!("{cid} is no root of the store")))?;
    verify(&state, Some(cid))
}

/// Hashes everything anew; the operation ends in `Verified`.
#[utoipa::path(post, path = "/v1/verify", tag = "content", responses((status = 202, body = Operation)))]
async fn verify_all(State(state): State<Shared>) -> Result<Accepted> {
    verify(&state, None)
}

fn verify(state: &Parts, cid: Option<Cid>) -> Result<Accepted> {
    let subject = cid.map_or_else(|| "everything".to_owned(), |cid| cid.to_string());
    let operation = state.operations.start(Kind::Verify, subject, |ticket| {
        operations::verify(ticket, state.handles.store.clone(), cid)
    })?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}
