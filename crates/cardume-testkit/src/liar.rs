//! A peer that speaks the transfer protocol and lies, or stalls, or tells a hostile truth.

use std::{io, ops::Range, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use cardume_content::{Cid, Hash, PieceSet, pieces, slice, tree};
use cardume_transfer::{Item, Request, Response, wire};
use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, noise,
    request_response::{self, ProtocolSupport, ResponseChannel},
    swarm::SwarmEvent,
    tcp, yamux,
};
use tokio::task::JoinHandle;

/// How a scripted peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the protocol says; for content that is itself hostile.
    Honest,
    /// One bit of each slice is wrong.
    WrongByte,
    /// Claims one piece more than there is.
    WrongSize,
    /// Answers with a valid slice of the beginning, whatever was asked.
    WrongRange,
    /// Says what it has, and then never sends it.
    Stalls,
    /// Sends the first half of each slice as if it were all.
    CutsShort,
}

/// A scripted peer with some blobs, listening on loopback; gone when dropped.
pub struct Liar {
    /// Where it listens, with `/p2p/`.
    pub address: Multiaddr,
    task: JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Blob {
    hash: Hash,
    bytes: Vec<u8>,
    tree: Vec<u8>,
}

type Behaviour = request_response::Behaviour<wire::Codec>;
type Event = request_response::Event<Request, Response>;

impl Liar {
    /// Starts a peer of network `main` that has `blobs` and answers in the given manner.
    pub async fn start(manner: Manner, blobs: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|_| {
                Behaviour::new(
                    [(wire::protocol("main"), ProtocolSupport::Full)],
                    request_response::Config::default(),
                )
            })?
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let address = address
            .with_p2p(*swarm.local_peer_id())
            .ok()
            .context("an address without a peer")?;
        let blobs = blobs.into_iter().map(|bytes| {
            let (hash, tree) = tree::of(&bytes);
            Arc::new(Blob { hash, bytes, tree })
        });
        let task = tokio::spawn(answer_all(swarm, manner, blobs.collect()));
        Ok(Self { address, task })
    }
}

async fn answer_all(mut swarm: Swarm<Behaviour>, manner: Manner, blobs: Vec<Arc<Blob>>) {
    // Channels of requests that are never answered; dropped, they would tell the asker that it is over.
    let mut ignored: Vec<ResponseChannel<Response>> = Vec::new();
    loop {
        let SwarmEvent::Behaviour(event) = swarm.select_next_some().await else {
            continue;
        };
        let Event::Message {
            message: request_response::Message::Request { request, channel, .. },
            ..
        } = event
        else {
            continue;
        };
        match answer(manner, &blobs, &request) {
            Some(response) => drop(swarm.behaviour_mut().send_response(channel, response)),
            None => ignored.push(channel),
        }
    }
}

fn answer(manner: Manner, blobs: &[Arc<Blob>], request: &Request) -> Option<Response> {
    let find = |cid: &Cid| blobs.iter().find(|blob| blob.hash == cid.hash());
    Some(match request {
        Request::Have { cid, .. } => match find(cid) {
            Some(blob) => {
                let size = claimed(manner, blob);
                Response::Have {
                    size,
                    version: 1,
                    pieces: PieceSet::full(pieces::piece_count(size)),
                }
            }
            None => Response::NotFound,
        },
        Request::Get { .. } | Request::GetMany { .. } if manner == Manner::Stalls => return None,
        Request::Get { cid, ranges } => match find(cid) {
            Some(blob) => Response::Slices {
                size: claimed(manner, blob),
                slices: ranges
                    .iter()
                    .map(|range| lie(manner, blob, range.clone()))
                    .collect(),
            },
            None => Response::NotFound,
        },
        Request::GetMany { cids } => Response::Many {
            items: cids
                .iter()
                .map(|cid| match find(cid) {
                    Some(blob) => Item::Blob {
                        size: claimed(manner, blob),
                        slice: lie(manner, blob, 0..blob.bytes.len() as u64),
                    },
                    None => Item::NotFound,
                })
                .collect(),
        },
        Request::Swarm { .. } => Response::Swarm { peers: Vec::new() },
    })
}

fn claimed(manner: Manner, blob: &Blob) -> u64 {
    let size = blob.bytes.len() as u64;
    if manner == Manner::WrongSize {
        size + cardume_content::PIECE
    } else {
        size
    }
}

fn lie(manner: Manner, blob: &Blob, range: Range<u64>) -> Bytes {
    let range = if manner == Manner::WrongRange { 0..1 } else { range };
    let mut out = Vec::new();
    let size = blob.bytes.len() as u64;
    let encoded = slice::encode(
        blob.hash,
        size,
        range,
        |at, buffer| copy(&blob.bytes, at, buffer),
        |at, buffer| copy(&blob.tree, at, buffer),
        &mut out,
    );
    encoded.expect("bytes in memory do not change");
    match manner {
        Manner::WrongByte => {
            if let Some(last) = out.last_mut() {
                *last ^= 1;
            }
        }
        Manner::CutsShort => out.truncate(out.len() / 2),
        _ => {}
    }
    Bytes::from(out)
}

fn copy(from: &[u8], at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let at = usize::try_from(at).map_err(io::Error::other)?;
    let bytes = from
        .get(at..at + buffer.len())
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    buffer.copy_from_slice(bytes);
    Ok(())
}
