//! What lies where below a root.
use axum::{Json, extract::State};
use cardume_api::{Entry, EntryKind, Held, Problem, Stat};
use cardume_content::{
    Cid, Kind,
    manifest::{Limits, Node},
};
use cardume_exchange::Resolved;
use cardume_store::{Presence, Store};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared, on_disk};
use crate::{
    extract::{Below, CidPath},
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(stat)).routes(routes!(list))
}

impl Parts {
    /// Follows `below` from `root`; directories that are not held come from peers.
    pub(super) async fn find(&self, root: Cid, below: &Below) -> Result<Resolved> {
        let (path, peers) = (below.path.clone(), below.peers.clone());
        Ok(self.handles.exchange.resolve(root, path, peers, None).await?)
    }
}

/// What is known of some content.
#[utoipa::path(
    get, path = "/v1/stat/{cid}", tag = "content",
    params(("cid" = String, Path), ("path" = Option<String>, Query), ("peer" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Stat), (status = 404, body = Problem))
)]
async fn stat(State(state): State<Shared>, CidPath(root): CidPath, below: Below) -> Result<Json<Stat>> {
    let found = state.find(root, &below).await?;
    let (store, cid) = (state.handles.store.clone(), found.cid);
    let (held, name) = on_disk(move || {
        let held = match measure(&store, cid) {
            Ok(measured) => measured.held,
            Err(_) => Held::Partial,
        };
        Ok((held, store.root(cid)?.map(|root| root.name)))
    })
    .await?;
    Ok(Json(Stat {
        cid,
        kind: if found.manifest.is_some() {
            EntryKind::Dir
        } else {
            EntryKind::File
        },
        size: found.size,
        files: found.manifest.map(|manifest| manifest.totals().1),
        name: below.path.last().cloned().or(name),
        allow: state.handles.store.allow(cid.hash()).map(|words| words.to_vec()),
        held,
    }))
}

/// The entries of a directory; fetched from peers when it is not held.
#[utoipa::path(
    get, path = "/v1/list/{cid}", operation_id = "list_directory", tag = "content",
    params(("cid" = String, Path), ("path" = Option<String>, Query), ("peer" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<Entry>), (status = 400, body = Problem), (status = 404, body = Problem))
)]
async fn list(State(state): State<Shared>, CidPath(root): CidPath, below: Below) -> Result<Json<Vec<Entry>>> {
    let found = state.find(root, &below).await?;
    let manifest = found
        .manifest
        .ok_or_else(|| Refused::usage(format!("{} is a file; only directories have entries", found.cid)))?;
    Ok(Json(manifest.entries().iter().map(entry).collect()))
}

fn entry(entry: &cardume_content::manifest::Entry) -> Entry {
    let plain = Entry {
        name: entry.name.as_str().to_owned(),
        kind: EntryKind::File,
        cid: None,
        size: 0,
        files: None,
        executable: false,
        target: None,
    };
    match &entry.node {
        Node::File {
            cid,
            size,
            executable,
        } => Entry {
            cid: Some(*cid),
            size: *size,
            executable: *executable,
            ..plain
        },
        Node::Directory { cid, size, files } => Entry {
            kind: EntryKind::Dir,
            cid: Some(*cid),
            size: *size,
            files: Some(*files),
            ..plain
        },
        Node::Symlink { target } => Entry {
            kind: EntryKind::Symlink,
            target: Some(target.clone()),
            ..plain
        },
    }
}

/// How much of some content the store has.
pub(super) struct Measured {
    pub(super) held: Held,
    pub(super) size: u64,
    pub(super) files: u64,
}

/// Looks at everything below `cid`. Ends at the first thing that is missing. Blocks on the disk.
pub(super) fn measure(store: &Store, cid: Cid) -> Result<Measured> {
    let limits = Limits::default();
    let mut measured = Measured {
        held: Held::Complete,
        size: 0,
        files: 0,
    };
    let mut seen = 0;
    let mut waiting = vec![cid];
    while let Some(next) = waiting.pop() {
        match store.presence(next.hash())? {
            Presence::Complete { size } if next.kind() == Kind::Blob => {
                measured.size = measured.size.saturating_add(size);
                measured.files += 1;
            }
            Presence::Complete { .. } => {
                for entry in store.manifest(next)?.entries() {
                    if let Node::File { cid, .. } | Node::Directory { cid, .. } = &entry.node {
                        waiting.push(*cid);
                    }
                }
            }
            Presence::Absent if seen == 0 => {
                measured.held = Held::Absent;
                return Ok(measured);
            }
            Presence::Absent | Presence::Partial { .. } => {
                measured.held = Held::Partial;
                return Ok(measured);
            }
        }
        seen += 1;
        if seen > limits.tree_entries {
            let detail = format!("{cid} has more than {} entries", limits.tree_entries);
            return Err(Refused::new(cardume_api::Code::Limit, detail));
        }
    }
    Ok(measured)
}
