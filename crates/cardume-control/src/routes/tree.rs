//! What lies where below a root.
use axum::{Json, extract};
use cardume_api::{Entry, EntryKind, Held, Problem, Stat};
use cardume_content::{
    Cid, Kind, Manifest,
    manifest::{Limits, Node},
};
use cardume_store::{Presence, ReadError, Store};
use multiaddr::Multiaddr;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::on_disk;
use crate::{
    extract::{Below, CidPath},
    problem::{Refused, Result},
};

#[derive(Clone)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) exchange: cardume_exchange::Handle,
}

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(stat)).routes(routes!(list))
}

/// What a CID and a path below it name.
pub(super) struct Found {
    pub(super) cid: Cid,
    size: u64,
    manifest: Option<Manifest>,
}

impl State {
    /// Follows `below` from `root`; directories that are not held come from peers.
    pub(super) async fn find(&self, root: Cid, below: &Below) -> Result<Found> {
        let mut at = root;
        let mut size = None;
        for name in &below.path {
            let manifest = self.manifest(at, &below.peers).await?;
            let no = |why: &str| {
                Refused::not_found(format!("{:?} in {root}: {name:?} {why}", below.path.join("/")))
            };
            match manifest.find(name).map(|entry| &entry.node) {
                Some(Node::File { cid, size: bytes, .. } | Node::Directory { cid, size: bytes, .. }) => {
                    (at, size) = (*cid, Some(*bytes));
                }
                Some(Node::Symlink { .. }) => return Err(no("is a symlink")),
                None => return Err(no("is not there")),
            }
        }
        let manifest = match at.kind() {
            Kind::Directory => Some(self.manifest(at, &below.peers).await?),
            Kind::Blob => None,
        };
        let size = match (&manifest, size) {
            (Some(manifest), _) => manifest.totals().0,
            (None, Some(size)) => size,
            (None, None) => {
                self.exchange
                    .read(at, vec![], below.peers.clone(), 0..0)
                    .await?
                    .size
            }
        };
        Ok(Found {
            cid: at,
            size,
            manifest,
        })
    }

    async fn manifest(&self, cid: Cid, peers: &[Multiaddr]) -> Result<Manifest> {
        if cid.kind() != Kind::Directory {
            return Err(Refused::not_found(format!(
                "{cid} is a file; nothing is below it"
            )));
        }
        let store = self.store.clone();
        let held = tokio::task::spawn_blocking(move || store.manifest(cid));
        match held.await {
            Ok(Ok(manifest)) => return Ok(manifest),
            Ok(Err(ReadError::NotFound | ReadError::NotHeld(_))) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                return Err(Refused::new(
                    cardume_api::Code::Failed,
                    "a fault in the node; its log says more",
                ));
            }
        }
        let limits = Limits::default();
        let mut reading = self
            .exchange
            .read(
                Cid::blob(cid.hash()),
                vec![],
                peers.to_vec(),
                0..limits.manifest_bytes,
            )
            .await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = reading.chunks.recv().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(Manifest::decode(&bytes, &limits)?)
    }
}

/// What is known of some content.
#[utoipa::path(
    get, path = "/v1/stat/{cid}", tag = "content",
    params(("cid" = String, Path), ("path" = Option<String>, Query), ("peer" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Stat), (status = 404, body = Problem))
)]
async fn stat(
    extract::State(state): extract::State<State>,
    CidPath(root): CidPath,
    below: Below,
) -> Result<Json<Stat>> {
    let found = state.find(root, &below).await?;
    let (store, cid) = (state.store, found.cid);
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
        held,
    }))
}

/// The entries of a directory; fetched from peers when it is not held.
#[utoipa::path(
    get, path = "/v1/list/{cid}", tag = "content",
    params(("cid" = String, Path), ("path" = Option<String>, Query), ("peer" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<Entry>), (status = 400, body = Problem), (status = 404, body = Problem))
)]
async fn list(
    extract::State(state): extract::State<State>,
    CidPath(root): CidPath,
    below: Below,
) -> Result<Json<Vec<Entry>>> {
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
