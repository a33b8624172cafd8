//! Content from callers that may not hand in paths.
use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
};
use bytes::Bytes;
use cardume_api::{Code, EntryKind, NewManifest, Problem, Uploaded};
use cardume_content::{
    Cid, Kind, Manifest,
    manifest::{Entry, Name, Node},
};
use cardume_store::{Presence, Store};
use futures::StreamExt;
use tokio::sync::mpsc;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shared, on_disk};
use crate::{
    extract::Json as JsonBody,
    problem::{Refused, Result},
};

/// Bytes of a directory as JSON: what the largest manifest takes, and its words.
const MAX_MANIFEST: usize = 64 * 1024 * 1024;
/// Pieces of a body between the socket and the disk.
const QUEUE: usize = 16;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    let content = OpenApiRouter::new()
        .routes(routes!(content))
        .layer(DefaultBodyLimit::disable());
    let manifests = OpenApiRouter::new()
        .routes(routes!(manifest))
        .layer(DefaultBodyLimit::max(MAX_MANIFEST));
    content.merge(manifests)
}

type Created = (StatusCode, Json<Uploaded>);

/// Puts the bytes of one file into the store.
#[utoipa::path(
    post, path = "/v1/content", operation_id = "upload_content", tag = "content",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Uploaded), (status = 507, body = Problem))
)]
async fn content(State(state): State<Shared>, body: Body) -> Result<Created> {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let store = state.handles.store.clone();
    let writing = on_disk(move || write(&store, queue));
    let ((), uploaded) = tokio::join!(hand_over(body, pieces), writing);
    Ok((StatusCode::CREATED, Json(uploaded?)))
}

/// A piece of a body, or how it ended. A queue that closes without an end is a caller that went away.
enum Piece {
    Bytes(Bytes),
    End(Result<()>),
}

async fn hand_over(body: Body, pieces: mpsc::Sender<Piece>) {
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let (piece, ended) = match piece {
            Ok(bytes) => (Piece::Bytes(bytes), false),
            Err(error) => {
                let refused = Refused::new(Code::Timeout, format!("the upload stopped: {error}"));
                (Piece::End(Err(Refused(refused.0.with_status(408)))), true)
            }
        };
        // The writer ends early only when it fails, and says why.
        if pieces.send(piece).await.is_err() || ended {
            return;
        }
    }
    let _ = pieces.send(Piece::End(Ok(()))).await;
}

fn write(store: &Store, mut queue: mpsc::Receiver<Piece>) -> Result<Uploaded> {
    let mut upload = store.upload()?;
    loop {
        match queue.blocking_recv() {
            Some(Piece::Bytes(bytes)) => upload.write(&bytes)?,
            Some(Piece::End(ended)) => {
                ended?;
                let (hash, size) = upload.finish()?;
                let cid = Cid::blob(hash);
                return Ok(Uploaded { cid, size, files: 1 });
            }
            None => return Err(Refused::new(Code::Cancelled, "the caller went away")),
        }
    }
}

/// Makes a directory of content that the store has.
#[utoipa::path(
    post, path = "/v1/manifests", operation_id = "upload_manifest", tag = "content", request_body = NewManifest,
    responses((status = 201, body = Uploaded), (status = 400, body = Problem), (status = 404, body = Problem))
)]
async fn manifest(State(state): State<Shared>, JsonBody(new): JsonBody<NewManifest>) -> Result<Created> {
    let store = state.handles.store.clone();
    let uploaded = on_disk(move || {
        let entries = new.entries.into_iter().map(|entry| checked(&store, entry));
        let manifest = Manifest::new(entries.collect::<Result<_>>()?)?;
        let (size, files) = manifest.totals();
        let cid = manifest.cid();
        store.put(cid, &manifest.encode())?;
        Ok(Uploaded { cid, size, files })
    })
    .await?;
    Ok((StatusCode::CREATED, Json(uploaded)))
}

/// An entry whose content is held, with the sizes that the content has.
fn checked(store: &Store, entry: cardume_api::Entry) -> Result<Entry> {
    let name = Name::new(entry.name.as_str())?;
    let refuse = |what: &str| Refused::usage(format!("entry {:?}: {what}", entry.name));
    let held = |kind: Kind| {
        let cid = entry.cid.ok_or_else(|| refuse("has no cid"))?;
        if cid.kind() != kind {
            return Err(refuse("is of another kind than its cid"));
        }
        match store.presence(cid.hash())? {
            Presence::Complete { size } => Ok((cid, size)),
            _ => Err(Refused::not_found(format!(
                "entry {:?}: {cid} is not in the store",
                entry.name
            ))),
        }
    };
    let node = match entry.kind {
        EntryKind::File => {
            let (cid, size) = held(Kind::Blob)?;
            Node::File {
                cid,
                size,
                executable: entry.executable,
            }
        }
        EntryKind::Dir => {
            let (cid, _) = held(Kind::Directory)?;
            let (size, files) = store.manifest(cid)?.totals();
            Node::Directory { cid, size, files }
        }
        EntryKind::Symlink => {
            let target = entry.target.clone().ok_or_else(|| refuse("has no target"))?;
            Node::Symlink { target }
        }
    };
    Ok(Entry { name, node })
}
