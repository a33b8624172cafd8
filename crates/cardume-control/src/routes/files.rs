//! The roots of the store.
use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{File, Held, NewRoot, Problem};
use cardume_content::Cid;
use cardume_store::{Root, Store};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Parts, Shared, on_disk,
    shares::{check_allow, checked},
    tree,
};
use crate::{
    extract::{CidPath, Json as Body},
    link::Links,
    operations::{now, share_again},
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(remove))
        .routes(routes!(pin, unpin))
        .routes(routes!(add))
}

/// The roots of the store.
#[utoipa::path(get, path = "/v1/files", operation_id = "list_files", tag = "content", responses((status = 200, body = Vec<File>)))]
async fn list(State(state): State<Shared>) -> Result<Json<Vec<File>>> {
    state.files().await.map(Json)
}

impl Parts {
    pub(super) async fn files(&self) -> Result<Vec<File>> {
        let store = self.handles.store.clone();
        let roots = on_disk(move || Ok(store.roots()?)).await?;
        let addresses = self.links.addresses().await;
        let mut files: Vec<_> = roots.into_iter().map(|root| file(root, &addresses)).collect();
        for (name, share) in self.handles.shares.states() {
            let of_share = files.iter_mut().find(|file| Some(file.cid) == share.cid);
            if let Some(file) = of_share {
                file.share = Some(name);
            }
        }
        Ok(files)
    }
}

fn file(root: Root, addresses: &[multiaddr::Multiaddr]) -> File {
    File {
        cid: root.cid,
        link: Links::link(root.cid, &root.name, root.size, addresses),
        name: root.name,
        size: root.size,
        files: root.files,
        path: root.path.map(|path| path.to_string_lossy().into_owned()),
        pinned: root.pinned,
        share: None,
        allow: root.allow,
        added: root.added,
    }
}

/// Keeps and shares uploaded content under a name.
#[utoipa::path(
    post, path = "/v1/roots", operation_id = "add_root", tag = "content", request_body = NewRoot,
    responses((status = 201, body = File), (status = 400, body = Problem), (status = 404, body = Problem))
)]
async fn add(State(state): State<Shared>, Body(new): Body<NewRoot>) -> Result<(StatusCode, Json<File>)> {
    let store = state.handles.store.clone();
    let name = checked(new.name)?;
    check_allow(&state, new.allow.as_deref())?;
    let root = on_disk(move || keep(&store, new.cid, name, new.allow)).await?;
    if root.announce {
        state.handles.exchange.announce(root.cid);
    }
    let addresses = state.links.addresses().await;
    Ok((StatusCode::CREATED, Json(file(root, &addresses))))
}

/// Makes a root of content that is all there.
fn keep(store: &Store, cid: Cid, name: String, allow: Option<Vec<String>>) -> Result<Root> {
    let found = tree::measure(store, cid)?;
    if found.held != Held::Complete {
        return Err(Refused::not_found(format!(
            "the store does not have all of {cid}; upload it first"
        )));
    }
    // What the root is made of must be on the disk before the root is.
    store.settle()?;
    let before = store.root(cid)?;
    let (allow, announce) = share_again(before.as_ref(), allow);
    let root = Root {
        cid,
        name,
        size: found.size,
        files: found.files,
        path: before.as_ref().and_then(|root| root.path.clone()),
        pinned: before.as_ref().is_some_and(|root| root.pinned),
        announce,
        allow,
        added: before.map_or_else(now, |root| root.added),
    };
    store.add_root(root.clone())?;
    Ok(root)
}

/// Forgets a root. Files in place stay where they are.
#[utoipa::path(
    delete, path = "/v1/files/{cid}", operation_id = "remove_file", tag = "content", params(("cid" = String, Path)),
    responses(
        (status = 204, description = "It is forgotten."), (status = 404, body = Problem),
        (status = 409, description = "It is pinned.", body = Problem)
    )
)]
async fn remove(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<StatusCode> {
    let store = state.handles.store.clone();
    on_disk(move || match store.root(cid)? {
        None => Err(no_root(cid)),
        Some(root) if root.pinned => {
            let detail = format!("{cid} is pinned; unpin it first");
            Err(Refused::new(cardume_api::Code::Conflict, detail))
        }
        Some(_) => Ok(store.remove_root(cid)?),
    })
    .await?;
    state.handles.exchange.withdraw(cid);
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a root whatever happens.
#[utoipa::path(
    put, path = "/v1/files/{cid}/pin", operation_id = "pin_file", tag = "content", params(("cid" = String, Path)),
    responses((status = 204, description = "It is pinned."), (status = 404, body = Problem))
)]
async fn pin(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<StatusCode> {
    set_pin(state.handles.store.clone(), cid, true).await
}

/// Keeps a root only as long as there is room.
#[utoipa::path(
    delete, path = "/v1/files/{cid}/pin", operation_id = "unpin_file", tag = "content", params(("cid" = String, Path)),
    responses((status = 204, description = "It is not pinned."), (status = 404, body = Problem))
)]
async fn unpin(State(state): State<Shared>, CidPath(cid): CidPath) -> Result<StatusCode> {
    set_pin(state.handles.store.clone(), cid, false).await
}

async fn set_pin(store: Store, cid: Cid, pinned: bool) -> Result<StatusCode> {
    if on_disk(move || Ok(store.pin(cid, pinned)?)).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(no_root(cid))
}

fn no_root(cid: Cid) -> Refused {
    Refused::not_found(format!("{cid} is no root of the store; see the list of files"))
}
