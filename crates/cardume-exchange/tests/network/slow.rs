//! An honest peer that takes its time for each piece, and counts what it is asked for at once.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cardume_content::{Cid, Hash};
use cardume_store::{Presence, Store};
use cardume_transfer::{Item, Request, Response};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::task::JoinHandle;

use crate::{
    hostile::{encode, honest},
    node::{Limb, limb},
};

/// Long enough for whoever may ask for more to have asked.
const PIECE_TAKES: Duration = Duration::from_millis(20);

/// What is being asked for, and the most that was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    now: BTreeMap<Cid, usize>,
    /// Pieces at once.
    pub(crate) pieces: usize,
    /// Blobs at once.
    pub(crate) blobs: usize,
    /// Peers that were asked for any.
    pub(crate) peers: Vec<PeerId>,
}

impl Asked {
    fn begin(&mut self, cid: Cid, peer: PeerId) {
        *self.now.entry(cid).or_default() += 1;
        self.pieces = self.pieces.max(self.now.values().sum());
        self.blobs = self.blobs.max(self.now.len());
        if !self.peers.contains(&peer) {
            self.peers.push(peer);
        }
    }

    fn end(&mut self, cid: Cid) {
        let count = self.now.get_mut(&cid).unwrap();
        *count -= 1;
        if *count == 0 {
            self.now.remove(&cid);
        }
    }
}

/// The peer; it ends when this is dropped.
pub(crate) struct Slow {
    pub(crate) address: Multiaddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A peer with what is in `store`; peers that share `asked` are counted together.
pub(crate) async fn slow(store: &Store, asked: &Arc<Mutex<Asked>>) -> Slow {
    let Limb {
        peer,
        address,
        connect,
        transfer,
        mut inbound,
        swarm,
    } = limb().await;
    let (store, asked) = (store.clone(), asked.clone());
    let serving = tokio::spawn(async move {
        let _handles = (connect, transfer);
        while let Some(request) = inbound.next().await {
            let (store, asked) = (store.clone(), asked.clone());
            tokio::spawn(async move {
                let response = answer(&store, &request.request);
                if let Request::Get { cid, .. } = request.request {
                    asked.lock().unwrap().begin(cid, peer);
                    tokio::time::sleep(PIECE_TAKES).await;
                    asked.lock().unwrap().end(cid);
                }
                request.responder.send(response);
            });
        }
    });
    Slow {
        address,
        tasks: [serving, swarm],
    }
}

fn answer(store: &Store, request: &Request) -> Response {
    let cid = match request {
        Request::Get { cid, .. } | Request::Have { cid, .. } | Request::Swarm { cid } => *cid,
        Request::GetMany { cids } => {
            let items = cids.iter().map(|cid| whole(store, cid.hash()));
            return Response::Many {
                items: items.collect(),
            };
        }
    };
    match all(store, cid.hash()) {
        Some(bytes) => honest(&bytes, request),
        None => Response::NotFound,
    }
}

fn whole(store: &Store, hash: Hash) -> Item {
    match all(store, hash) {
        Some(bytes) => Item::Blob {
            size: bytes.len() as u64,
            slice: encode(&bytes, 0..bytes.len() as u64),
        },
        None => Item::NotFound,
    }
}

fn all(store: &Store, hash: Hash) -> Option<Vec<u8>> {
    let Presence::Complete { size } = store.presence(hash).unwrap() else {
        return None;
    };
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(&store.read(hash, at..size).unwrap());
    }
    Some(bytes)
}
